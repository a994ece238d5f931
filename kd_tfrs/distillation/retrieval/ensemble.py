"""An ensemble of teachers: the mean of their scores."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from kd_tfrs.data.retrieval.batches import Batch
from kd_tfrs.distillation.ensemble_weights import ensemble_weights
from kd_tfrs.distillation.retrieval.batch_scores import BatchScores, Selection
from kd_tfrs.distillation.retrieval.teachers import Teacher, rank_all
from kd_tfrs.distillation.retrieval.teachers.embedding import (
    check_list_k,
    read_lists,
)
from kd_tfrs.distillation.retrieval.teachers.top_k import query_blocks
from kd_tfrs.errors import UserError


class EnsembleTeacher(Teacher):
    r"""The weighted mean of several teachers' scores.

    $$s_{ui} = \sum_m w_m \left(\frac{s^m_{ui} - \mu^m_u}{\sigma^m_u}
    \sigma^1_u + \mu^1_u\right), \quad \sum_m w_m = 1$$

    with the mean $\mu^m_u$ and standard deviation $\sigma^m_u$ of teacher
    $m$'s scores of all candidates for a query. A teacher with larger scores
    therefore does not dominate the others, and the mean has the scale of the
    first teacher. Where a teacher gives all candidates of a query one score,
    its part is $\mu^1_u$. Losses also receive the scores of every teacher,
    see `LossInputs.each`.

    Args:
        teachers: two or more over the same rows, each able to score every
            candidate; the first sets the scale.
        weights: $w_m$ of each, not negative; they are divided by their sum.
            Equal when `None`.
        standardize: whether scores are standardised before the mean. It
            scores the whole catalogue for all queries once.
        list_k: rank once, and keep lists of this length; `None` ranks at
            every step, which costs all candidates' scores of every teacher.
        seen: see `Teacher`; when `None`, that of the first teacher with one.
            Cached teachers do not keep it, so that it has to be given.

    Raises:
        UserError: teachers or weights do not fit together.

    Example:
    ```python
    teacher = EnsembleTeacher([two_towers, linear], [0.6, 0.4], list_k=200)
    ```

    References:
        Zhu et al. 2020, "Ensembled CTR Prediction via Knowledge
        Distillation", section 3.2, for the mean. The standardisation is ours:
        their teachers all give probabilities.
    """

    def __init__(
        self,
        teachers: Sequence[Teacher],
        weights: Sequence[float] | None = None,
        standardize: bool = True,
        list_k: int | None = None,
        seen: tf.RaggedTensor | None = None,
    ) -> None:
        self.teachers = _check_teachers(teachers)
        first = self.teachers[0]
        seen_items = [seen, *(teacher.seen for teacher in self.teachers), None]
        super().__init__(
            first.num_queries,
            first.num_candidates,
            next((x for x in seen_items if x is not None), None),
        )
        self.first_query = first.first_query
        self.first_candidate = first.first_candidate
        self.weights = ensemble_weights(weights, len(self.teachers))
        self.standardize = standardize
        self.list_k = list_k
        # Variables, as members may change while a student is trained.
        shape = (len(self.teachers), self.num_queries)
        self._mean, self._spread = (
            tf.Variable(values, trainable=False)
            for values in (tf.zeros(shape), tf.ones(shape))
        )
        self._lists: tuple[tf.Variable, tf.Variable] | None = None
        self.refresh()

    def refresh(self) -> None:
        """Computes moments and lists again after a member has changed."""
        if self.standardize:
            moments = np.array([_moments(t) for t in self.teachers])
            self._mean.assign(moments[:, 0])
            self._spread.assign(moments[:, 1])
        if self.list_k is None:
            return
        lists, self._lists = self._lists, None
        ranked = rank_all(self, self.list_k)
        if lists is None:
            lists = tuple(tf.Variable(x, trainable=False) for x in ranked)
        for kept, new in zip(lists, ranked, strict=True):
            kept.assign(new)
        self._lists = lists

    def batch_scores(self, batch: Batch) -> EnsembleScores:
        """See `Teacher.batch_scores`."""
        return EnsembleScores(
            self, batch, tuple(t.batch_scores(batch) for t in self.teachers)
        )

    def all_scores(self, query_rows: tf.Tensor) -> tf.Tensor:
        """See `Teacher.all_scores`."""
        return self.mean(
            self.common_scale(
                [teacher.all_scores(query_rows) for teacher in self.teachers],
                query_rows,
            )
        )

    def top_k(
        self, query_rows: tf.Tensor, k: int
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """See `Teacher.top_k`; of the mean."""
        if self._lists is None:
            return super().top_k(query_rows, k)
        return read_lists(self._lists, query_rows, k)

    def check_k(self, k: int) -> None:
        """See `Teacher.check_k`."""
        if self._lists is None:
            super().check_k(k)
        else:
            check_list_k(self._lists, k)

    def common_scale(
        self, scores: Sequence[tf.Tensor], query_rows: tf.Tensor
    ) -> list[tf.Tensor]:
        """Scores of every teacher on the first one's scale.

        Args:
            scores: `[queries, n]` of every teacher.
            query_rows: `[queries]` int32.

        Returns:
            The same, standardised and rescaled.
        """
        if not self.standardize:
            return list(scores)
        mean = tf.gather(self._mean, query_rows, axis=1)[..., None]
        spread = tf.gather(self._spread, query_rows, axis=1)[..., None]
        return [
            tf.math.divide_no_nan(values - mean[m], spread[m]) * spread[0]
            + mean[0]
            for m, values in enumerate(scores)
        ]

    def mean(self, scores: Sequence[tf.Tensor]) -> tf.Tensor:
        """Their weighted mean."""
        return tf.add_n(
            [w * x for w, x in zip(self.weights, scores, strict=True)]
        )


@dataclasses.dataclass(frozen=True)
class EnsembleScores(BatchScores):
    """Scores of an ensemble for a batch: the mean, and those of each member.

    Args:
        teacher: the ensemble.
        batch: see `RetrievalBatches`.
        members: scores of its teachers.
    """

    teacher: EnsembleTeacher
    batch: Batch
    members: tuple[BatchScores, ...]

    def scores(self, selection: Selection) -> tf.Tensor:
        """Mean scores of the selected candidates, `[queries, n]`."""
        return self.teacher.mean(self._each(selection))

    def scores_of_each(self, selection: Selection) -> tf.Tensor:
        """Scores of every teacher on the first one's scale.

        Args:
            selection: queries and candidates of the batch.

        Returns:
            `[queries, lists + shared, teachers]` float32.
        """
        return tf.stack(self._each(selection), axis=-1)

    def _each(self, selection: Selection) -> list[tf.Tensor]:
        if selection.reverse:
            raise UserError(
                "An EnsembleTeacher should score the items of a user: its "
                "scores are standardised by user. Received: candidates that "
                "are users of an item. Give that loss a teacher of its own."
            )
        # The scores of the list are means; every member has its own.
        unscored = selection._replace(list_scores=None)
        return self.teacher.common_scale(
            [member.scores(unscored) for member in self.members],
            tf.gather(self.batch["query_row"], selection.query),
        )


def _moments(teacher: Teacher) -> np.ndarray:
    """`[2, num_queries]`: mean and deviation over all candidates."""
    moments = [
        tf.stack(
            [tf.reduce_mean(scores, axis=1), tf.math.reduce_std(scores, axis=1)]
        ).numpy()
        for scores in map(teacher.all_scores, query_blocks(teacher))
    ]
    return np.concatenate(moments, axis=1)


def _check_teachers(teachers: Sequence[Teacher]) -> tuple[Teacher, ...]:
    teachers = tuple(teachers)
    if len(teachers) < 2 or not all(isinstance(t, Teacher) for t in teachers):
        raise UserError(
            "`teachers` should be two or more Teachers. Received: "
            f"{[type(t).__name__ for t in teachers]}. Take a single teacher "
            "as it is."
        )
    shapes = {(t.num_queries, t.num_candidates) for t in teachers}
    if len(shapes) > 1:
        raise UserError(
            "`teachers` should all have the same queries and candidates. "
            f"Received: {sorted(shapes)}. Order their inputs as the "
            "Catalogue does."
        )
    return teachers
