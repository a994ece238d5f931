"""Accuracy of ranked lists: pure functions with one value for each user.

They take `hits`, a boolean matrix [users, depth] that marks the relevant items
by rank, and `relevant`, the number of relevant items of each user [users] (at
least 1). The conventions are those of trec_eval and
of the library ranx. Metrics of the lists themselves take `ranked`, the places
of the items in the catalogue [users, depth], -1 where a list is shorter.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np


class MetricAtK(Protocol):
    """An accuracy metric of the first k items of each list."""

    def __call__(
        self, hits: np.ndarray, relevant: np.ndarray, k: int
    ) -> np.ndarray:
        """Measures the lists.

        Args:
            hits: [users, depth], boolean.
            relevant: [users], relevant items of each user.
            k: length of the list.

        Returns:
            [users], in [0, 1].
        """


def recall_at_k(hits: np.ndarray, relevant: np.ndarray, k: int) -> np.ndarray:
    """Share of the relevant items among the first k; see `MetricAtK`.

    `recall@k = hits in the first k / relevant`

    Example:
    >>> recall_at_k(np.array([[True, False]]), np.array([2]), k=2).tolist()
    [0.5]
    """
    return hits[:, :k].sum(axis=1) / relevant


def hit_rate_at_k(hits: np.ndarray, relevant: np.ndarray, k: int) -> np.ndarray:
    """1 where any of the first k is relevant, else 0; see `MetricAtK`.

    Example:
    >>> hit_rate_at_k(np.array([[False, True]]), np.array([1]), k=1).tolist()
    [0.0]
    """
    return hits[:, :k].any(axis=1).astype(np.float64)


def precision_at_k(
    hits: np.ndarray, relevant: np.ndarray, k: int
) -> np.ndarray:
    """Share of the first k that is relevant, also of a shorter list.

    `precision@k = hits in the first k / k`; see `MetricAtK`.

    Example:
    >>> precision_at_k(np.array([[True, False]]), np.array([1]), k=2).tolist()
    [0.5]
    """
    return hits[:, :k].sum(axis=1) / k


def f1_at_k(hits: np.ndarray, relevant: np.ndarray, k: int) -> np.ndarray:
    """Harmonic mean of precision and recall, 0 where both are 0.

    `f1@k = 2 precision@k recall@k / (precision@k + recall@k)`; see
    `MetricAtK`.

    Example:
    >>> f1_at_k(np.array([[True, False]]), np.array([2]), k=2).tolist()
    [0.5]
    """
    # 2PR / (P + R) with P = h / k and R = h / n is 2h / (k + n).
    return 2 * hits[:, :k].sum(axis=1) / (k + relevant)


def ndcg_at_k(hits: np.ndarray, relevant: np.ndarray, k: int) -> np.ndarray:
    """Discounted gain of the first k over that of the best possible list.

    `ndcg@k = sum_{rank <= k} hit / log2(rank + 1) / ideal`, where the ideal
    list has its min(relevant, k) hits first; see `MetricAtK`.

    Example:
    >>> ndcg_at_k(np.array([[True, False]]), np.array([1]), k=2).tolist()
    [1.0]
    """
    discounts = 1 / np.log2(np.arange(2, k + 2))
    ideal = np.cumsum(discounts)[np.minimum(relevant, k) - 1]
    depth = min(k, hits.shape[1])
    return hits[:, :depth] @ discounts[:depth] / ideal


AT_K: dict[str, MetricAtK] = {
    "recall": recall_at_k,
    "hit_rate": hit_rate_at_k,
    "precision": precision_at_k,
    "f1": f1_at_k,
    "ndcg": ndcg_at_k,
}


def reciprocal_rank(hits: np.ndarray) -> np.ndarray:
    """One over the rank of the first hit; 0 where there is none.

    `rr = 1 / rank of the first hit`; its mean over users is MRR.

    Args:
        hits: [users, depth], boolean.

    Returns:
        [users], in [0, 1].

    Example:
    >>> reciprocal_rank(np.array([[False, True]])).tolist()
    [0.5]
    """
    return np.where(hits.any(axis=1), 1 / (hits.argmax(axis=1) + 1), 0.0)


def average_precision(hits: np.ndarray, relevant: np.ndarray) -> np.ndarray:
    """Mean of the precision at each hit, over all relevant items.

    `ap = sum_{rank of a hit} precision@rank / relevant`; its mean is MAP.

    Args:
        hits: [users, depth], boolean.
        relevant: [users], relevant items of each user.

    Returns:
        [users], in [0, 1].

    Example:
    >>> average_precision(np.array([[False, True]]), np.array([1])).tolist()
    [0.5]
    """
    # There are few hits in many ranks, so only the hits are processed.
    users, columns = np.nonzero(hits)
    so_far = np.cumsum(hits, axis=1, dtype=np.int32)[users, columns]
    precision = so_far / (columns + 1)
    totals = np.bincount(users, weights=precision, minlength=len(hits))
    return totals / relevant
