"""Accuracy of scores: order, log loss and errors of ratings.

The functions take arrays [n], one value for each impression, with weights.
They return None for degenerate inputs, such as labels of one class where two
are needed. See `threshold_metrics`, `calibration` and `grouped_metrics` for
other metrics, and `bootstrap` for confidence intervals.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from kd_tfrs.evaluation.ranking import (
    sorted_statistics,
)
from kd_tfrs.evaluation.ranking import (
    statistics as ranking_statistics,
)
from kd_tfrs.evaluation.ranking.scored_rows import check_binary, scored_rows
from kd_tfrs.evaluation.ranking.statistics import Metric, value_of


def auc(labels: Any, scores: Any, weights: Any = None) -> float | None:
    """Probability that a positive row has a higher score than a negative row.

    `auc = sum_{p, n} w_p w_n ([s_p > s_n] + [s_p = s_n] / 2) / (W_p W_n)`:
    equal scores share their ranks (midranks).

    Args:
        labels: [n], 0 or 1.
        scores: [n], finite, higher is better: logits or probabilities.
        weights: [n], at least 0; ones by default.

    Returns:
        In [0, 1]; None where one class is missing.

    Raises:
        UserError: shapes that do not fit, or labels that are not 0 or 1.

    Example:
    >>> auc([0, 1, 1], [0.5, 0.5, 2.0])
    0.75

    References:
        Hanley and McNeil 1982, "The meaning and use of the area under a
        receiver operating characteristic (ROC) curve".
    """
    return _value(sorted_statistics.auc, labels, scores, weights)


def average_precision(
    labels: Any, scores: Any, weights: Any = None
) -> float | None:
    """Area under the steps of precision over recall (PR-AUC).

    `ap = sum_t (recall_t - recall_{t - 1}) precision_t` over the distinct
    scores t, from the highest down.

    Args:
        labels: [n], 0 or 1.
        scores: [n], finite, higher is better: logits or probabilities.
        weights: [n], at least 0; ones by default.

    Returns:
        In [0, 1]; the share of positives for random scores. None where one
        class is missing.

    Raises:
        UserError: shapes that do not fit, or labels that are not 0 or 1.

    Example:
    >>> average_precision([1, 0, 1, 0], [4.0, 3.0, 2.0, 1.0])
    0.8333333333333333

    References:
        Davis and Goadrich 2006, "The relationship between precision-recall
        and ROC curves".
    """
    return _value(sorted_statistics.average_precision, labels, scores, weights)


def log_loss(labels: Any, logits: Any, weights: Any = None) -> float | None:
    """Mean log loss (binary cross-entropy), stable for any finite logit.

    `log_loss = sum_i w_i log(1 + exp(-(2 y_i - 1) z_i)) / sum_i w_i`

    Args:
        labels: [n], 0 or 1.
        logits: [n], finite.
        weights: [n], at least 0; ones by default.

    Returns:
        In nats, at least 0; None without any row.

    Raises:
        UserError: shapes that do not fit, or labels that are not 0 or 1.

    Example:
    >>> log_loss([1, 0], [1e4, 1e4])
    5000.0
    """
    return _value(ranking_statistics.log_loss, labels, logits, weights)


def rmse(labels: Any, ratings: Any, weights: Any = None) -> float | None:
    """Root of the mean squared error.

    `rmse = sqrt(sum_i w_i (r_i - y_i)^2 / sum_i w_i)`

    Args:
        labels: [n], true ratings.
        ratings: [n], predicted ratings.
        weights: [n], at least 0; ones by default.

    Returns:
        In units of the ratings; None without any row.

    Raises:
        UserError: shapes that do not fit.

    Example:
    >>> rmse([3, 5], [3.0, 3.0], weights=[3, 1])
    1.0
    """
    return _value(ranking_statistics.rmse, labels, ratings, weights)


def mae(labels: Any, ratings: Any, weights: Any = None) -> float | None:
    """Mean absolute error.

    `mae = sum_i w_i |r_i - y_i| / sum_i w_i`

    Args:
        labels: [n], true ratings.
        ratings: [n], predicted ratings.
        weights: [n], at least 0; ones by default.

    Returns:
        In units of the ratings; None without any row.

    Raises:
        UserError: shapes that do not fit.

    Example:
    >>> mae([3, 5], [3.0, 3.0])
    1.0
    """
    return _value(ranking_statistics.mae, labels, ratings, weights)


def roc_curve(
    labels: Any, scores: Any, weights: Any = None
) -> tuple[np.ndarray, np.ndarray] | None:
    """True over false positives, from the highest threshold to the lowest.

    The area below the straight lines between the points is `auc`.

    Args:
        labels: [n], 0 or 1.
        scores: [n], finite, higher is better: logits or probabilities.
        weights: [n], at least 0; ones by default.

    Returns:
        The rates of false and of true positives, each [m + 1] for m distinct
        scores, ascending from 0 to 1; None where one class is missing.

    Raises:
        UserError: shapes that do not fit, or labels that are not 0 or 1.

    Example:
    >>> false, true = roc_curve([0, 1], [0.0, 1.0])
    >>> false.tolist(), true.tolist()
    ([0.0, 0.0, 1.0], [0.0, 1.0, 1.0])
    """
    rows = scored_rows(labels, scores, weights)
    check_binary(rows)
    rows = rows.take(np.argsort(-rows.scores, kind="stable"))
    ends = sorted_statistics.run_ends(rows.scores)
    rates = []
    for share in (1 - rows.labels, rows.labels):
        total = np.cumsum(rows.weights * share)
        if not total.any():
            return None
        rates.append(np.append(0.0, total[ends] / total[-1]))
    return rates[0], rates[1]


def _value(
    metric: Metric, labels: Any, scores: Any, weights: Any
) -> float | None:
    """The value of a metric of all rows together."""
    rows = scored_rows(labels, scores, weights)
    return value_of(metric(rows), rows.num_users)
