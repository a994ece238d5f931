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
    such as `PreferenceConsistentHint`: `[queries, 1 + n, width]`, the query
    first. The teacher needs embeddings.

    Args:
        candidates: `TeacherTopK` or `RankSampled`; its random candidates are
            shared by the queries and therefore left out.

    Raises:
        UserError: `candidates` is another sampler, or has random candidates.

    Example:
    ```python
    lists = ListFeatures(RankSampled(5, k=100, num_random=0))
    DistillationTerm(PreferenceConsistentHint(), lists)
    ```
    """

    of_lists = True
    sides = ("query", "candidate")

    def __init__(self, candidates: TeacherLists) -> None:
        if not isinstance(candidates, TeacherLists) or candidates.num_random:
            raise UserError(
                "`candidates` should be a sampler of the teacher's lists "
                f"without random ones. Received: {type(candidates).__name__} "
                f"with `num_random` = "
                f"{getattr(candidates, 'num_random', 'none')}. Give "
                "RankSampled(num_random=0) or TeacherTopK()."
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
        query, listed = selection.query, selection.lists
        own = tf.gather(batch["query_row"], query)
        rows = tf.gather(batch["candidate_row"], listed)
        candidates = teacher.features("candidate", tf.reshape(rows, [-1]))
        shape = tf.concat([tf.shape(rows), [candidates.shape[1]]], axis=0)
        return LossInputs(
            _stacked(
                teacher.features("query", own), tf.reshape(candidates, shape)
            ),
            _stacked(
                tf.gather(outputs["query"][self.student_output], query),
                tf.gather(outputs["candidate"][self.student_output], listed),
            ),
            tf.pad(selection.mask, [[0, 0], [1, 0]], constant_values=True),
            rows=own,
            weight=selection.weight,
        )


def _stacked(queries: tf.Tensor, candidates: tf.Tensor) -> tf.Tensor:
    """`[queries, 1 + n, width]`, the query first."""
    return tf.concat([queries[:, None], candidates], axis=1)
