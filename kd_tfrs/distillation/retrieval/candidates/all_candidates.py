"""All candidates of the catalogue, for small catalogues."""

from __future__ import annotations

import tensorflow as tf

from kd_tfrs.data.retrieval.batches import Batch
from kd_tfrs.distillation.retrieval.batch_scores import Selection
from kd_tfrs.distillation.retrieval.candidates.base import (
    CandidateSampler,
    draw_rows,
)
from kd_tfrs.distillation.retrieval.teachers import Teacher
from kd_tfrs.distillation.retrieval.teachers.base import mask_seen
from kd_tfrs.errors import UserError


class AllCandidates(CandidateSampler):
    """All candidates of the catalogue, for some users.

    Every step draws `num_queries` users uniformly, apart from the batch's
    events. Only users are sampled, so that a softmax over the candidates is
    the model's own. A step costs `num_queries` times the catalogue, which
    suits up to about 100,000 items.

    Args:
        num_queries: users drawn a step.
        seen: `[num_users + 1, (events)]` ragged int32 item rows that do not
            count for a user, or `None`.

    Raises:
        UserError: `num_queries` is not positive.

    Example:
    ```python
    candidates = AllCandidates(num_queries=64)
    DistillationTerm(SoftTargets(temperature=0.4), candidates)
    ```
    """

    def __init__(
        self, num_queries: int = 64, seen: tf.RaggedTensor | None = None
    ) -> None:
        if num_queries < 1:
            raise UserError(
                "`num_queries` should be positive. Received: `num_queries` = "
                f"{num_queries}."
            )
        super().__init__(f"all_{num_queries}_{int(seen is None)}")
        self.num_queries = num_queries
        self.seen = seen

    def join(self, rows: Batch, seed: tf.Tensor, teacher: Teacher) -> Batch:
        """See `CandidateSampler.join`."""
        queries = draw_rows(
            self.num_queries, seed + 5, teacher.first_query, teacher.num_queries
        )
        start = tf.shape(rows["candidate_row"])[0]
        candidates = tf.range(teacher.num_candidates)
        mask = tf.fill([self.num_queries, teacher.num_candidates], True)
        if self.seen is not None:
            # Of booleans: the matrix is made at every step.
            mask = mask_seen(mask, tf.gather(self.seen, queries), False)
        return {
            **rows,
            "query_row": tf.concat([rows["query_row"], queries], 0),
            "candidate_row": tf.concat([rows["candidate_row"], candidates], 0),
            self.name: {
                "query": tf.shape(rows["query_row"])[0]
                + tf.range(self.num_queries),
                "shared": start + candidates,
                "mask": mask,
            },
        }

    def select(self, batch: Batch) -> Selection:
        """See `CandidateSampler.select`."""
        joined = self.joined(batch)
        return Selection(
            query=joined["query"],
            mask=joined["mask"],
            weight=tf.ones_like(joined["query"], tf.float32),
            shared=joined["shared"],
        )
