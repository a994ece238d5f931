"""Embeddings of queries and of the candidates on their lists."""

from __future__ import annotations

from collections.abc import Mapping

import tensorflow as tf

from kd_tfrs.data.retrieval.batches import Batch
from kd_tfrs.distillation.losses import LossInputs
from kd_tfrs.distillation.retrieval.batch_scores import Selection
from kd_tfrs.distillation.retrieval.candidates.base import FeatureSampler
from kd_tfrs.distillation.retrieval.candidates.teacher_lists import TeacherLists
from kd_tfrs.distillation.retrieval.teachers import Teacher
from kd_tfrs.errors import UserError


class ListFeatures(FeatureSampler):
    """Embeddings of some queries and of the candidates on their lists.

    For losses between features that need a query and its candidates at once,
    such as `PreferenceConsistentHint`: `[queries, 1 + n + m, width]`, the
    query first, then its list and `m` random candidates of its own, which may
    be any. The teacher needs embeddings.

    Args:
        candidates: `TeacherTopK` or `RankSampled`. Its random candidates are
            dealt out to the queries, so that `num_random` is a multiple of
            `num_queries`, or 0.

    Raises:
        UserError: `candidates` is another sampler, or `num_random` is no
            multiple of `num_queries`.

    Example:
    ```python
    lists = ListFeatures(RankSampled(5, k=100, num_random=256))
    DistillationTerm(PreferenceConsistentHint(), lists)
    ```
    """

    of_lists = True
    sides = ("query", "candidate")

    def __init__(self, candidates: TeacherLists) -> None:
        if not isinstance(candidates, TeacherLists):
            raise UserError(
                "`candidates` should be a sampler of the teacher's lists. "
                f"Received: {type(candidates).__name__}. Give RankSampled or "
                "TeacherTopK."
            )
        if candidates.num_random % candidates.num_queries:
            raise UserError(
                "`num_random` should be a multiple of `num_queries`, since "
                "each query has random candidates of its own. Received: "
                f"`num_random` = {candidates.num_random} for "
                f"{candidates.num_queries} queries. Give num_random="
                f"{candidates.num_queries}, or 0."
            )
        super().__init__(f"features_of_{candidates.name}")
        self.candidates = candidates

    def join(self, rows: Batch, seed: tf.Tensor, teacher: Teacher) -> Batch:
        """See `CandidateSampler.join`."""
        sides = ("query_row", "candidate_row")
        joined = self.candidates.join(
            {side: rows[side] for side in sides}, seed, teacher
        )
        return {
            **rows,
            **{side: joined[side] for side in sides},
            self.name: joined[self.candidates.name],
        }

    def select(self, batch: Batch) -> Selection:
        """See `CandidateSampler.select`."""
        return self.candidates.select(
            {self.candidates.name: self.joined(batch)}
        )

    def features(
        self, batch: Batch, outputs: Mapping, teacher: Teacher
    ) -> LossInputs:
        """See `FeatureSampler.features`."""
        selection = self.select(batch)
        query, places = selection.query, selection.lists
        mask = selection.mask[:, : selection.num_listed()]
        if selection.shared is not None:
            own = tf.reshape(selection.shared, [tf.size(query), -1])
            places = tf.concat([places, own], axis=1)
            mask = tf.concat([mask, tf.ones_like(own, tf.bool)], axis=1)
        users = tf.gather(batch["query_row"], query)
        rows = tf.gather(batch["candidate_row"], places)
        items = teacher.features("candidate", tf.reshape(rows, [-1]))
        shape = tf.concat([tf.shape(rows), [items.shape[1]]], axis=0)
        return LossInputs(
            _stacked(
                teacher.features("query", users), tf.reshape(items, shape)
            ),
            _stacked(
                tf.gather(outputs["query"][self.student_output], query),
                tf.gather(outputs["candidate"][self.student_output], places),
            ),
            tf.pad(mask, [[0, 0], [1, 0]], constant_values=True),
            listed=0 if selection.shared is None else selection.num_listed(),
            rows=users,
            weight=selection.weight,
        )


def _stacked(queries: tf.Tensor, candidates: tf.Tensor) -> tf.Tensor:
    """`[queries, 1 + n, width]`, the query first."""
    return tf.concat([queries[:, None], candidates], axis=1)
