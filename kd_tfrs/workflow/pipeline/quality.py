"""Quality of the final lists by user, and the weight of a blend."""

from __future__ import annotations

from typing import Any

import numpy as np

from kd_tfrs.evaluation.retrieval.held_out import HeldOut
from kd_tfrs.evaluation.retrieval.metrics import ndcg_at_k, recall_at_k
from kd_tfrs.evaluation.significance import bootstrap_interval
from kd_tfrs.serving import Candidates

KS = (10, 20, 50)
_LENGTH = 10
WEIGHTS = tuple(round(0.1 * i, 1) for i in range(11))


def accuracy(
    hits: np.ndarray, found: np.ndarray, relevant: np.ndarray
) -> dict[str, np.ndarray]:
    """Metrics of ranked lists, and of the retrieval that they come from.

    Args:
        hits: `[users, k]` whether the recommended item is relevant.
        found: `[users, num_retrieved]` the same of what was retrieved.
        relevant: `[users]` relevant items, at least 1.

    Returns:
        `[users]` by name: "ndcg@10" and "recall@k" for the lengths in `KS`
        that the lists have; "retrieved_recall@n" of all that was retrieved;
        "best_ndcg@10", the value of a perfect ranker with
        the same candidates.

    Example:
    >>> hits = np.array([[False] * 9 + [True]])
    >>> float(accuracy(hits, hits, np.array([2]))["recall@10"][0])
    0.5
    """
    best = -np.sort(-found.astype(np.int8), axis=1)
    return {
        "ndcg@10": ndcg_at_k(hits, relevant, 10),
        **{
            f"recall@{k}": recall_at_k(hits, relevant, k)
            for k in KS
            if k <= hits.shape[1]
        },
        f"retrieved_recall@{found.shape[1]}": recall_at_k(
            found, relevant, found.shape[1]
        ),
        "best_ndcg@10": ndcg_at_k(best, relevant, 10),
    }


def summary(
    per_user: dict[str, np.ndarray], known: np.ndarray, seed: int
) -> dict[str, Any]:
    """Means over all users and over those with and without a past.

    Args:
        per_user: `[users]` by name.
        known: `[users]` whether the user has training events.
        seed: of the bootstrap.

    Returns:
        "users", "metrics", "intervals" (95 %, bootstrap over users), and
        "slices": the first two of "known_users" and "new_users", where there
        are any.
    """
    slices = {"known_users": known, "new_users": ~known}
    return {
        "users": len(known),
        "metrics": _means(per_user),
        "intervals": {
            name: list(bootstrap_interval(values, seed=seed))
            for name, values in per_user.items()
        },
        "slices": {
            name: {
                "users": int(mask.sum()),
                "metrics": _means({k: v[mask] for k, v in per_user.items()}),
            }
            for name, mask in slices.items()
            if mask.any()
        },
    }


def _means(per_user: dict[str, np.ndarray]) -> dict[str, float]:
    return {name: float(values.mean()) for name, values in per_user.items()}


def choose_weight(candidates: Candidates, data: HeldOut) -> dict[str, Any]:
    """Takes the weight with the best NDCG@10; of equal ones the smallest.

    At 0, candidates that the ranker thinks equal stay in the order of the
    retrieval here, where a `Recommender` with the weight 0 takes the ranker's.

    Args:
        candidates: of the users of `data`, with both scores.
        data: the validation events to find.

    Returns:
        "retrieval_weight", and "validation": a dict for each of `WEIGHTS`
        with "retrieval_weight" and "ndcg@10".

    Example:
    ```python
    found = recommender.candidates(data.users, data.exclusions)
    choose_weight(found, data)["retrieval_weight"]
    ```
    """
    tried = []
    for weight in WEIGHTS:
        ranked = data.ranked(*candidates.best(_LENGTH, weight))
        values = ndcg_at_k(data.hits(ranked), data.relevant, _LENGTH)
        tried.append(
            {"retrieval_weight": weight, "ndcg@10": float(np.mean(values))}
        )
    best = max(tried, key=lambda row: row["ndcg@10"])
    return {"retrieval_weight": best["retrieval_weight"], "validation": tried}
