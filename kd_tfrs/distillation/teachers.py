"""Teachers with embeddings, live or precomputed, and what all share."""

from __future__ import annotations

import abc
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from kd_tfrs.data.pipelines import Batch
from kd_tfrs.distillation.inputs import (
    Inputs,
    as_tensors,
    count_rows,
    embed_rows,
)
from kd_tfrs.distillation.knowledge import EmbeddingKnowledge, PairKnowledge
from kd_tfrs.errors import UserError

Knowledge = EmbeddingKnowledge | PairKnowledge
_BLOCK = 4096


class Teacher(abc.ABC):
    """Anything that knows how good candidates are for a query.

    Queries and candidates are rows of a `Catalogue`; a teacher owns its
    inputs by row, which may differ from the student's. It is never trained
    and no gradient reaches it.

    Args:
        num_queries: user rows, the unknown one counted.
        num_candidates: item rows.
        seen: `[num_queries, (events)]` ragged int32 item rows that are left
            out of a query's top-k lists, or `None`.
    """

    def __init__(
        self,
        num_queries: int,
        num_candidates: int,
        seen: tf.RaggedTensor | None = None,
    ) -> None:
        self.num_queries = num_queries
        self.num_candidates = num_candidates
        self.seen = seen

    @abc.abstractmethod
    def knowledge(self, batch: Batch) -> Knowledge:
        """What it says about a batch, see `RetrievalBatches`."""

    @abc.abstractmethod
    def all_scores(self, query_rows: tf.Tensor) -> tf.Tensor:
        """Scores of every candidate, `[queries, num_candidates]`."""

    def top_k(
        self, query_rows: tf.Tensor, k: int
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """The best unseen candidates of some queries.

        Args:
            query_rows: `[queries]` int32.
            k: how many; at most `num_candidates`.

        Returns:
            `[queries, k]` int32 rows and `[queries, k]` float32 scores in
            descending order; ties go to the lower row. A score is -inf where
            fewer than `k` candidates are left.

        Raises:
            UserError: `k` exceeds the number of candidates.
        """
        if k > self.num_candidates:
            raise UserError(
                "`k` should not exceed the number of candidates. Received: "
                f"`k` = {k} of {self.num_candidates}. Lower `k`."
            )
        scores = self.all_scores(query_rows)
        if self.seen is not None:
            scores = mask_seen(scores, tf.gather(self.seen, query_rows))
        values, rows = tf.math.top_k(scores, k)
        return rows, values


def mask_seen(scores: tf.Tensor, seen: tf.RaggedTensor) -> tf.Tensor:
    """Puts -inf where a query has seen the candidate.

    Args:
        scores: `[queries, candidates]`.
        seen: `[queries, (events)]` ragged candidate rows.

    Returns:
        `[queries, candidates]`.
    """
    places = tf.stack(
        [tf.cast(seen.value_rowids(), tf.int32), seen.values], axis=1
    )
    return tf.tensor_scatter_nd_update(
        scores, places, tf.fill([tf.shape(places)[0]], -np.inf)
    )


class TwoTowerTeacher(Teacher):
    """A live teacher: any two models that yield embeddings.

    The towers run at every step, on what the losses listen to. Where they
    are slow, build a cache of the same teacher once (`build_cache`).

    Args:
        query_model: a Keras model, a loaded SavedModel or a function, from
            query inputs to `[batch, dim]`, or to a dict with an `embedding`.
        candidate_model: likewise for candidates.
        query_inputs: the query model's inputs by user row: arrays
            `[num_users + 1, ...]` by input name, or one array.
        candidate_inputs: likewise by item row, `[num_items, ...]`.
        temperature: scores are dot products divided by it, positive. Take
            the teacher's own softmax temperature, so that its scores are the
            logits it was trained with.
        seen: see `Teacher`.

    Example:
    ```python
    teacher = TwoTowerTeacher(
        model.query_tower, model.candidate_tower, user_tables, item_tables,
        temperature=model.temperature,
    )
    ```
    """

    def __init__(
        self,
        query_model: Callable,
        candidate_model: Callable,
        query_inputs: Inputs,
        candidate_inputs: Inputs,
        temperature: float = 1.0,
        seen: tf.RaggedTensor | None = None,
    ) -> None:
        super().__init__(
            count_rows(query_inputs), count_rows(candidate_inputs), seen
        )
        self.temperature = _positive_temperature(temperature)
        self._query_model = query_model
        self._candidate_model = candidate_model
        self._query_inputs = as_tensors(query_inputs)
        self._candidate_inputs = as_tensors(candidate_inputs)
        self._all_candidates: tf.Tensor | None = None

    def embed_queries(self, rows: tf.Tensor) -> tf.Tensor:
        """Embeddings of user rows, `[batch, dim]`, without gradient."""
        return embed_rows(self._query_model, self._query_inputs, rows)

    def embed_candidates(self, rows: tf.Tensor) -> tf.Tensor:
        """Embeddings of item rows, `[batch, dim]`, without gradient."""
        return embed_rows(self._candidate_model, self._candidate_inputs, rows)

    def knowledge(self, batch: Batch) -> EmbeddingKnowledge:
        """See `Teacher.knowledge`."""
        return EmbeddingKnowledge(
            lambda at: self.embed_queries(tf.gather(batch["query_row"], at)),
            lambda at: self._embed_listed(
                tf.gather(batch["candidate_row"], at)
            ),
            self.temperature,
            trusts_lists=True,
        )

    def all_scores(self, query_rows: tf.Tensor) -> tf.Tensor:
        """See `Teacher.all_scores`."""
        if self._all_candidates is None:
            # Once, outside of any graph: a teacher does not change.
            with tf.init_scope():
                self._all_candidates = tf.concat(
                    [
                        self.embed_candidates(rows)
                        for rows in _blocks(self.num_candidates)
                    ],
                    axis=0,
                )
        queries = self.embed_queries(query_rows)
        scores = tf.matmul(queries, self._all_candidates, transpose_b=True)
        return scores / self.temperature

    def _embed_listed(self, rows: tf.Tensor) -> tf.Tensor:
        flat = self.embed_candidates(tf.reshape(rows, [-1]))
        shape = tf.concat([tf.shape(rows), tf.shape(flat)[-1:]], axis=0)
        return tf.reshape(flat, shape)


class EmbeddingTeacher(Teacher):
    """A teacher whose embeddings are known: gathered, never computed.

    Args:
        query_embeddings: `[num_users + 1, dim]` by user row.
        candidate_embeddings: `[num_items, dim]` by item row.
        temperature: scores are dot products divided by it, positive.
        lists: `[num_users + 1, K]` rows of the best candidates and their
            `[num_users + 1, K]` scores, or `None` to rank at every step.
        seen: see `Teacher`; only where `lists` are not given.

    Raises:
        UserError: both `lists` and `seen` are given, or `temperature` is not
            positive.

    Example:
    ```python
    teacher = EmbeddingTeacher(user_vectors, item_vectors, temperature=0.1)
    ```
    """

    def __init__(
        self,
        query_embeddings: np.ndarray,
        candidate_embeddings: np.ndarray,
        temperature: float = 1.0,
        lists: tuple[np.ndarray, np.ndarray] | None = None,
        seen: tf.RaggedTensor | None = None,
    ) -> None:
        super().__init__(len(query_embeddings), len(candidate_embeddings), seen)
        self.temperature = _positive_temperature(temperature)
        self._queries = tf.constant(query_embeddings)
        self._candidates = tf.constant(candidate_embeddings)
        if lists is not None and seen is not None:
            raise UserError(
                "`seen` should be left out where `lists` are given: lists "
                "stay as they are. Received: both. Leave seen items out of "
                "the lists."
            )
        self._lists = lists and (
            tf.cast(tf.constant(lists[0]), tf.int32),
            tf.constant(lists[1]),
        )

    def embed_queries(self, rows: tf.Tensor) -> tf.Tensor:
        """Embeddings of user rows, `[..., dim]` float32."""
        return tf.cast(tf.gather(self._queries, rows), tf.float32)

    def embed_candidates(self, rows: tf.Tensor) -> tf.Tensor:
        """Embeddings of item rows, `[..., dim]` float32."""
        return tf.cast(tf.gather(self._candidates, rows), tf.float32)

    def knowledge(self, batch: Batch) -> EmbeddingKnowledge:
        """See `Teacher.knowledge`."""
        return EmbeddingKnowledge(
            lambda at: self.embed_queries(tf.gather(batch["query_row"], at)),
            lambda at: self.embed_candidates(
                tf.gather(batch["candidate_row"], at)
            ),
            self.temperature,
            trusts_lists=True,
        )

    def all_scores(self, query_rows: tf.Tensor) -> tf.Tensor:
        """See `Teacher.all_scores`."""
        candidates = tf.cast(self._candidates, tf.float32)
        queries = self.embed_queries(query_rows)
        return tf.matmul(queries, candidates, transpose_b=True) / (
            self.temperature
        )

    def top_k(
        self, query_rows: tf.Tensor, k: int
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """See `Teacher.top_k`; a cached list has to be `k` long at least."""
        if self._lists is None:
            return super().top_k(query_rows, k)
        rows, scores = self._lists
        if k > rows.shape[1]:
            raise UserError(
                f"`k` should not exceed the cache's {rows.shape[1]}. "
                f"Received: `k` = {k}. Build the cache with a larger `k`."
            )
        return (
            tf.gather(rows, query_rows)[:, :k],
            tf.cast(tf.gather(scores, query_rows)[:, :k], tf.float32),
        )


def _blocks(count: int) -> list[tf.Tensor]:
    return [
        tf.range(start, min(start + _BLOCK, count))
        for start in range(0, count, _BLOCK)
    ]


def _positive_temperature(temperature: float) -> float:
    if temperature <= 0:
        raise UserError(
            "A teacher's `temperature` should be positive. Received: "
            f"`temperature` = {temperature}. Take its softmax temperature."
        )
    return float(temperature)
