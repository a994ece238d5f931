"""How much of a say the retrieval has in the order, by validation events."""

from __future__ import annotations

from typing import Any

import numpy as np

from kd_tfrs.evaluation.retrieval.held_out import HeldOut
from kd_tfrs.evaluation.retrieval.metrics import ndcg_at_k
from kd_tfrs.serving import Candidates

WEIGHTS = tuple(round(0.1 * i, 1) for i in range(11))
_K = 10


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
        ranked = data.ranked(*candidates.best(_K, weight))
        values = ndcg_at_k(data.hits(ranked), data.relevant, _K)
        tried.append(
            {"retrieval_weight": weight, "ndcg@10": float(np.mean(values))}
        )
    best = max(tried, key=lambda row: row["ndcg@10"])
    return {"retrieval_weight": best["retrieval_weight"], "validation": tried}
