"""Embeddings and hidden outputs of the batch's own users or items."""

from __future__ import annotations

import tensorflow as tf

from kd_tfrs.data.pipelines import Batch
from kd_tfrs.distillation.knowledge import Selection
from kd_tfrs.distillation.listeners.base import Listener, first_occurrences
from kd_tfrs.errors import UserError

SIDES = ("query", "candidate")


class Features(Listener):
    """Named outputs of both models for the batch's own users or items.

    For losses between features. Any output may be compared with any other;
    a row that stands in the batch more than once counts once.

    Args:
        side: "query" or "candidate".
        teacher_output: name of an output of the teacher's tower.
        student_output: name of an output of the student's tower.

    Raises:
        UserError: `side` is neither.

    Example:
    ```python
    Term(Hint(), Features("candidate"))
    Term(Hint(), Features("query", "hidden_1", "hidden_0"))
    ```
    """

    def __init__(
        self,
        side: str = "candidate",
        teacher_output: str = "embedding",
        student_output: str = "embedding",
    ) -> None:
        if side not in SIDES:
            raise UserError(
                "`side` should be query or candidate. Received: `side` = "
                f"{side!r}."
            )
        super().__init__(f"{side}_{teacher_output}_{student_output}")
        self.side = side
        self.teacher_output = teacher_output
        self.student_output = student_output

    def select(self, batch: Batch) -> Selection:
        """Positions along `side`, see `Listener.select`."""
        own = (
            tf.shape(batch["event_weight"])[0]
            if self.side == "query"
            else tf.shape(batch["candidate_probability"])[0]
        )
        rows = batch[f"{self.side}_row"][:own]
        return Selection(
            query=tf.range(own),
            mask=first_occurrences(rows),
            weight=tf.ones_like(rows, tf.float32),
            rows=rows,
        )
