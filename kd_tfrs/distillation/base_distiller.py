"""Base of the distillers: terms, their weights, one step and its logs."""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol

import tensorflow as tf

from kd_tfrs.distillation import schedules
from kd_tfrs.distillation.balance import GradientNormBalance
from kd_tfrs.distillation.checked_model import CheckedModel
from kd_tfrs.distillation.keras_arguments import check_arguments
from kd_tfrs.distillation.losses import LossInputs
from kd_tfrs.distillation.terms import DistillationTerm, term_names
from kd_tfrs.distillation.trial import check_finite, trial_call
from kd_tfrs.errors import UserError

OWN_NAMES = ("loss", "student_loss")
Batch = Mapping[str, object]


class StepInputs(Protocol):
    """The inputs of the terms of one step."""

    def loss_inputs(self, term: DistillationTerm) -> LossInputs:
        """The inputs of the loss of a term."""


class BaseDistiller(CheckedModel):
    r"""Trains a student on real labels and on the outputs of a teacher.

    $$L = \lambda L_\text{student} + \sum_i w_i L_i(\text{teacher},
    \text{student})$$

    The student runs forward once a step. A subclass defines the inputs of the
    terms (`step_inputs`) and the weight of a batch (`batch_weight`).

    Args:
        teacher: the teacher of the terms without one of their own.
        student: a model with a `task_loss`.
        terms: see `as_terms`, their layers built.
        weights: $w_i$, one for each term; numbers or Keras schedules. When
            `None`, they share `1 - student_loss_weight`, which then has to
            be positive.
        student_loss_weight: $\lambda$, a number of at least 0 or a schedule.
        balance: multiplies the $w_i$ so that gradients keep a proportion, or
            `None`.
        name: name of the model.

    Raises:
        UserError: weights do not fit.
    """

    # Adds entries to a batch, see `Batches.dataset`; `None` adds nothing.
    join: Callable | None = None

    def __new__(cls, *args: Any, **kwargs: Any) -> BaseDistiller:
        """Chooses the distiller of the student's kind."""
        if cls is BaseDistiller:
            student = kwargs.get("student", (*args, None, None)[1])
            kinds = (k for k in cls.__subclasses__() if k.takes(student))
            cls = next(kinds, None)
            if cls is None:
                raise UserError(
                    "`student` should be a RetrievalModel, a RankingModel, a "
                    "tfrs.Model with a task as an attribute, or a Keras model "
                    f"of one output. Received: {type(student).__name__}. Build "
                    "one of them."
                )
        check_arguments(cls, kwargs)
        return super().__new__(cls, *args, **kwargs)

    @classmethod
    @abc.abstractmethod
    def takes(cls, student: object) -> bool:
        """Whether the distiller is the one for a student."""

    def __init__(
        self,
        teacher: object,
        student: tf.keras.Model,
        terms: Sequence[DistillationTerm],
        weights: schedules.Scheduled | Sequence[schedules.Scheduled] | None,
        student_loss_weight: schedules.Scheduled = 0.5,
        balance: GradientNormBalance | None = None,
        name: str = "distiller",
    ) -> None:
        super().__init__(name=name)
        self.student = student
        self.student_loss_weight = schedules.check_scheduled(
            "student_loss_weight", student_loss_weight, 0.0
        )
        # Behind a plain object, so that Keras neither trains nor saves it.
        self._terms = _Untracked(tuple(terms))
        self._teacher = _Untracked(teacher)
        self.balance = balance
        if balance is not None:
            balance.build(len(terms))
        self._weights = _Untracked(self._check_weights(weights))
        # Weights of a file may be loaded before the first step.
        self.built = True
        names = (*OWN_NAMES, *term_names(terms, OWN_NAMES))
        self._means = {
            name: tf.keras.metrics.Mean(name=name)
            for name in names
            if self._reads_labels or name != "student_loss"
        }

    @property
    def teacher(self) -> object:
        """The teacher, as it was given."""
        return self._teacher.value

    @property
    def checkpointed(self) -> list[tf.Module]:
        """All modules but the student that a checkpoint has to hold."""
        return _checkpointed(self._terms.value, self.balance)

    @property
    def metrics(self) -> list[tf.keras.metrics.Metric]:
        """Epoch means of the losses, and the metrics of `compile`."""
        means = list(self._means.values())
        if self._has_metrics:
            means += self.compiled_metrics.metrics
        return means

    @property
    def _reads_labels(self) -> bool:
        """Whether the loss on the labels is computed.

        It is left out where its weight is 0, unless a balance measures the
        other gradients against it.
        """
        weight = self.student_loss_weight
        scheduled = isinstance(weight, schedules.Schedule)
        return scheduled or weight > 0 or self.balance is not None

    def forward(
        self, batch: Batch, training: bool
    ) -> tuple[dict, tf.Tensor | None]:
        """Runs the student once.

        Args:
            batch: of training.
            training: whether dropout is active.

        Returns:
            Its outputs, and its loss on the labels, or `None` where that is
            not used.
        """
        outputs = self.student(batch, training=training)
        if not self._reads_labels:
            return outputs, None
        return outputs, self.student.task_loss(batch, outputs)

    def term_scales(self, outputs: dict) -> Sequence[tf.Tensor | float]:
        """A factor for each term, beside its weight; 1 by default."""
        del outputs
        return [1.0] * len(self._terms.value)

    def with_student(self, student: tf.keras.Model) -> BaseDistiller:
        """A distiller of another student with the same teacher and losses.

        Args:
            student: such as a copy that is pruned.

        Returns:
            A new distiller, which is not compiled; this one does not change.
        """
        options = {} if self.balance is None else {"balance": self.balance}
        return type(self)(
            self.teacher,
            student,
            [*self._terms.value],
            [*self._weights.value],
            self.student_loss_weight,
            name=self.name,
            **options,
        )

    @abc.abstractmethod
    def step_inputs(self, batch: Batch, outputs: dict) -> StepInputs:
        """The inputs of the terms for a batch.

        Args:
            batch: of training.
            outputs: of the student for it.

        Returns:
            An object that has the `LossInputs` of every term.
        """

    @abc.abstractmethod
    def batch_weight(self, batch: Batch) -> tf.Tensor:
        """The weight of a batch in the means of an epoch, a scalar."""

    def call(self, batch: Batch, training: bool = False) -> dict:
        """The outputs of the student, see its own `call`."""
        return self.student(batch, training=training)

    @abc.abstractmethod
    def metric_inputs(self, batch: Batch, outputs: dict) -> tuple:
        """Labels, predictions and weights for the metrics of `compile`.

        Args:
            batch: of training.
            outputs: of the student for it.

        Returns:
            Three dicts by the name of an output.
        """

    def check(self, batch: Batch) -> None:
        """See `CheckedModel.check`."""
        with trial_call("student"):
            outputs, _ = self.forward(batch, training=False)
        step_inputs = self.step_inputs(batch, outputs)
        for term in self._terms.value:
            with trial_call("teacher"):
                inputs = step_inputs.loss_inputs(term)
            check_finite(term.loss, inputs)
            with trial_call(type(term.loss).__name__, "both outputs"):
                term.loss.compute(inputs)

    def track_layers(self) -> None:
        """Lets Keras save the layers of the losses, which have to be built."""
        terms = self._terms.value
        self.loss_layers = [
            layer
            for term in terms
            for layer in (*term.loss.trainable_layers, *term.loss.adversaries)
        ]
        # Optimizers, and what a teacher remembers, are in checkpoints alone.
        self.loss_state = tf.train.Checkpoint(modules=self.checkpointed)

    def load_weights(self, *args: Any, **options: Any) -> Any:
        """Loads weights, see `tf.keras.Model.load_weights`.

        Args:
            *args: of Keras.
            **options: of Keras.

        Returns:
            What Keras returns.

        Raises:
            UserError: layers of the losses do not exist yet.
        """
        for term in self._terms.value:
            if not term.loss.is_built:
                raise UserError(
                    "The layers of the losses should be built before weights "
                    f"are loaded. Received: {type(term.loss).__name__} without "
                    "widths. Call distiller.check(batch) with a batch first."
                )
        return super().load_weights(*args, **options)

    def train_step(self, batch: Batch) -> dict[str, tf.Tensor]:
        """One step of training."""
        losses = [term.loss for term in self._terms.value]
        own = [loss for loss in losses if loss.layer_optimizer is not None]
        # More than one gradient is taken where losses are balanced, or have
        # an optimizer of their own.
        persistent = bool(own) or self.balance is not None
        with tf.GradientTape(persistent=persistent) as tape:
            outputs, step_inputs, parts = self._parts(batch, training=True)
            total = self._total(parts, self._factors(tape, outputs, parts))
        shared = (x.trainable_layers for x in losses if x not in own)
        self.optimizer.minimize(
            total,
            [*self.student.trainable_variables, *_variables(shared)],
            tape=tape,
        )
        for loss in own:
            loss.layer_optimizer.minimize(
                total, _variables([loss.trainable_layers]), tape=tape
            )
        del tape
        self._train_adversaries(step_inputs)
        return self._log(batch, outputs, total, parts)

    def test_step(self, batch: Batch) -> dict[str, tf.Tensor]:
        """The same losses without training."""
        outputs, _, parts = self._parts(batch, training=False)
        total = self._total(parts, self.term_scales(outputs))
        return self._log(batch, outputs, total, parts)

    def distillation_loss(
        self, logs: Mapping[str, float], prefix: str = ""
    ) -> float:
        """The weighted sum of the distillation losses, without the labels.

        Args:
            logs: of a step, an epoch or `evaluate(..., return_dict=True)`.
            prefix: of the names in them, such as "val_".

        Returns:
            A number, with the weights of the present step.
        """
        names = term_names(self._terms.value, OWN_NAMES)
        return sum(
            float(schedules.value_at(weight, self._step()))
            * float(logs[prefix + name])
            for weight, name in zip(self._weights.value, names, strict=True)
        )

    def _parts(
        self, batch: Batch, training: bool
    ) -> tuple[dict, StepInputs, dict[str, tf.Tensor]]:
        outputs, student_loss = self.forward(batch, training)
        step_inputs = self.step_inputs(batch, outputs)
        terms = self._terms.value
        parts = {}
        if self._reads_labels:
            parts["student_loss"] = student_loss
        for name, term in zip(term_names(terms, OWN_NAMES), terms, strict=True):
            parts[name] = term.loss.compute(step_inputs.loss_inputs(term))
        return outputs, step_inputs, parts

    def _total(
        self, parts: dict[str, tf.Tensor], factors: Sequence[tf.Tensor | float]
    ) -> tf.Tensor:
        step = self._step()
        weights = []
        if self._reads_labels:
            weights.append(schedules.value_at(self.student_loss_weight, step))
        for weight, factor in zip(self._weights.value, factors, strict=True):
            weights.append(schedules.value_at(weight, step) * factor)
        # A student of float16 may compute its own loss in it.
        losses = [tf.cast(part, tf.float32) for part in parts.values()]
        losses = [w * x for w, x in zip(weights, losses, strict=True)]
        losses += [tf.cast(x, tf.float32) for x in self.student.losses]
        return tf.add_n(losses)

    def _factors(
        self,
        tape: tf.GradientTape,
        outputs: dict,
        parts: dict[str, tf.Tensor],
    ) -> Sequence[tf.Tensor | float]:
        if self.balance is None:
            return self.term_scales(outputs)
        with tape.stop_recording():
            sources = self.balance_sources(outputs)
            return self.balance(tape, sources, list(parts.values()))

    def balance_sources(self, outputs: dict) -> Sequence[tf.Variable]:
        """The tensors whose gradients a balance measures.

        Args:
            outputs: of the student, see its `call`.

        Returns:
            The trained weights of the student.
        """
        del outputs
        return self.student.trainable_variables

    def _train_adversaries(self, step_inputs: StepInputs) -> None:
        for term in self._terms.value:
            if not term.loss.adversaries:
                continue
            with tf.GradientTape() as tape:
                inputs = step_inputs.loss_inputs(term)
                loss = term.loss.compute_adversary(inputs)
            term.loss.adversary_optimizer.minimize(
                loss, _variables([term.loss.adversaries]), tape=tape
            )

    def _step(self) -> tf.Tensor | int:
        return self.optimizer.iterations if self.optimizer else 0

    def _log(
        self,
        batch: Batch,
        outputs: dict,
        total: tf.Tensor,
        parts: dict[str, tf.Tensor],
    ) -> dict[str, tf.Tensor]:
        weight = self.batch_weight(batch)
        for name, value in {"loss": total, **parts}.items():
            self._means[name].update_state(value, weight)
        if self._has_metrics:
            given = self.metric_inputs(batch, outputs)
            self.compiled_metrics.update_state(*given)
        return {metric.name: metric.result() for metric in self.metrics}

    def _check_weights(
        self, weights: object
    ) -> tuple[schedules.Scheduled, ...]:
        count = len(self._terms.value)
        if weights is None:
            if isinstance(self.student_loss_weight, schedules.Schedule):
                raise UserError(
                    "`distillation_loss_weights` should be given when "
                    "`student_loss_weight` is a schedule. Received: None."
                )
            rest = 1.0 - self.student_loss_weight
            if rest <= 0:
                raise UserError(
                    "`distillation_loss_weights` should be given when "
                    "`student_loss_weight` leaves nothing of 1 for them. "
                    "Received: None, and `student_loss_weight` = "
                    f"{self.student_loss_weight}."
                )
            return (rest / count,) * count
        if not isinstance(weights, Sequence):
            weights = (weights,)
        if len(weights) != count:
            raise UserError(
                "`distillation_loss_weights` should have one weight for each "
                f"of the {count} losses. Received: {len(weights)}. Give one "
                "number, or a list of as many."
            )
        return tuple(
            schedules.check_scheduled("distillation_loss_weights", w, 0.0)
            for w in weights
        )


@dataclasses.dataclass(frozen=True)
class _Untracked:
    """Keeps a value out of Keras's attribute tracking."""

    value: object


def _variables(groups: Iterable[Iterable]) -> list[tf.Variable]:
    return [
        variable
        for layers in groups
        for layer in layers
        for variable in layer.trainable_variables
    ]


def _checkpointed(
    terms: Sequence[DistillationTerm], balance: GradientNormBalance | None
) -> list[tf.Module]:
    """All modules but the student that a checkpoint has to hold."""
    modules: list[tf.Module] = [] if balance is None else [balance]
    for term in terms:
        modules.extend(term.loss.trainable_layers)
        if term.loss.layer_optimizer is not None:
            modules.append(term.loss.layer_optimizer)
        # Members of an ensemble have stages of their own.
        for teacher in (term.teacher, *term.teacher.teachers):
            modules.extend(x for x in teacher.checkpointed if x not in modules)
        if term.loss.adversaries:
            modules.extend(term.loss.adversaries)
            modules.append(term.loss.adversary_optimizer)
    return modules
