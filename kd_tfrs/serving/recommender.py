"""Retrieval and ranking behind one call."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np

from kd_tfrs.errors import UserError
from kd_tfrs.evaluation.checks import check_k
from kd_tfrs.evaluation.ids import padding_id
from kd_tfrs.evaluation.retrieval import SavedModelScorer
from kd_tfrs.export.ranking import SavedModelRanker

Context = Mapping[str, Any]
Ranked = tuple[np.ndarray, np.ndarray]


@runtime_checkable
class Retriever(Protocol):
    """A model that retrieves candidates, such as any `Scorer`."""

    def recommend(self, queries: Any, k: int, exclude: Any = None) -> Ranked:
        """Finds the k best items of each query; see `Scorer.recommend`."""


@runtime_checkable
class Ranker(Protocol):
    """A model that ranks candidates for one user, such as `KerasRanker`."""

    def rank(
        self, user_id: Any, items: Any, k: int, context: Context | None = None
    ) -> Ranked:
        """Ranks given items; see `KerasRanker.rank`."""


@dataclasses.dataclass(frozen=True, eq=False)
class Candidates:
    """Retrieved candidates of some users, with the scores of both models.

    Args:
        ids: `[n, num_retrieved]` raw ids, in the order of the retrieval.
        retrieval_scores: `[n, num_retrieved]`, -inf where a list has ended.
        ranking_scores: `[n, num_retrieved]`, -inf also for an item that is
            unknown to the ranker.
    """

    ids: np.ndarray
    retrieval_scores: np.ndarray
    ranking_scores: np.ndarray

    def best(self, k: int, retrieval_weight: float = 0.0) -> Ranked:
        """Returns the best candidates by a blend of both scores.

        `(1 - w) z(ranking score) + w z(retrieval score)`, where `z` scales
        the scores of a user's candidates to mean 0 and standard deviation 1,
        so that logits and dot products can be added. Candidates with equal
        scores stay in the order of the retrieval.

        Args:
            k: number of items, at least 1 and at most `num_retrieved`.
            retrieval_weight: w, in [0, 1].

        Returns:
            Ids and `float32` blended scores, `[n, k]`, best first. Places
            after the end of a list have the score -inf and the padding id.

        Raises:
            UserError: `k` or `retrieval_weight` is out of range.

        Example:
        >>> candidates = Candidates(
        ...     np.array([[7, 8, 9]]),
        ...     np.array([[3.0, 2.0, 1.0]]),
        ...     np.array([[0.0, 4.0, 2.0]]),
        ... )
        >>> candidates.best(2, retrieval_weight=0.0)[0].tolist()
        [[8, 9]]
        >>> candidates.best(2, retrieval_weight=0.8)[0].tolist()
        [[7, 8]]
        """
        _check_k(k, self.ids.shape[1])
        _check_weight(retrieval_weight)
        is_ranked = self.ranking_scores > -np.inf
        weight = retrieval_weight
        blend = (1 - weight) * _standardised(self.ranking_scores, is_ranked)
        blend += weight * _standardised(self.retrieval_scores, is_ranked)
        blend = np.where(is_ranked, blend, -np.inf).astype(np.float32)
        order = np.argsort(-blend, axis=1, kind="stable")[:, :k]
        ids = np.take_along_axis(self.ids, order, axis=1)
        scores = np.take_along_axis(blend, order, axis=1)
        is_text = ids.dtype == object
        ids[scores == -np.inf] = padding_id(is_text=is_text)
        return ids, scores


class Recommender:
    """Retrieves candidates without excluded items, and ranks them.

    The retrieval leaves out excluded items, so that the ranker always gets
    `num_retrieved` candidates. An item that only one of the models contains
    (where one was exported later) is not recommended.

    A ranker that is trained on impressions alone has not seen most retrieved
    items in training. `retrieval_weight` adds the retrieval score to the
    order; `experiments/pipeline.py` chooses it on validation events.

    Args:
        retrieval: an exported retrieval model (a version folder, or a folder
            of versions), or any `Retriever` in process, such as
            `EmbeddingScorer`.
        ranking: an exported ranker, or any `Ranker` in process, such as
            `KerasRanker`.
        num_retrieved: number of candidates to rank, at least 1.
        retrieval_weight: weight of the retrieval score, in [0, 1]. With 0,
            order and scores are those of the ranker; above 0, those of
            `Candidates.best`.

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
        retrieval_weight: float = 0.0,
    ) -> None:
        check_k(num_retrieved, "num_retrieved")
        _check_weight(retrieval_weight)
        if isinstance(retrieval, (str, os.PathLike)):
            retrieval = SavedModelScorer(retrieval)
        if isinstance(ranking, (str, os.PathLike)):
            ranking = SavedModelRanker(ranking)
        _check_kind("retrieval", retrieval, Retriever)
        _check_kind("ranking", ranking, Ranker)
        self.retrieval = retrieval
        self.ranking = ranking
        self.num_retrieved = num_retrieved
        self.retrieval_weight = retrieval_weight

    def recommend(
        self,
        user_id: Any,
        k: int,
        context: Context | None = None,
        exclude: Any = None,
    ) -> Ranked:
        """Recommends to one user.

        Args:
            user_id: raw id; the models define the result of unknown users.
            k: number of items, at least 1 and at most `num_retrieved`.
            context: features of the user and the event, by raw column; see
                `KerasRanker.rank`.
            exclude: raw ids of items to leave out, such as seen items.

        Returns:
            Ids and `float32` scores of the ranker (blended ones with a
            `retrieval_weight`), `[k]`, best first. Where fewer items are
            left, the last places have the score -inf and an arbitrary id.

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
        """Recommends to several users: one retrieval, and one ranking for each.

        Args:
            user_ids: `[n]` raw ids.
            k: see `recommend`.
            exclude: as a `Scorer` takes it: `Exclusions`, or one array of raw
                item ids for each user.
            contexts: `[n]`, see `recommend`; no contexts when `None`.

        Returns:
            Ids and scores `[n, k]`, see `recommend`.

        Raises:
            UserError: `k` or a context does not fit.
        """
        _check_k(k, self.num_retrieved)
        if self.retrieval_weight:
            candidates = self.candidates(user_ids, exclude, contexts)
            return candidates.best(k, self.retrieval_weight)
        candidates, scores, ranked = self._both(k, user_ids, exclude, contexts)
        if not ranked:
            return candidates[:, :k], scores[:, :k]
        ids, scores = zip(*ranked, strict=True)
        return np.stack(ids), np.stack(scores)

    def candidates(
        self,
        user_ids: Any,
        exclude: Any = None,
        contexts: Sequence[Context | None] | None = None,
    ) -> Candidates:
        """Retrieves candidates for some users, with the scores of both models.

        Args:
            user_ids: `[n]` raw ids.
            exclude: see `recommend_many`.
            contexts: see `recommend_many`.

        Returns:
            The candidates with both scores.

        Raises:
            UserError: a context does not fit.
        """
        ids, scores, ranked = self._both(
            self.num_retrieved, user_ids, exclude, contexts
        )
        ranking = np.full(ids.shape, -np.inf, np.float32)
        for row, (ranked_ids, values) in enumerate(ranked):
            places = np.flatnonzero(scores[row] > -np.inf)
            places = places[np.argsort(ids[row, places])]
            there = values > -np.inf
            order = np.searchsorted(ids[row, places], ranked_ids[there])
            ranking[row, places[order]] = values[there]
        return Candidates(ids, scores, ranking)

    def _both(
        self,
        k: int,
        user_ids: Any,
        exclude: Any,
        contexts: Sequence[Context | None] | None,
    ) -> tuple[np.ndarray, np.ndarray, list[Ranked]]:
        """Retrieved candidates, and the k best of each user by the ranker."""
        if contexts is None:
            contexts = [None] * len(user_ids)
        candidates, scores = self.retrieval.recommend(
            user_ids, self.num_retrieved, exclude
        )
        ranked = [
            self.ranking.rank(user, items[own > -np.inf], k, context)
            for user, items, own, context in zip(
                user_ids, candidates, scores, contexts, strict=True
            )
        ]
        return candidates, scores, ranked


def _standardised(scores: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Scales rows to mean 0 and deviation 1 within a mask; 0 if all equal."""
    values = np.where(mask, scores, 0.0).astype(np.float64)
    count = np.maximum(mask.sum(axis=1, keepdims=True), 1)
    values -= values.sum(axis=1, keepdims=True) / count
    values *= mask
    deviation = np.sqrt((values**2).sum(axis=1, keepdims=True) / count)
    return np.divide(
        values, deviation, out=np.zeros_like(values), where=deviation > 1e-9
    )


def _check_k(k: int, num_retrieved: int) -> None:
    if not 1 <= k <= num_retrieved:
        raise UserError(
            "`k` should be at least 1 and at most `num_retrieved`. Received: "
            f"`k` = {k} and `num_retrieved` = {num_retrieved}. Retrieve more."
        )


def _check_weight(retrieval_weight: float) -> None:
    if not 0 <= retrieval_weight <= 1:
        raise UserError(
            "`retrieval_weight` should lie in [0, 1]. Received: "
            f"`retrieval_weight` = {retrieval_weight}."
        )


def _check_kind(name: str, model: object, kind: type) -> None:
    if not isinstance(model, kind):
        raise UserError(
            f"`{name}` should be a folder or a {kind.__name__}. Received: "
            f"{type(model).__name__}. See kd_tfrs.serving."
        )
