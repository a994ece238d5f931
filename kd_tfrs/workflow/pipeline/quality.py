"""Quality of the final lists by user, paired tests, and parity of exports."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from kd_tfrs.evaluation.retrieval.held_out import HeldOut
from kd_tfrs.evaluation.retrieval.metrics import ndcg_at_k, recall_at_k
from kd_tfrs.evaluation.significance import (
    bootstrap_interval,
    holm,
    paired_test,
)
from kd_tfrs.serving import Candidates
from kd_tfrs.workflow.report import tested_pair

if TYPE_CHECKING:
    from kd_tfrs.workflow.pipeline.stages import PipelineStages

KS = (10, 20, 50)
_LENGTH = 10
WEIGHTS = tuple(round(0.1 * i, 1) for i in range(11))
TESTED = ("ndcg@10", "recall@10")
# Baseline and challenger.
COMPARED = (
    ("teacher_teacher", "student_student"),
    ("teacher_teacher", "teacher_student"),
    ("teacher_teacher", "student_teacher"),
    ("alone_alone", "student_student"),
    ("alone_alone", "distilled_distilled"),
    ("teacher_retrieval", "teacher_teacher"),
    ("student_retrieval", "student_student"),
    ("popularity", "student_student"),
    ("teacher_blend", "student_blend"),
    ("teacher_retrieval", "teacher_blend"),
    ("student_retrieval", "student_blend"),
    ("student_student", "student_blend"),
)
# A pair in process, and its exports.
EXPORTED = (("student_student", "exports"), ("student_blend", "exports_blend"))


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
        "best_ndcg@10", what a ranker that knows the truth would reach with
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


def comparisons(chain: PipelineStages) -> list[dict[str, Any]]:
    """Paired tests over users, corrected for their number.

    Args:
        chain: pairs that are done.

    Returns:
        One dict a test: "metric", "baseline", "challenger", the fields of
        `PairedTest`, "p_corrected" (t-test, Holm over the tests of the
        metric) and "text".
    """
    done = [p for p in COMPARED if all(chain.is_done(name) for name in p)]
    found = []
    for metric in TESTED:
        tests = [
            paired_test(*(chain.per_user(name)[metric] for name in pair))
            for pair in done
        ]
        corrected = holm([test.t_p_value for test in tests])
        found += [
            {**tested_pair(pair, metric, test), "p_corrected": p}
            for pair, test, p in zip(done, tests, corrected, strict=True)
        ]
    return found


def parity(chain: PipelineStages) -> dict[str, dict[str, Any]]:
    """Whether the exports say the same as the Keras models in process.

    Args:
        chain: the pairs.

    Returns:
        By the pair in process: "users", "k", "identical_lists" (share, order
        and all), "same_items" (share with the same items in any order) and
        "max_score_difference" of places that both fill; nothing without
        exports.
    """
    return {
        pair[0]: _same(*(chain.arrays(name) for name in pair))
        for pair in EXPORTED
        if all(chain.is_done(name) for name in pair)
    }


def _same(
    one: dict[str, np.ndarray], other: dict[str, np.ndarray]
) -> dict[str, Any]:
    same = one["items"] == other["items"]
    sets = np.sort(one["items"]) == np.sort(other["items"])
    both = (one["items"] >= 0) & (other["items"] >= 0)
    gap = np.abs(one["scores"][both] - other["scores"][both])
    return {
        "users": len(same),
        "k": same.shape[1],
        "identical_lists": float(same.all(axis=1).mean()),
        "same_items": float(sets.all(axis=1).mean()),
        "max_score_difference": float(gap.max(initial=0.0)),
    }
