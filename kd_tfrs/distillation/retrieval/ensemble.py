"""Several teachers that speak with one voice."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from kd_tfrs.data.retrieval.batches import Batch
from kd_tfrs.distillation.ensemble_weights import ensemble_weights
from kd_tfrs.distillation.retrieval.batch_scores import Selection
from kd_tfrs.distillation.retrieval.teachers import (
    BatchScores,
    Teacher,
    rank_all,
)
from kd_tfrs.distillation.retrieval.teachers.embedding import read_lists
from kd_tfrs.distillation.retrieval.teachers.top_k import query_blocks
from kd_tfrs.errors import UserError


class EnsembleTeacher(Teacher):
    r"""The weighted mean of several teachers' scores.

    $$s_{ui} = \sum_m w_m \left(\frac{s^m_{ui} - \mu^m_u}{\sigma^m_u}
    \sigma^1_u + \mu^1_u\right), \quad \sum_m w_m = 1$$

    with the mean $\mu^m_u$ and standard deviation $\sigma^m_u$ of teacher
    $m$'s scores of all candidates for a query: what one teacher calls good is
    not drowned by another with larger numbers, and the mean has the first
    teacher's scale. A query to which a teacher gives one score alone gets
    $\mu^1_u$ from it. Losses receive the scores of each teacher as well.

    Args:
        teachers: two or more over the same rows, each able to score every
            candidate; the first sets the scale.
        weights: $w_m$ of each, not negative; they are divided by their sum.
            Equal when `None`.
        standardize: whether scores are standardised; else they are averaged
            as they are. It scores the whole catalogue for all queries once.
        list_k: rank once, and keep lists of this length; `None` ranks at
            every step, which costs all candidates' scores of every teacher.
        seen: see `Teacher`; when `None`, what the first teacher that knows
            it has. Cached teachers have left it behind: give it again.

    Raises:
        UserError: teachers or weights do not fit together.

    Example:
    ```python
    teacher = EnsembleTeacher([two_towers, linear], [0.6, 0.4], list_k=200)
    ```

    References:
        Zhu et al. 2020, "Ensembled CTR Prediction via BatchScores
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
        known = [seen, *(teacher.seen for teacher in self.teachers), None]
        super().__init__(
            first.num_queries,
            first.num_candidates,
            next((x for x in known if x is not None), None),
        )
        self.first_query = first.first_query
        self.first_candidate = first.first_candidate
        self.weights = ensemble_weights(weights, len(self.teachers))
        self.standardize = standardize
        self.list_k = list_k
        # Variables, for members that change while a student learns.
        shape = (len(self.teachers), self.num_queries)
        self._mean, self._spread = (
            tf.Variable(values, trainable=False)
            for values in (tf.zeros(shape), tf.ones(shape))
        )
        self._lists: tuple[tf.Variable, tf.Variable] | None = None
        self.refresh()

    def refresh(self) -> None:
        """Measures and ranks again, where a member has changed."""
        if self.standardize:
            moments = np.array([_moments(t) for t in self.teachers])
            self._mean.assign(moments[:, 0])
            self._spread.assign(moments[:, 1])
        if self.list_k is None:
            return
        lists, self._lists = self._lists, None
        found = rank_all(self, self.list_k)
        if lists is None:
            lists = tuple(tf.Variable(x, trainable=False) for x in found)
        for kept, new in zip(lists, found, strict=True):
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
class EnsembleScores:
    """What an ensemble says about a batch: the mean, and what each says.

    Args:
        teacher: the ensemble.
        batch: see `RetrievalBatches`.
        members: what its teachers say.
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
            selection: of candidates.

        Returns:
            `[queries, lists + shared, teachers]` float32.
        """
        return tf.stack(self._each(selection), axis=-1)

    def _each(self, selection: Selection) -> list[tf.Tensor]:
        if selection.reverse:
            raise UserError(
                "An EnsembleTeacher should be asked for items of a user: its "
                "scores are standardised by user. Received: a sampler of "
                "users of an item. Give that loss a teacher of its own."
            )
        # The list's scores are the mean's; each has to give its own.
        asked = selection._replace(list_scores=None)
        return self.teacher.common_scale(
            [member.scores(asked) for member in self.members],
            tf.gather(self.batch["query_row"], selection.query),
        )


def _moments(teacher: Teacher) -> np.ndarray:
    """`[2, num_queries]`: mean and deviation over all candidates."""
    found = [
        tf.stack(
            [tf.reduce_mean(scores, axis=1), tf.math.reduce_std(scores, axis=1)]
        ).numpy()
        for scores in map(teacher.all_scores, query_blocks(teacher))
    ]
    return np.concatenate(found, axis=1)


def _check_teachers(teachers: Sequence[Teacher]) -> tuple[Teacher, ...]:
    teachers = tuple(teachers)
    if len(teachers) < 2 or not all(isinstance(t, Teacher) for t in teachers):
        raise UserError(
            "`teachers` should be two or more Teachers. Received: "
            f"{[type(t).__name__ for t in teachers]}. Give a single one "
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
