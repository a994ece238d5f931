"""Metrics of an evaluation of impressions, by kind of label."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from kd_tfrs.errors import UserError
from kd_tfrs.evaluation.ranking import sorted_statistics as by_order
from kd_tfrs.evaluation.ranking import statistics as sums
from kd_tfrs.evaluation.ranking.grouped_metrics import (
    PerUser,
    user_auc,
    user_ndcg,
)
from kd_tfrs.evaluation.ranking.scored_rows import ScoredRows
from kd_tfrs.evaluation.ranking.statistics import Metric

KINDS = ("binary", "rating")
UserMetric = Callable[[ScoredRows], PerUser]


def pooled_metrics(
    kind: str, threshold: float = 0.5, bins: int = 15
) -> dict[str, Metric]:
    """Metrics of all rows together.

    Args:
        kind: "binary" or "rating".
        threshold: least probability of a positive decision.
        bins: number of bins of the calibration error.

    Returns:
        Functions from rows to a statistic, by name.

    Example:
    >>> list(pooled_metrics("rating"))
    ['rmse', 'mae']
    """
    if kind == "rating":
        return {"rmse": sums.rmse, "mae": sums.mae}
    return {
        "auc": by_order.auc,
        "log_loss": sums.log_loss,
        "accuracy": partial(sums.accuracy, threshold=threshold),
        "precision": partial(sums.precision, threshold=threshold),
        "recall": partial(sums.recall, threshold=threshold),
        "f1": partial(sums.f1, threshold=threshold),
        "pr_auc": by_order.average_precision,
        "ece": partial(sums.calibration_error, bins=bins),
        "ece_equal_mass": partial(by_order.calibration_error_mass, bins=bins),
        "predicted_over_observed": sums.predicted_over_observed,
    }


def user_metrics(
    kind: str, ks: Sequence[int], gain: str = "exponential"
) -> dict[str, UserMetric]:
    """Metrics that are means over users.

    Args:
        kind: "binary" or "rating".
        ks: lengths of the lists for NDCG.
        gain: of NDCG, "exponential" or "linear".

    Returns:
        Functions from rows to the values of the users, by name.

    Example:
    >>> list(user_metrics("binary", [10]))
    ['gauc', 'ndcg@10']
    """
    metrics = {"gauc": user_auc} if kind == "binary" else {}
    return metrics | {
        f"ndcg@{k}": partial(user_ndcg, k=k, gain=gain) for k in ks
    }


def check_kind(kind: str) -> None:
    """Raises where a kind of label is unknown.

    Args:
        kind: the value to check.

    Raises:
        UserError: it is neither "binary" nor "rating".

    Example:
    >>> check_kind("binary")
    """
    if kind not in KINDS:
        raise UserError(
            f"`kind` should be one of {list(KINDS)}. Received: {kind!r}. Take "
            "'binary' for labels of 0 and 1."
        )
