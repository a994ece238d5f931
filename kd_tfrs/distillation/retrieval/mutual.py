"""Students that teach each other, without a teacher."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from kd_tfrs.data.retrieval.batches import Batch
from kd_tfrs.distillation import schedules
from kd_tfrs.distillation.losses import (
    DistillationLoss,
    LossInputs,
    SoftTargets,
)
from kd_tfrs.distillation.retrieval.batch_scores import EmbeddingScores
from kd_tfrs.distillation.retrieval.candidates import InBatch
from kd_tfrs.errors import UserError


class MutualDistiller(tf.keras.Model):
    r"""Trains two or more students on real labels and on each other.

    $$L_k = L_k^\text{student} + \frac{w}{K - 1} \sum_{l \ne k}
    \text{KL}(p_l \,\|\, p_k)$$

    over the candidates of a batch, summed over the $K$ students. No gradient
    flows from one student's loss into another: each
    is only compared with the scores of the others. Every student sees every
    batch once a step. The paper updates the students in turn; here all are
    updated at once.

    Args:
        students: two or more `RetrievalModel`s over the same catalogue; they
            read the same batches, and may differ otherwise. Start them
            from different weights, as equal students have equal scores.
        loss: compares the scores of another student with those of a student;
            `SoftTargets()`, the loss of the paper, when `None`.
        weight: $w$, a number of at least 0 or a Keras schedule; 1 is the
            paper's.
        name: name of the model.

    Raises:
        UserError: an argument does not fit; see the message.

    Example:
    ```python
    mutual = MutualDistiller([student, other])
    mutual.compile(optimizer=LazyAdam(0.01))
    mutual.fit(batches.dataset(epochs=10))
    mutual.students[0]  # trained
    ```

    References:
        Zhang, Xiang, Hospedales and Lu 2018, "Deep Mutual Learning", eq. 4
        to 6, and eq. 8 for more than two.
    """

    def __init__(
        self,
        students: Sequence[tf.keras.Model],
        loss: DistillationLoss | None = None,
        weight: schedules.Scheduled = 1.0,
        name: str = "mutual_distiller",
    ) -> None:
        super().__init__(name=name)
        _check_students(students)
        self.students = list(students)
        self.weight = schedules.check_scheduled("weight", weight, 0.0)
        self.mutual_loss = _check_loss(loss)
        self._candidates = InBatch()
        self._means = {
            name: tf.keras.metrics.Mean(name=name)
            for name in ("loss", *self._names("loss"), *self._names("mutual"))
        }

    @property
    def metrics(self) -> list[tf.keras.metrics.Metric]:
        """Epoch means of the total and of every student's parts of it."""
        return list(self._means.values())

    def call(self, batch: Batch, training: bool = False) -> list[dict]:
        """The outputs of every student, see `RetrievalModel.call`."""
        return [student(batch, training=training) for student in self.students]

    def train_step(self, batch: Batch) -> dict[str, tf.Tensor]:
        """One step of training of all students."""
        with tf.GradientTape() as tape:
            total, parts = self._total_and_parts(batch, training=True)
        variables = [
            variable
            for student in self.students
            for variable in student.trainable_variables
        ]
        self.optimizer.minimize(total, variables, tape=tape)
        return self._log(batch, total, parts)

    def test_step(self, batch: Batch) -> dict[str, tf.Tensor]:
        """The same losses without training."""
        return self._log(batch, *self._total_and_parts(batch, training=False))

    def _total_and_parts(
        self, batch: Batch, training: bool
    ) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
        outputs = self(batch, training=training)
        own = [
            student.task_loss(batch, output)
            for student, output in zip(self.students, outputs, strict=True)
        ]
        step = self.optimizer.iterations if self.optimizer else 0
        mutual = self._mutual(batch, outputs, step)
        total = tf.add_n(own)
        total += schedules.value_at(self.weight, step) * tf.add_n(mutual)
        penalties = [x for student in self.students for x in student.losses]
        if penalties:
            total += tf.add_n(penalties)
        parts = dict(zip(self._names("loss"), own, strict=True))
        parts.update(zip(self._names("mutual"), mutual, strict=True))
        return total, parts

    def _mutual(
        self, batch: Batch, outputs: list[dict], step: tf.Tensor | int
    ) -> list[tf.Tensor]:
        """The mean loss of every student against the others."""
        selection = self._candidates.select(batch)
        scores = [
            EmbeddingScores.of_student(output, student.temperature).scores(
                selection
            )
            for student, output in zip(self.students, outputs, strict=True)
        ]
        inputs = LossInputs(
            scores[0],
            scores[0],
            selection.mask,
            target=selection.target,
            rows=selection.candidate_rows(batch),
            weight=selection.weight,
            step=step,
        )
        return [
            tf.add_n(
                [
                    self.mutual_loss.compute(
                        inputs._replace(teacher=other, student=own)
                    )
                    for at, other in enumerate(scores)
                    if at != k
                ]
            )
            / (len(scores) - 1)
            for k, own in enumerate(scores)
        ]

    def _log(
        self, batch: Batch, total: tf.Tensor, parts: dict[str, tf.Tensor]
    ) -> dict[str, tf.Tensor]:
        weight = tf.reduce_sum(batch["event_weight"])
        for name, value in {"loss": total, **parts}.items():
            self._means[name].update_state(value, weight)
        return {name: mean.result() for name, mean in self._means.items()}

    def _names(self, part: str) -> list[str]:
        return [f"student_{k}_{part}" for k in range(len(self.students))]


def _check_students(students: Sequence[tf.keras.Model]) -> None:
    good = all(callable(getattr(s, "task_loss", None)) for s in students)
    distinct = len({id(s) for s in students}) == len(students)
    if len(students) < 2 or not good or not distinct:
        raise UserError(
            "`students` should be two or more different models with a "
            "`task_loss`, as RetrievalModel has. Received: "
            f"{[type(s).__name__ for s in students]}."
        )


def _check_loss(loss: DistillationLoss | None) -> DistillationLoss:
    if loss is None:
        return SoftTargets()
    if not isinstance(loss, DistillationLoss) or loss.trainable_layers:
        raise UserError(
            "`loss` should be a DistillationLoss without layers of its own. "
            f"Received: {type(loss).__name__}. Give SoftTargets()."
        )
    return loss
