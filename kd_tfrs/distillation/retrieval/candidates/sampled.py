"""Candidates drawn from the whole catalogue."""

from __future__ import annotations

import tensorflow as tf

from kd_tfrs.data.retrieval.batches import Batch
from kd_tfrs.distillation.retrieval.batch_scores import Selection
from kd_tfrs.distillation.retrieval.candidates.base import (
    CandidateSampler,
    draw_rows,
    first_occurrences,
)
from kd_tfrs.distillation.retrieval.teachers import Teacher
from kd_tfrs.errors import UserError


class Sampled(CandidateSampler):
    """Candidates drawn uniformly from the catalogue, shared by a batch.

    Args:
        num_candidates: how many are drawn a step; repeats count once.

    Raises:
        UserError: `num_candidates` is below 2.

    Example:
    ```python
    DistillationTerm(ScoreRegression(), Sampled(512))
    ```
    """

    def __init__(self, num_candidates: int = 512) -> None:
        if num_candidates < 2:
            raise UserError(
                "`num_candidates` should be at least 2. Received: "
                f"`num_candidates` = {num_candidates}."
            )
        super().__init__(f"sampled_{num_candidates}")
        self.num_candidates = num_candidates

    def join(self, rows: Batch, seed: tf.Tensor, teacher: Teacher) -> Batch:
        """See `CandidateSampler.join`."""
        drawn = draw_rows(
            self.num_candidates, seed + 1, 0, teacher.num_candidates
        )
        start = tf.shape(rows["candidate_row"])[0]
        return {
            **rows,
            "candidate_row": tf.concat([rows["candidate_row"], drawn], 0),
            self.name: {
                "shared": start + tf.range(self.num_candidates),
                "mask": first_occurrences(drawn),
            },
        }

    def select(self, batch: Batch) -> Selection:
        """See `CandidateSampler.select`."""
        joined = self.joined(batch)
        return Selection(
            query=tf.range(tf.shape(batch["event_weight"])[0]),
            mask=joined["mask"],
            weight=batch["event_weight"],
            shared=joined["shared"],
        )
