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
    """Turns a sampler of the teacher's lists round: users for an item.

    Every step draws items uniformly, and compares the teacher's best users for
    them and random users. The teacher has to have embeddings; a cached one
    has to have lists of that side.

    Args:
        over: `TeacherTopK` or `RankSampled`; its numbers count users where
            they counted items and the other way round.

    Raises:
        UserError: `candidates` is another sampler.

    Example:
    ```python
    DistillationTerm(RelaxedRanking(), ItemSide(RankSampled(40, k=100)))
    ```

    References:
        Kang, Lee, Kweon, Hwang and Yu 2022, "Item-side Ranking Regularized
        Distillation for Recommender System".
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

    def join(self, rows: Batch, seed: tf.Tensor, teacher: Teacher) -> Batch:
        """See `CandidateSampler.join`."""
        turned = {
            "query_row": rows["candidate_row"],
            "candidate_row": rows["query_row"],
        }
        with tf.init_scope():
            reverse = teacher.reversed()
        # Another seed, so that items and users are not drawn in step.
        turned = self.candidates.join(turned, seed + 16, reverse)
        return {
            **rows,
            "query_row": turned["candidate_row"],
            "candidate_row": turned["query_row"],
            self.name: turned[self.candidates.name],
        }

    def select(self, batch: Batch) -> Selection:
        """Positions of items as queries, see `Selection.reverse`."""
        selection = self.candidates.select(
            {self.candidates.name: self.joined(batch)}
        )
        return selection._replace(reverse=True)
