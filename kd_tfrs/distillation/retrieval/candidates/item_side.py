"""Lists of users for an item, instead of items for a user."""

from __future__ import annotations

import tensorflow as tf

from kd_tfrs.data.retrieval.batches import Batch
from kd_tfrs.distillation.retrieval.batch_scores import Selection
from kd_tfrs.distillation.retrieval.candidates.base import CandidateSampler
from kd_tfrs.distillation.retrieval.candidates.teacher_lists import TeacherLists
from kd_tfrs.distillation.retrieval.teachers import Teacher
from kd_tfrs.errors import UserError


class ItemSide(CandidateSampler):
    """Reverses a sampler of teacher lists: users for an item.

    Every step draws items uniformly, and takes the teacher's best users for
    them and random users. The teacher needs embeddings; a cached teacher
    needs lists of that side.

    Args:
        candidates: `TeacherTopK` or `RankSampled`. Its numbers of items are
            numbers of users here, and the other way round.

    Raises:
        UserError: `candidates` is another sampler.

    Example:
    ```python
    candidates = RankSampled(num_interesting=20, k=500, num_random=20)
    DistillationTerm(RelaxedRanking(), ItemSide(candidates))
    ```

    References:
        Kang, Lee, Kweon, Hwang and Yu 2022, "Item-side Ranking Regularized
        Distillation for Recommender System". The authors draw 20 users of the
        best 500 and 20 others, at half the weight of the user side, for the
        items of the user side's lists instead of any items.
    """

    def __init__(self, candidates: TeacherLists) -> None:
        if not isinstance(candidates, TeacherLists):
            raise UserError(
                "`candidates` should be a sampler of the teacher's lists. "
                f"Received: {type(candidates).__name__}. Give TeacherTopK or "
                "RankSampled."
            )
        super().__init__(f"item_side_{candidates.name}")
        self.candidates = candidates

    def check(self, teacher: Teacher) -> None:
        """See `CandidateSampler.check`."""
        self.candidates.check(teacher.reversed())

    def join(self, rows: Batch, seed: tf.Tensor, teacher: Teacher) -> Batch:
        """See `CandidateSampler.join`."""
        reversed_rows = {
            "query_row": rows["candidate_row"],
            "candidate_row": rows["query_row"],
        }
        with tf.init_scope():
            reverse = teacher.reversed()
        # Another seed, so that draws of items and users are independent.
        reversed_rows = self.candidates.join(reversed_rows, seed + 16, reverse)
        return {
            **rows,
            "query_row": reversed_rows["candidate_row"],
            "candidate_row": reversed_rows["query_row"],
            self.name: reversed_rows[self.candidates.name],
        }

    def select(self, batch: Batch) -> Selection:
        """Positions of items as queries, see `Selection.reverse`."""
        selection = self.candidates.select(
            {self.candidates.name: self.joined(batch)}
        )
        return selection._replace(reverse=True)
