"""Retrieval and ranking behind one call."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np

from kd_tfrs.errors import UserError
from kd_tfrs.evaluation import SavedModelScorer
from kd_tfrs.export import SavedModelRanker

Context = Mapping[str, Any]
Ranked = tuple[np.ndarray, np.ndarray]


@runtime_checkable
class Retriever(Protocol):
    """Finds candidates, as every `Scorer` does."""

    def recommend(self, queries: Any, k: int, exclude: Any = None) -> Ranked:
        """Finds the k best items of each query; see `Scorer.recommend`."""


@runtime_checkable
class Ranker(Protocol):
    """Orders candidates for one user, as `KerasRanker` does."""

    def rank(
        self, user_id: Any, items: Any, k: int, context: Context | None = None
    ) -> Ranked:
        """The k best of given items; see `KerasRanker.rank`."""


class Recommender:
    """Retrieves candidates, leaves out the seen, ranks the rest.

    Retrieval never returns what is excluded, so that ranking has as many
    candidates as were asked for. An item that retrieval knows and ranking
    does not (one of them was exported later) is not recommended.

    Args:
        retrieval: an exported retrieval model (a version folder, or the
            folder of versions), or a model in process: any `Retriever`, such
            as `EmbeddingScorer`.
        ranking: an exported ranker likewise, or any `Ranker`, such as
            `KerasRanker`.
        num_retrieved: candidates that are ranked, at least 1.

    Raises:
        UserError: a folder has no such model, or a number is out of range.

    Example:
    ```python
    recommender = Recommender("models/retrieval", "models/ranking")
    ids, scores = recommender.recommend(
        196, k=10, context={"device": "phone"}, exclude=seen
    )
    ```
    """

    def __init__(
        self,
        retrieval: str | os.PathLike | Retriever,
        ranking: str | os.PathLike | Ranker,
        num_retrieved: int = 300,
    ) -> None:
        if num_retrieved < 1:
            raise UserError(
                "`num_retrieved` should be at least 1. Received: "
                f"`num_retrieved` = {num_retrieved}."
            )
        if isinstance(retrieval, (str, os.PathLike)):
            retrieval = SavedModelScorer(retrieval)
        if isinstance(ranking, (str, os.PathLike)):
            ranking = SavedModelRanker(ranking)
        _check_kind("retrieval", retrieval, Retriever)
        _check_kind("ranking", ranking, Ranker)
        self.retrieval = retrieval
        self.ranking = ranking
        self.num_retrieved = num_retrieved

    def recommend(
        self,
        user_id: Any,
        k: int,
        context: Context | None = None,
        exclude: Any = None,
    ) -> Ranked:
        """Recommends to one user.

        Args:
            user_id: raw id; unknown users get what the models have for them.
            k: how many, at least 1 and at most `num_retrieved`.
            context: what is known of the user and the event, by raw column;
                see `KerasRanker.rank`.
            exclude: raw ids of items to leave out, such as the seen.

        Returns:
            Ids and `float32` scores of the ranker, `[k]`, best first. Where
            fewer items are left, places at the end have the score -inf and an
            id that means nothing.

        Raises:
            UserError: `k` or the context does not fit.
        """
        excluded = None if exclude is None else [np.asarray(exclude)]
        contexts = None if context is None else [context]
        ids, scores = self.recommend_many([user_id], k, excluded, contexts)
        return ids[0], scores[0]

    def recommend_many(
        self,
        user_ids: Any,
        k: int,
        exclude: Any = None,
        contexts: Sequence[Context | None] | None = None,
    ) -> Ranked:
        """Recommends to several users: one retrieval, a ranking for each.

        Args:
            user_ids: `[n]` raw ids.
            k: see `recommend`.
            exclude: as a `Scorer` takes it: `Exclusions`, or one array of raw
                item ids a user.
            contexts: `[n]`, see `recommend`; none known when `None`.

        Returns:
            Ids and scores `[n, k]`, see `recommend`.

        Raises:
            UserError: `k` or a context does not fit.
        """
        if not 1 <= k <= self.num_retrieved:
            raise UserError(
                "`k` should be at least 1 and at most `num_retrieved`. "
                f"Received: `k` = {k} and `num_retrieved` = "
                f"{self.num_retrieved}. Retrieve more."
            )
        if contexts is None:
            contexts = [None] * len(user_ids)
        candidates, scores = self.retrieval.recommend(
            user_ids, self.num_retrieved, exclude
        )
        ranked = [
            self.ranking.rank(user, items[found > -np.inf], k, context)
            for user, items, found, context in zip(
                user_ids, candidates, scores, contexts, strict=True
            )
        ]
        if not ranked:
            return candidates[:, :k], scores[:, :k]
        ids, scores = zip(*ranked, strict=True)
        return np.stack(ids), np.stack(scores)


def _check_kind(name: str, model: object, kind: type) -> None:
    if not isinstance(model, kind):
        raise UserError(
            f"`{name}` should be a folder or a {kind.__name__}. Received: "
            f"{type(model).__name__}. See kd_tfrs.serving."
        )
