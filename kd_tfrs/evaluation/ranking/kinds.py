"""Metrics of an evaluation of impressions, by kind of label."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from kd_tfrs.errors import UserError
from kd_tfrs.evaluation.ranking import calibration, metrics
from kd_tfrs.evaluation.ranking.grouped_metrics import PerUser, gauc, user_ndcg
from kd_tfrs.evaluation.ranking.scored_rows import ScoredRows
from kd_tfrs.evaluation.ranking.statistics import Statistic

KINDS = ("binary", "rating")


def pooled_metrics(
    kind: str, threshold: float = 0.5, bins: int = 15
) -> dict[str, Callable[[ScoredRows], Statistic]]:
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
        return {
            "rmse": metrics.rmse.statistic,
            "mae": metrics.mae.statistic,
        }
    decisions = {
        metric.__name__: partial(metric.statistic, threshold=threshold)
        for metric in (
            metrics.accuracy,
            metrics.precision,
            metrics.recall,
            metrics.f1,
        )
    }
    error = partial(calibration.calibration_error.statistic, bins=bins)
    return {
        "auc": metrics.auc.statistic,
        "log_loss": metrics.log_loss.statistic,
        **decisions,
        "pr_auc": metrics.average_precision.statistic,
        "ece": error,
        "ece_equal_mass": partial(error, equal_mass=True),
        "predicted_over_observed": (
            calibration.predicted_over_observed.statistic
        ),
    }


def user_metrics(
    kind: str, ks: Sequence[int], gain: str = "exponential"
) -> dict[str, Callable[[ScoredRows], PerUser]]:
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
    lists = {
        f"ndcg@{k}": partial(user_ndcg.per_user, k=k, gain=gain) for k in ks
    }
    return {"gauc": gauc.per_user, **lists} if kind == "binary" else lists


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
