"""The best candidates of the teacher."""

from __future__ import annotations

import tensorflow as tf

from kd_tfrs.distillation.retrieval.candidates.teacher_lists import TeacherLists


class TeacherTopK(TeacherLists):
    """The teacher's best candidates for some users, and random ones beside.

    Every step draws `num_queries` users uniformly, apart from the batch's
    events, so that all users count the same.

    Args:
        k: how many of the teacher's best, at least 1.
        num_random: candidates drawn uniformly and shared by the queries;
            those that are in a query's list are masked.
        num_queries: users drawn a step.
        seen: see `TeacherLists`.

    Raises:
        UserError: a number is out of range.

    Example:
    ```python
    DistillationTerm(SoftTargets(), TeacherTopK(k=200, num_random=512))
    ```
    """

    def __init__(
        self,
        k: int = 100,
        num_random: int = 0,
        num_queries: int = 256,
        seen: tf.RaggedTensor | None = None,
    ) -> None:
        super().__init__(
            f"top_{k}_{num_random}_{num_queries}",
            k,
            num_random,
            num_queries,
            seen,
        )
