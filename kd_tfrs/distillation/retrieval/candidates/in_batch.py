"""The candidates of the in-batch softmax."""

from __future__ import annotations

import tensorflow as tf

from kd_tfrs.data.retrieval.batches import Batch
from kd_tfrs.distillation.retrieval.batch_scores import Selection
from kd_tfrs.distillation.retrieval.candidates.base import (
    CandidateSampler,
    first_occurrences,
)


class InBatch(CandidateSampler):
    """The candidates of the in-batch softmax: items and negatives.

    Repeated items count once.

    Example:
    ```python
    DistillationTerm(SoftTargets(temperature=2.0), InBatch())
    ```
    """

    def __init__(self) -> None:
        super().__init__("in_batch")

    def select(self, batch: Batch) -> Selection:
        """See `CandidateSampler.select`."""
        num_candidates = tf.shape(batch["candidate_probability"])[0]
        rows = batch["candidate_row"][:num_candidates]
        own = rows[: tf.shape(batch["event_weight"])[0]]
        return Selection(
            query=tf.range(tf.shape(own)[0]),
            mask=first_occurrences(rows),
            weight=batch["event_weight"],
            shared=tf.range(num_candidates),
            target=own[:, None] == rows[None, :],
        )
