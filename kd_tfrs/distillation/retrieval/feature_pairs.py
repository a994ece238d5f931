"""Embeddings and hidden outputs of the batch's own users or items."""

from __future__ import annotations

from collections.abc import Mapping

import tensorflow as tf

from kd_tfrs.data.retrieval.batches import Batch
from kd_tfrs.distillation.losses import LossInputs
from kd_tfrs.distillation.retrieval.batch_scores import Selection
from kd_tfrs.distillation.retrieval.candidates.base import (
    FeatureSampler,
    first_occurrences,
)
from kd_tfrs.distillation.retrieval.teachers import Teacher
from kd_tfrs.errors import UserError

SIDES = ("query", "candidate")


class FeaturePair(FeatureSampler):
    """Named outputs of both models for the batch's own users or items.

    For losses between features. Any output may be compared with any other;
    a row that stands in the batch more than once counts once.

    Args:
        side: "query" or "candidate".
        teacher_output: name of an output of the teacher's tower.
        student_output: name of an output of the student's tower.
        num_rows: how many of the batch's rows are compared, at least 2;
            batches are shuffled, so that they are a random sample. `None`
            for all. Losses with many parameters or many pairs cost in
            proportion to it.

    Raises:
        UserError: `side` is neither, or `num_rows` is too small.

    Example:
    ```python
    DistillationTerm(Hint(), FeaturePair("candidate"))
    DistillationTerm(Hint(), FeaturePair("query", "hidden_1", "hidden_0"))
    ```
    """

    def __init__(
        self,
        side: str = "candidate",
        teacher_output: str = "embedding",
        student_output: str = "embedding",
        num_rows: int | None = None,
    ) -> None:
        if side not in SIDES:
            raise UserError(
                "`side` should be query or candidate. Received: `side` = "
                f"{side!r}."
            )
        if num_rows is not None and num_rows < 2:
            raise UserError(
                "`num_rows` should be at least 2, or None for all rows. "
                f"Received: `num_rows` = {num_rows}."
            )
        name = f"{side}_{teacher_output}_{student_output}"
        super().__init__(name if num_rows is None else f"{name}_{num_rows}")
        self.side = side
        self.sides = (side,)
        self.teacher_output = teacher_output
        self.student_output = student_output
        self.num_rows = num_rows

    def select(self, batch: Batch) -> Selection:
        """Positions along `side`, see `CandidateSampler.select`."""
        own = (
            tf.shape(batch["event_weight"])[0]
            if self.side == "query"
            else tf.shape(batch["candidate_probability"])[0]
        )
        if self.num_rows is not None:
            own = tf.minimum(own, self.num_rows)
        rows = batch[f"{self.side}_row"][:own]
        return Selection(
            query=tf.range(own),
            mask=first_occurrences(rows),
            weight=tf.ones_like(rows, tf.float32),
            rows=rows,
        )

    def features(
        self, batch: Batch, outputs: Mapping, teacher: Teacher
    ) -> LossInputs:
        """See `FeatureSampler.features`."""
        selection = self.select(batch)
        student = outputs[self.side][self.student_output]
        return LossInputs(
            teacher.features(self.side, selection.rows, self.teacher_output),
            student[: tf.shape(selection.rows)[0]],
            selection.mask,
            rows=selection.rows,
            weight=selection.weight,
        )
