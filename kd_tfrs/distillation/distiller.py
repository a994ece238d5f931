"""The Distiller: one training step that listens to labels and teacher."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence

import tensorflow as tf

from kd_tfrs.data.pipelines import Batch
from kd_tfrs.distillation import schedules
from kd_tfrs.distillation.balance import GradientNormBalance
from kd_tfrs.distillation.listeners import Listener
from kd_tfrs.distillation.losses import DistillationLoss, FeatureLoss
from kd_tfrs.distillation.teachers import Teacher
from kd_tfrs.distillation.terms import (
    Hearing,
    Term,
    as_terms,
    build_features,
    term_names,
)
from kd_tfrs.errors import UserError

_OWN_NAMES = ("loss", "student_loss")


class Distiller(tf.keras.Model):
    r"""Trains a student on real labels and on what a teacher says.

    $$L = \lambda L_\text{student} + \sum_i w_i L_i(\text{teacher},
    \text{student})$$

    with the student's own TFRS task as $L_\text{student}$. The student runs
    forward once a step. The teacher is never changed, nor the student but by
    training: it is yours, before and after.

    Args:
        teacher: see `kd_tfrs.distillation.teachers`.
        student: a `RetrievalModel`, or any model with the same `call`,
            `task_loss` and `temperature`.
        distillation_losses: a `DistillationLoss` or a `Term`, or a sequence
            of them; a bare loss listens to the batch's candidates. Layers
            that a loss brings are trained with the student; a discriminator
            is trained against it, once a step, after it.
        distillation_loss_weights: $w_i$, one for each loss; numbers or Keras
            schedules. When `None`, they share `1 - student_loss_weight`,
            which then has to be positive.
        student_loss_weight: $\lambda$, a number of at least 0 or a schedule.
        balance: multiplies the $w_i$ so that gradients keep a proportion, or
            `None`.
        name: name of the model.

    Raises:
        UserError: an argument does not fit; see the message.

    Example:
    ```python
    distiller = Distiller(
        teacher, student, Term(SoftTargets(), TeacherTopK(k=200)),
        student_loss_weight=0.2,
    )
    distiller.compile(optimizer=LazyAdam(0.01))
    distiller.fit(batches.dataset(epochs=10, join=distiller.join))
    distiller.student.query_tower  # trained
    ```

    References:
        Hinton, Vinyals and Dean 2015, "Distilling the Knowledge in a Neural
        Network", section 2.
    """

    def __init__(
        self,
        teacher: Teacher,
        student: tf.keras.Model,
        distillation_losses: DistillationLoss
        | Term
        | Sequence[DistillationLoss | FeatureLoss | Term],
        distillation_loss_weights: schedules.Scheduled
        | Sequence[schedules.Scheduled]
        | None = None,
        student_loss_weight: schedules.Scheduled = 0.5,
        balance: GradientNormBalance | None = None,
        name: str = "distiller",
    ) -> None:
        super().__init__(name=name)
        self._check_models(teacher, student)
        self.student = student
        self.student_loss_weight = schedules.check_scheduled(
            "student_loss_weight", student_loss_weight, 0.0
        )
        # Behind a plain object, so that Keras neither trains nor saves it.
        self._terms = _Untracked(as_terms(distillation_losses, teacher))
        self._teacher = _Untracked(teacher)
        for term in self._terms.value:
            build_features(term, student)
        if balance is not None:
            _check_balanced(self._terms.value)
            balance.build(len(self._terms.value))
        self.balance = balance
        self.learned = _learned(self._terms.value, balance)
        self._weights = _Untracked(
            self._check_weights(distillation_loss_weights)
        )
        self._means = {
            name: tf.keras.metrics.Mean(name=name)
            for name in (
                *_OWN_NAMES,
                *term_names(self._terms.value, _OWN_NAMES),
            )
        }

    @property
    def teacher(self) -> Teacher:
        """The teacher, as it was given."""
        return self._teacher.value

    @property
    def metrics(self) -> list[tf.keras.metrics.Metric]:
        """Epoch means of the total and of every part of it."""
        return list(self._means.values())

    def join(self, rows: Batch, seed: tf.Tensor) -> Batch:
        """Adds to a row batch what the losses listen to.

        Args:
            rows: see `RetrievalBatches`.
            seed: `[2]` int32, of the training step.

        Returns:
            The batch with more rows.
        """
        for listener, teacher in self._listeners():
            rows = listener.join(rows, seed, teacher)
        return rows

    def call(self, batch: Batch, training: bool = False) -> dict:
        """What the student says, see `RetrievalModel.call`."""
        return self.student(batch, training=training)

    def train_step(self, batch: Batch) -> dict[str, tf.Tensor]:
        """One step of training."""
        # More than one gradient is taken only where losses are balanced.
        with tf.GradientTape(persistent=self.balance is not None) as tape:
            outputs, hearing, parts = self._parts(batch, training=True)
            total = self._total(parts, self._factors(tape, outputs, parts))
        self.optimizer.minimize(
            total,
            [
                *self.student.trainable_variables,
                *_variables(t.loss.learned for t in self._terms.value),
            ],
            tape=tape,
        )
        self._train_opponents(hearing)
        return self._log(batch, total, parts)

    def test_step(self, batch: Batch) -> dict[str, tf.Tensor]:
        """The same losses without training."""
        _, _, parts = self._parts(batch, training=False)
        ones = [1.0] * len(self._terms.value)
        return self._log(batch, self._total(parts, ones), parts)

    def _parts(
        self, batch: Batch, training: bool
    ) -> tuple[dict, Hearing, dict[str, tf.Tensor]]:
        outputs = self.student(batch, training=training)
        hearing = Hearing(
            batch, outputs, self.student.temperature, self._step()
        )
        terms = self._terms.value
        parts = {"student_loss": self.student.task_loss(batch, outputs)}
        for name, term in zip(
            term_names(terms, _OWN_NAMES), terms, strict=True
        ):
            parts[name] = hearing.loss(term)
        return outputs, hearing, parts

    def _total(
        self, parts: dict[str, tf.Tensor], factors: Sequence[tf.Tensor | float]
    ) -> tf.Tensor:
        step = self._step()
        weights = [schedules.value_at(self.student_loss_weight, step)]
        for weight, factor in zip(self._weights.value, factors, strict=True):
            weights.append(schedules.value_at(weight, step) * factor)
        total = tf.add_n(
            [w * part for w, part in zip(weights, parts.values(), strict=True)]
        )
        if self.student.losses:
            total += tf.add_n(self.student.losses)
        return total

    def _factors(
        self,
        tape: tf.GradientTape,
        outputs: dict,
        parts: dict[str, tf.Tensor],
    ) -> Sequence[tf.Tensor | float]:
        if self.balance is None:
            return [1.0] * len(self._terms.value)
        with tape.stop_recording():
            return self.balance(tape, outputs, list(parts.values()))

    def _train_opponents(self, hearing: Hearing) -> None:
        for term in self._terms.value:
            if not getattr(term.loss, "opponents", ()):
                continue
            with tf.GradientTape() as tape:
                loss = hearing.opponent_loss(term)
            term.loss.opponent_optimizer.minimize(
                loss, _variables([term.loss.opponents]), tape=tape
            )

    def _step(self) -> tf.Tensor | int:
        return self.optimizer.iterations if self.optimizer else 0

    def _log(
        self, batch: Batch, total: tf.Tensor, parts: dict[str, tf.Tensor]
    ) -> dict[str, tf.Tensor]:
        weight = tf.reduce_sum(batch["event_weight"])
        for name, value in {"loss": total, **parts}.items():
            self._means[name].update_state(value, weight)
        return {name: mean.result() for name, mean in self._means.items()}

    def _listeners(self) -> list[tuple[Listener, Teacher]]:
        """Each listener once, however many losses share it."""
        by_name = {
            term.over.name: (term.over, term.teacher)
            for term in self._terms.value
        }
        return list(by_name.values())

    def _check_models(self, teacher: Teacher, student: tf.keras.Model) -> None:
        if not isinstance(teacher, Teacher):
            raise UserError(
                "`teacher` should be a kd_tfrs Teacher. Received: "
                f"{type(teacher).__name__}. Wrap a Keras model in "
                "TwoTowerTeacher or PairTeacher."
            )
        if not callable(getattr(student, "task_loss", None)):
            raise UserError(
                "`student` should have a `task_loss`, as RetrievalModel has. "
                f"Received: {type(student).__name__}."
            )

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
                f"of the {count} losses. Received: {len(weights)}."
            )
        return tuple(
            schedules.check_scheduled("distillation_loss_weights", w, 0.0)
            for w in weights
        )


@dataclasses.dataclass(frozen=True)
class _Untracked:
    """Keeps a value out of Keras's attribute tracking."""

    value: object


def _check_balanced(terms: Sequence[Term]) -> None:
    for term in terms:
        output = getattr(term.over, "student_output", "embedding")
        if output != "embedding":
            raise UserError(
                "`balance` measures gradients at the embeddings, so that every "
                "loss should be one on embeddings or scores. Received: a term "
                f"on the student's {output!r}. Leave `balance` out and give "
                "weights."
            )


def _variables(groups: Iterable[Iterable]) -> list[tf.Variable]:
    return [
        variable
        for layers in groups
        for layer in layers
        for variable in layer.trainable_variables
    ]


def _learned(
    terms: Sequence[Term], balance: GradientNormBalance | None
) -> list[tf.Module]:
    """Everything but the student that a checkpoint has to hold."""
    found: list[tf.Module] = [] if balance is None else [balance]
    for term in terms:
        found.extend(term.loss.learned)
        # Members of an ensemble have stages of their own.
        for teacher in (term.teacher, *getattr(term.teacher, "teachers", ())):
            kept = getattr(teacher, "learned", ())
            found.extend(x for x in kept if x not in found)
        opponents = getattr(term.loss, "opponents", ())
        if opponents:
            found.extend([*opponents, term.loss.opponent_optimizer])
    return found
