"""Output selectors: the outputs that a loss between rankers compares."""

from __future__ import annotations

import abc
from collections.abc import Mapping

import tensorflow as tf

from kd_tfrs.distillation.losses import (
    BinarySoftTargets,
    DistillationLoss,
    FeatureLoss,
    LossInputs,
)
from kd_tfrs.distillation.ranking.teachers import (
    LOGITS,
    Outputs,
    RankingBatch,
    RankingTeacher,
)
from kd_tfrs.errors import UserError

AUXILIARY = "_teacher"


class OutputSelector(abc.ABC):
    """Chooses the outputs that a loss is computed on.

    Args:
        name: tells terms with the same loss apart in the logs.

    Attributes:
        of_features: whether it is for losses between features, rather than
            between scores.
    """

    of_features = False

    def __init__(self, name: str) -> None:
        self.name = name

    @abc.abstractmethod
    def select(
        self, batch: RankingBatch, teacher: Outputs, student: Outputs
    ) -> LossInputs:
        """Picks what is compared.

        Args:
            batch: see `RankingBatches`.
            teacher: its outputs for the batch.
            student: its outputs for the batch.

        Returns:
            The inputs of the loss, whose step the distiller sets.
        """

    @abc.abstractmethod
    def prepare(
        self,
        loss: DistillationLoss | FeatureLoss,
        teacher: RankingTeacher,
        student: tf.keras.Model,
        widths: Mapping[str, int],
    ) -> None:
        """Checks that all three fit and builds the layers of the loss.

        Args:
            loss: that is computed on these outputs.
            teacher: of the loss.
            student: a `RankingModel`.
            widths: of the student's outputs.

        Raises:
            UserError: they do not fit.
        """


class LogitSelector(OutputSelector):
    """Base of the selectors of one task's logits.

    Args:
        task: of the student.
        teacher_task: of the teacher; `task` when `None`. Another one makes it
            distillation across tasks.
        auxiliary: whether the student's auxiliary head is compared, rather than
            the one that is served, see `with_auxiliary_head`.
        name: see `OutputSelector`.
    """

    def __init__(
        self, task: str, teacher_task: str | None, auxiliary: bool, name: str
    ) -> None:
        self.task = task
        self.teacher_task = teacher_task or task
        self.auxiliary = bool(auxiliary)
        name = f"{name}{task}"
        if self.teacher_task != task:
            name = f"{name}_from_{self.teacher_task}"
        super().__init__(name + AUXILIARY * self.auxiliary)
        self.student_output = f"{LOGITS}{task}{AUXILIARY * self.auxiliary}"
        self.teacher_output = f"{LOGITS}{self.teacher_task}"

    def prepare(
        self,
        loss: DistillationLoss,
        teacher: RankingTeacher,
        student: tf.keras.Model,
        widths: Mapping[str, int],
    ) -> None:
        """See `OutputSelector.prepare`."""
        if self.student_output not in widths:
            raise no_output(self.student_output, widths)
        if teacher.widths:
            teacher.width(self.teacher_output)
        ratings = {t.name for t in student.tasks if t.kind == "rating"}
        inputs = {self.task, self.teacher_task}
        if loss.uses_labels:
            inputs = {self.task}  # It brings the teacher's to the labels.
        if isinstance(loss, BinarySoftTargets) and inputs & ratings:
            raise UserError(
                f"`{type(loss).__name__}` should compare logits of binary "
                f"tasks. Received: {self.name!r}, with a rating. Take "
                "ScoreRegression."
            )


class TaskLogits(LogitSelector):
    """The logits of one task, every row by itself: `[batch, 1]`.

    For losses that say something of a single score, such as
    `BinarySoftTargets` and `ScoreRegression`. The rows weigh as in the batch;
    one without a label counts, one of which the teacher says nothing (NaN)
    does not.

    Args:
        task: of the student.
        teacher_task: of the teacher; `task` when `None`. Another one makes it
            distillation across tasks: its base rate differs, so that a served
            head loses its calibration unless the loss corrects it
            (`CalibratedSoftTargets`) or an auxiliary head is compared.
        auxiliary: whether the student's auxiliary head is compared, see
            `with_auxiliary_head`.
        offset: added to the teacher's logits. Where the student's batches
            have fewer negatives than the data and the teacher is calibrated,
            `-batches.logit_offset`.

    Example:
    ```python
    DistillationTerm(BinarySoftTargets(2.0), TaskLogits("liked"))
    ```
    """

    def __init__(
        self,
        task: str,
        teacher_task: str | None = None,
        auxiliary: bool = False,
        offset: float = 0.0,
    ) -> None:
        super().__init__(task, teacher_task, auxiliary, "")
        self.offset = float(offset)

    def select(
        self, batch: RankingBatch, teacher: Outputs, student: Outputs
    ) -> LossInputs:
        """See `OutputSelector.select`."""
        scores = teacher[self.teacher_output][:, None] + self.offset
        mask = tf.logical_not(tf.math.is_nan(scores))
        labels = batch["labels"].get(self.task)
        return LossInputs(
            scores,
            student[self.student_output][:, None],
            mask,
            labels=None if labels is None else labels[:, None],
            weight=tf.where(mask[:, 0], batch["weight"], 0.0),
        )

    def prepare(
        self,
        loss: DistillationLoss,
        teacher: RankingTeacher,
        student: tf.keras.Model,
        widths: Mapping[str, int],
    ) -> None:
        """See `OutputSelector.prepare`."""
        super().prepare(loss, teacher, student, widths)
        if not loss.uses_single_scores:
            raise UserError(
                f"`{type(loss).__name__}` compares scores with each other, "
                "and `TaskLogits` has one score a row. Received: a term that "
                "would be ignored. Compute it on SessionLists, take "
                "BinarySoftTargets or ScoreRegression, or set "
                "`uses_single_scores` in a loss of your own."
            )


def no_output(name: str, widths: Mapping[str, int]) -> UserError:
    """The error for an output that the student's network lacks."""
    remedy = "Name one of these"
    if name.endswith(AUXILIARY):
        remedy = "Build it with `with_auxiliary_head`"
    return UserError(
        f"The student's network should have the output {name!r}. Received: a "
        f"network with {sorted(widths)}. {remedy}."
    )
