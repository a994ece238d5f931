"""A session's rows as one list, for the losses between scores."""

from __future__ import annotations

import tensorflow as tf

from kd_tfrs.distillation.losses import LossInputs
from kd_tfrs.distillation.losses.checks import check_count
from kd_tfrs.distillation.ranking.selectors import LogitSelector
from kd_tfrs.distillation.ranking.teachers import Outputs, RankingBatch
from kd_tfrs.errors import UserError

SESSION = "session"


class SessionLists(LogitSelector):
    """The logits of one task, every session of the batch a list.

    For losses between scores, such as `SoftTargets`, `RelaxedRanking` (here
    ListMLE) and `RankNetDistillation`. A list holds the rows of a session
    that stand in the batch, in the teacher's descending order, so that the
    batches have to be grouped by session: take `SessionBatches`. Rows without
    a weight or without an output of the teacher (NaN) are left out. The
    weight of a list is the mean of its rows' weights; a list of a single row
    has the weight 0.

    These losses do not depend on the level of the scores, so that the labels
    alone calibrate the head.

    Args:
        task: of the student.
        max_length: maximum number of rows of a list, at least 2. The first
            rows of a longer session are taken.
        teacher_task: of the teacher; `task` when `None`. The base rate of
            another task has no effect, as only the order counts.
        auxiliary: whether the logits are those of the student's auxiliary
            head, see `with_auxiliary_head`.

    Raises:
        UserError: `max_length` is less than 2.

    Example:
    ```python
    DistillationTerm(RelaxedRanking(), SessionLists("liked", max_length=20))
    ```

    References:
        Cao et al. 2007, "Learning to Rank: From Pairwise Approach to Listwise
        Approach", for a list as one example.
    """

    def __init__(
        self,
        task: str,
        max_length: int = 20,
        teacher_task: str | None = None,
        auxiliary: bool = False,
    ) -> None:
        super().__init__(task, teacher_task, auxiliary, "session_")
        self.max_length = check_count("max_length", max_length, 2)

    def select(
        self, batch: RankingBatch, teacher: Outputs, student: Outputs
    ) -> LossInputs:
        """See `OutputSelector.select`."""
        if SESSION not in batch:
            raise UserError(
                f"A batch should have {SESSION!r}, the number of each row's "
                f"session. Received: {sorted(batch)}. Take SessionBatches."
            )
        scores = teacher[self.teacher_output]
        counts = tf.logical_not(tf.math.is_nan(scores))
        counts = tf.logical_and(counts, batch["weight"] > 0)
        rows = session_rows(batch[SESSION], counts, scores, self.max_length)
        mask = rows >= 0
        labels = batch["labels"].get(self.task)
        return LossInputs(
            pick(scores, rows),
            pick(student[self.student_output], rows),
            mask,
            listed=self.max_length,
            labels=None if labels is None else pick(labels, rows),
            weight=_mean_weight(pick(batch["weight"], rows), mask),
        )


def session_rows(
    sessions: tf.Tensor,
    counts: tf.Tensor,
    scores: tf.Tensor,
    max_length: int,
) -> tf.Tensor:
    """Lists of a batch's rows by session, in descending order of scores.

    Args:
        sessions: `[batch]` integers, in any order.
        counts: `[batch]` bool, false for rows that are left out.
        scores: `[batch]`; equal ones keep the batch's order.
        max_length: of a list; of a longer session the first rows.

    Returns:
        `[sessions, max_length]` int32 positions, -1 behind a list's end.
    """
    rows = tf.cast(tf.where(counts)[:, 0], tf.int32)
    unique, numbers = tf.unique(tf.gather(sessions, rows))
    kept = _places(numbers) < max_length
    rows, numbers = tf.boolean_mask(rows, kept), tf.boolean_mask(numbers, kept)
    best = tf.argsort(
        tf.gather(scores, rows), direction="DESCENDING", stable=True
    )
    rows, numbers = tf.gather(rows, best), tf.gather(numbers, best)
    return tf.tensor_scatter_nd_update(
        tf.fill([tf.size(unique), max_length], -1),
        tf.stack([numbers, _places(numbers)], axis=1),
        rows,
    )


def pick(values: tf.Tensor, rows: tf.Tensor) -> tf.Tensor:
    """Values of lists of rows.

    Args:
        values: `[batch]`.
        rows: `[lists, length]`, see `session_rows`.

    Returns:
        `[lists, length]`, 0 behind a list's end.
    """
    found = tf.gather(values, tf.maximum(rows, 0))
    return tf.where(rows >= 0, found, tf.zeros_like(found))


def _places(numbers: tf.Tensor) -> tf.Tensor:
    """How many equal numbers stand before each one, `[n]` int32."""
    order = tf.argsort(numbers, stable=True)
    ordered = tf.gather(numbers, order)
    first = tf.searchsorted(ordered, ordered)
    places = tf.range(tf.size(numbers)) - first
    return tf.scatter_nd(order[:, None], places, tf.shape(numbers))


def _mean_weight(weight: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
    length = tf.reduce_sum(tf.cast(mask, tf.float32), axis=1)
    mean = tf.math.divide_no_nan(tf.reduce_sum(weight, axis=1), length)
    return tf.where(length >= 2, mean, 0.0)
