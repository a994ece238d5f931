"""The Distiller: one training step that listens to labels and teacher."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import tensorflow as tf

from kd_tfrs.data.pipelines import Batch
from kd_tfrs.distillation import schedules
from kd_tfrs.distillation.knowledge import EmbeddingKnowledge
from kd_tfrs.distillation.listeners import InBatch, Listener
from kd_tfrs.distillation.losses import DistillationLoss
from kd_tfrs.distillation.teachers import Teacher
from kd_tfrs.errors import UserError

_OWN_NAMES = ("loss", "student_loss")


@dataclasses.dataclass(frozen=True)
class Term:
    """A distillation loss and where it listens.

    Args:
        loss: compares teacher and student.
        over: the candidates they are compared on; the batch's by default.
    """

    loss: DistillationLoss
    over: Listener = dataclasses.field(default_factory=InBatch)


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
            of them; a bare loss listens to the batch's candidates.
        distillation_loss_weights: $w_i$, one for each loss; numbers or Keras
            schedules. When `None`, they share `1 - student_loss_weight`,
            which then has to be positive.
        student_loss_weight: $\lambda$, a number of at least 0 or a schedule.
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
        | Sequence[DistillationLoss | Term],
        distillation_loss_weights: schedules.Scheduled
        | Sequence[schedules.Scheduled]
        | None = None,
        student_loss_weight: schedules.Scheduled = 0.5,
        name: str = "distiller",
    ) -> None:
        super().__init__(name=name)
        self._check_models(teacher, student)
        self.student = student
        self.student_loss_weight = schedules.check_scheduled(
            "student_loss_weight", student_loss_weight, 0.0
        )
        # Behind a plain object, so that Keras neither trains nor saves it.
        self._terms = _Untracked(_as_terms(distillation_losses))
        self._teacher = _Untracked(teacher)
        self._weights = _Untracked(
            self._check_weights(distillation_loss_weights)
        )
        self._means = {
            name: tf.keras.metrics.Mean(name=name)
            for name in (*_OWN_NAMES, *self._term_names())
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
        for listener in self._listeners():
            rows = listener.join(rows, seed, self.teacher)
        return rows

    def call(self, batch: Batch, training: bool = False) -> dict:
        """What the student says, see `RetrievalModel.call`."""
        return self.student(batch, training=training)

    def train_step(self, batch: Batch) -> dict[str, tf.Tensor]:
        """One step of training."""
        with tf.GradientTape() as tape:
            total, parts = self._total_and_parts(batch, training=True)
        self.optimizer.minimize(
            total, self.student.trainable_variables, tape=tape
        )
        return self._log(batch, total, parts)

    def test_step(self, batch: Batch) -> dict[str, tf.Tensor]:
        """The same losses without training."""
        return self._log(batch, *self._total_and_parts(batch, training=False))

    def _total_and_parts(
        self, batch: Batch, training: bool
    ) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
        step = self.optimizer.iterations if self.optimizer else 0
        outputs = self.student(batch, training=training)
        parts = {"student_loss": self.student.task_loss(batch, outputs)}
        parts.update(self._distillation(batch, outputs, step))
        weights = (self.student_loss_weight, *self._weights.value)
        total = tf.add_n(
            [
                schedules.value_at(weight, step) * part
                for weight, part in zip(weights, parts.values(), strict=True)
            ]
        )
        if self.student.losses:
            total += tf.add_n(self.student.losses)
        return total, parts

    def _distillation(
        self, batch: Batch, outputs: dict, step: tf.Tensor | int
    ) -> dict[str, tf.Tensor]:
        student = EmbeddingKnowledge.of_student(
            outputs, self.student.temperature
        )
        teacher = self.teacher.knowledge(batch)
        heard = {}
        for listener in self._listeners():
            selection = listener.select(batch)
            heard[listener.name] = (
                teacher.scores(selection),
                student.scores(selection),
                selection,
            )
        losses = {}
        for name, term in zip(
            self._term_names(), self._terms.value, strict=True
        ):
            y_true, y_pred, selection = heard[term.over.name]
            losses[name] = term.loss(
                y_true,
                y_pred,
                selection.weight,
                mask=selection.mask,
                step=step,
            )
        return losses

    def _log(
        self, batch: Batch, total: tf.Tensor, parts: dict[str, tf.Tensor]
    ) -> dict[str, tf.Tensor]:
        weight = tf.reduce_sum(batch["event_weight"])
        for name, value in {"loss": total, **parts}.items():
            self._means[name].update_state(value, weight)
        return {name: mean.result() for name, mean in self._means.items()}

    def _listeners(self) -> list[Listener]:
        """Each listener once, however many losses share it."""
        return list({t.over.name: t.over for t in self._terms.value}.values())

    def _term_names(self) -> list[str]:
        names: list[str] = []
        for term in self._terms.value:
            name = term.loss.name or type(term.loss).__name__
            if name in (*_OWN_NAMES, *names):
                name = f"{name}_{term.over.name}"
            if name in names:
                name = f"{name}_{len(names)}"
            names.append(name)
        return names

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


def _as_terms(losses: object) -> tuple[Term, ...]:
    if not isinstance(losses, Sequence):
        losses = (losses,)
    if not losses:
        raise UserError(
            "`distillation_losses` should have at least one loss. Received: "
            "none. To train on labels alone, fit the student itself."
        )
    terms = tuple(x if isinstance(x, Term) else Term(x) for x in losses)
    for term in terms:
        if not isinstance(term.loss, DistillationLoss):
            raise UserError(
                "`distillation_losses` should hold DistillationLoss objects. "
                f"Received: {type(term.loss).__name__}."
            )
    return terms
