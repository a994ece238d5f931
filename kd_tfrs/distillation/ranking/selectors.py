"""Output selectors of a ranking batch: the base class, and logits."""

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
    """Selects the outputs of a ranking batch that a loss compares.

    Args:
        name: distinguishes terms with the same loss in the logs.

    Attributes:
        of_features: whether the selector is for losses between features,
            rather than between scores.
    """

    of_features = False

    def __init__(self, name: str) -> None:
        self.name = name

    @abc.abstractmethod
    def select(
        self, batch: RankingBatch, teacher: Outputs, student: Outputs
    ) -> LossInputs:
        """Selects the outputs that are compared.

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
        """Checks the arguments and builds the layers of the loss.

        Args:
            loss: the loss that is computed on the selected outputs.
            teacher: the teacher that gives the outputs.
            student: a `RankingModel`.
            widths: of the student's outputs.

        Raises:
            UserError: loss, teacher and student do not fit.
        """


class LogitSelector(OutputSelector):
    """Base of the selectors of the logits of one task.

    Args:
        task: of the student.
        teacher_task: of the teacher; `task` when `None`. Another one makes it
            distillation across tasks.
        auxiliary: whether the logits are those of the student's auxiliary
            head instead of the served head, see `with_auxiliary_head`.
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
            # The loss maps the logits of the teacher to the labels.
            inputs = {self.task}
        if isinstance(loss, BinarySoftTargets) and inputs & ratings:
            raise UserError(
                f"`{type(loss).__name__}` should be computed on logits of "
                f"binary tasks. Received: {self.name!r}, with a rating. Take "
                "ScoreRegression."
            )


class TaskLogits(LogitSelector):
    """The logits of one task, every row by itself: `[batch, 1]`.

    For losses that are defined on a single score, such as `BinarySoftTargets`
    and `ScoreRegression`, see `DistillationLoss.uses_single_scores`. Rows have
    the weights of the batch. A row without a label counts; a row without an
    output of the teacher (NaN) does not.

    Args:
        task: of the student.
        teacher_task: of the teacher; `task` when `None`. Another one makes it
            distillation across tasks: its base rate differs, so that a served
            head loses its calibration unless the loss corrects it
            (`CalibratedSoftTargets`) or is computed on an auxiliary head.
        auxiliary: whether the logits are those of the student's auxiliary
            head, see `with_auxiliary_head`.
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
    """The error for a missing output of the student's network."""
    remedy = "Take one of these"
    if name.endswith(AUXILIARY):
        remedy = "Build it with `with_auxiliary_head`"
    return UserError(
        f"The student's network should have the output {name!r}. Received: a "
        f"network with {sorted(widths)}. {remedy}."
    )
