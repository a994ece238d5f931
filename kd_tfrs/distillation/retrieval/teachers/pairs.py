"""A teacher of pairs: any model from inputs to a score."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import tensorflow as tf

from kd_tfrs.data.retrieval.batches import Batch, gather_features
from kd_tfrs.distillation.retrieval.batch_scores import PairScores
from kd_tfrs.distillation.retrieval.teachers import Teacher
from kd_tfrs.distillation.retrieval.teachers.inputs import (
    as_tensors,
    call_model,
    count_rows,
    trial_rows,
)
from kd_tfrs.distillation.retrieval.teachers.tables import float_table
from kd_tfrs.distillation.trial import trial_call
from kd_tfrs.errors import UserError


class PairTeacher(Teacher):
    """A teacher that scores pairs: any Keras model or function.

    Args:
        score: from a dict of `[n, ...]` inputs, the query's and the
            candidate's merged, to `[n]` or `[n, 1]` logits.
        query_inputs: arrays `[num_users + 1, ...]` by input name.
        candidate_inputs: arrays `[num_items, ...]` by input name.
        seen: see `Teacher`.

    Raises:
        UserError: an input name stands on both sides, or the first two pairs
            have no finite scores.

    Example:
    ```python
    teacher = PairTeacher(
        my_keras_model, {"user_id": user_ids}, {"item_id": item_ids}
    )
    ```
    """

    def __init__(
        self,
        score: Callable[[Batch], tf.Tensor],
        query_inputs: Mapping[str, np.ndarray],
        candidate_inputs: Mapping[str, np.ndarray],
        seen: tf.RaggedTensor | None = None,
    ) -> None:
        twice = sorted(set(query_inputs) & set(candidate_inputs))
        if twice:
            raise UserError(
                "Query and candidate inputs should have different names. "
                f"Received: {twice} on both sides. Rename one of each."
            )
        super().__init__(
            count_rows(query_inputs), count_rows(candidate_inputs), seen
        )
        self._score = score
        self._query_inputs = as_tensors(query_inputs)
        self._candidate_inputs = as_tensors(candidate_inputs)
        self._check()

    def batch_scores(self, batch: Batch) -> PairScores:
        """See `Teacher.batch_scores`."""
        return PairScores(
            lambda query, candidate: self._score_rows(
                tf.gather(batch["query_row"], query),
                tf.gather(batch["candidate_row"], candidate),
            )
        )

    def all_scores(self, query_rows: tf.Tensor) -> tf.Tensor:
        """See `Teacher.all_scores`."""
        count = tf.shape(query_rows)[0]
        scores = self._score_rows(
            tf.repeat(query_rows, self.num_candidates),
            tf.tile(tf.range(self.num_candidates), [count]),
        )
        return tf.reshape(scores, [count, self.num_candidates])

    def _check(self) -> None:
        """Scores two pairs."""
        with tf.init_scope(), trial_call("teacher's `score`", "its inputs"):
            rows = trial_rows(min(self.num_queries, self.num_candidates))
            scores = self._score_rows(rows, rows)
            if len(scores) != len(rows):
                raise UserError(
                    "`score` should give a score for each pair. Received: "
                    f"{len(scores)} for {len(rows)} pairs."
                )
            float_table("score(...)", scores[:, None])

    def _score_rows(
        self, query_rows: tf.Tensor, candidate_rows: tf.Tensor
    ) -> tf.Tensor:
        inputs = {
            **gather_features(self._query_inputs, query_rows),
            **gather_features(self._candidate_inputs, candidate_rows),
        }
        scores = call_model(self._score, inputs)
        return tf.stop_gradient(tf.reshape(tf.cast(scores, tf.float32), [-1]))
