"""Scorers: the interface of all models that are evaluated.

Ties are broken by catalogue order; see `kd_tfrs.evaluation.catalogue`.
"""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

import numpy as np

from kd_tfrs.errors import UserError
from kd_tfrs.evaluation.catalogue import CatalogueScorer


@runtime_checkable
class Scorer(Protocol):
    """A model that recommends from a catalogue and scores candidates."""

    def recommend(
        self, queries: Any, k: int, exclude: Any = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Finds the k best items of each query.

        Args:
            queries: [n], raw user ids.
            k: number of items, at least 1.
            exclude: items to leave out: `Exclusions`, one array of raw item
                ids for each query, or None.

        Returns:
            Ids [n, k] and `float32` scores [n, k], best first. Where fewer
            than k items are left, the score is -inf and the id is arbitrary.
        """

    def score(self, queries: Any, candidates: Any) -> np.ndarray:
        """Scores given candidates.

        Args:
            queries: [n], raw user ids.
            candidates: [n, m], raw item ids.

        Returns:
            `float32` scores [n, m]; -inf for an unknown item.
        """


class EmbeddingScorer(CatalogueScorer):
    """Recommends by the dot product of query and candidate embeddings.

    `score(u, i) = query_embeddings[u] . candidate_embeddings[i]`

    Args:
        user_ids: [num_users], distinct raw ids.
        query_embeddings: [num_users, dim].
        item_ids: [num_items], distinct raw ids, in any order.
        candidate_embeddings: [num_items, dim].
        fallback: [dim], the query of an unknown user; zeros by default, which
            recommend the catalogue in ascending order of ids.

    Raises:
        UserError: shapes that do not fit, or values that are not finite.

    Example:
    >>> scorer = EmbeddingScorer([1], [[1.0, 0.0]], [5, 6], np.eye(2))
    >>> ids, scores = scorer.recommend([1], k=2)
    >>> ids.tolist()
    [[5, 6]]
    """

    def __init__(
        self,
        user_ids: Any,
        query_embeddings: Any,
        item_ids: Any,
        candidate_embeddings: Any,
        fallback: Any | None = None,
    ) -> None:
        super().__init__(user_ids, item_ids)
        dim = np.shape(candidate_embeddings)[-1]
        if fallback is None:
            fallback = np.zeros(dim, np.float32)
        self._queries = _table(
            query_embeddings, (len(self._users), dim), "query_embeddings"
        )
        self._fallback = _table(fallback, (dim,), "fallback")
        self._candidates = _table(
            candidate_embeddings,
            (len(self._items), dim),
            "candidate_embeddings",
        )[self._items.order]

    def catalogue_scores(self, users: np.ndarray) -> np.ndarray:
        """Scores every item of the catalogue; see `CatalogueScorer`."""
        return self._embed(users) @ self._candidates.T

    def _score_block(self, users: np.ndarray, items: np.ndarray) -> np.ndarray:
        vectors = self._candidates[items]
        return np.einsum("nd,nmd->nm", self._embed(users), vectors)

    def _embed(self, users: np.ndarray) -> np.ndarray:
        """[n, dim] queries; the fallback where the user is unknown."""
        queries = self._queries[users]
        queries[users < 0] = self._fallback
        return queries


def _table(values: Any, shape: tuple[int, ...], name: str) -> np.ndarray:
    """Checks shape and finiteness and returns `float32`."""
    table = np.asarray(values, np.float32)
    if table.shape != shape:
        raise UserError(
            f"`{name}` should have the shape {list(shape)}, one row for each "
            f"id. Received: {list(table.shape)}. Check ids and embeddings."
        )
    if not np.isfinite(table).all():
        raise UserError(
            f"`{name}` should be finite. Received: NaN or infinity. The model "
            "has diverged: lower its learning rate."
        )
    return table
