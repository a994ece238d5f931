"""Accuracy of scores: order, log loss, decisions and errors of ratings.

Each metric is a `Metric`: a function of arrays [n], one value for each
impression, with weights. Its `statistic` serves confidence intervals, see
`bootstrap`. See `calibration` and `grouped_metrics` for other metrics.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from kd_tfrs.errors import UserError
from kd_tfrs.evaluation.ranking.scored_rows import (
    ScoredRows,
    check_binary,
    scored_rows,
)
from kd_tfrs.evaluation.ranking.statistics import (
    Metric,
    Statistic,
    each_resample,
    quotient,
    ratio,
    run_ends,
    weighted_mean,
)


@Metric
def auc(rows: ScoredRows) -> Statistic:
    """Probability that a positive row has a higher score than a negative row.

    `auc = sum_{p, n} w_p w_n ([s_p > s_n] + [s_p = s_n] / 2) / (W_p W_n)`:
    equal scores share their ranks (midranks).

    Args:
        rows: labels 0 or 1, and scores: logits or probabilities.

    Returns:
        In [0, 1]; None where one class is missing.

    Example:
    >>> auc([0, 1, 1], [0.5, 0.5, 2.0])
    0.75

    References:
        Hanley and McNeil 1982, "The meaning and use of the area under a
        receiver operating characteristic (ROC) curve".
    """
    check_binary(rows)
    positive = rows.take(rows.labels > 0)
    negative = rows.take(rows.labels == 0)
    negative = negative.take(np.argsort(negative.scores, kind="stable"))
    # A midrank is the mean of the counts of negatives below and not above.
    below = np.searchsorted(negative.scores, positive.scores, side="left")
    up_to = np.searchsorted(negative.scores, positive.scores, side="right")

    def value(counts: np.ndarray) -> float:
        weights = positive.weights * counts[positive.users]
        beaten = np.zeros(len(negative.labels) + 1)
        np.cumsum(negative.weights * counts[negative.users], out=beaten[1:])
        won = weights @ (beaten[below] + beaten[up_to]) / 2
        return np.minimum(ratio(won, weights.sum() * beaten[-1]), 1.0)

    return each_resample(value)


@Metric
def average_precision(rows: ScoredRows) -> Statistic:
    """Area under the steps of precision over recall (PR-AUC).

    `ap = sum_t (recall_t - recall_{t - 1}) precision_t` over the distinct
    scores t, from the highest down.

    Args:
        rows: labels 0 or 1, and scores: logits or probabilities.

    Returns:
        In [0, 1]; the share of positives for random scores. None where one
        class is missing.

    Example:
    >>> average_precision([1, 0, 1, 0], [4.0, 3.0, 2.0, 1.0])
    0.8333333333333333

    References:
        Davis and Goadrich 2006, "The relationship between precision-recall
        and ROC curves".
    """
    check_binary(rows)
    ranked = rows.take(np.argsort(-rows.scores, kind="stable"))
    ends = run_ends(ranked.scores)

    def value(counts: np.ndarray) -> float:
        weights = ranked.weights * counts[ranked.users]
        if not (weights * (1 - ranked.labels)).any():
            return np.nan
        positives = np.cumsum(weights * ranked.labels)[ends]
        shown = np.cumsum(weights)[ends]
        gained = np.diff(positives, prepend=0.0)
        # The gain is 0 where no row is shown.
        precision = np.where(shown > 0, ratio(positives, shown), 0.0)
        return np.minimum(ratio(gained @ precision, positives[-1]), 1.0)

    return each_resample(value)


@Metric
def log_loss(rows: ScoredRows) -> Statistic:
    """Mean log loss (binary cross-entropy), stable for any finite logit.

    `log_loss = sum_i w_i log(1 + exp(-(2 y_i - 1) z_i)) / sum_i w_i`

    Args:
        rows: labels 0 or 1, and logits.

    Returns:
        In nats, at least 0; None without any row.

    Example:
    >>> log_loss([1, 0], [1e4, 1e4])
    5000.0
    """
    check_binary(rows)
    # One softplus of the logit against the label avoids differences of large
    # numbers, so that small losses stay exact.
    against = np.where(rows.labels > 0, -rows.scores, rows.scores)
    return weighted_mean(rows, np.logaddexp(0.0, against))


@Metric
def rmse(rows: ScoredRows) -> Statistic:
    """Root of the mean squared error.

    `rmse = sqrt(sum_i w_i (r_i - y_i)^2 / sum_i w_i)`

    Args:
        rows: true and predicted ratings.

    Returns:
        In units of the ratings; None without any row.

    Example:
    >>> rmse([3, 5], [3.0, 3.0], weights=[3, 1])
    1.0
    """
    mean = weighted_mean(rows, np.square(rows.scores - rows.labels))
    return lambda counts: np.sqrt(mean(counts))


@Metric
def mae(rows: ScoredRows) -> Statistic:
    """Mean absolute error.

    `mae = sum_i w_i |r_i - y_i| / sum_i w_i`

    Args:
        rows: true and predicted ratings.

    Returns:
        In units of the ratings; None without any row.

    Example:
    >>> mae([3, 5], [3.0, 3.0])
    1.0
    """
    return weighted_mean(rows, np.abs(rows.scores - rows.labels))


@Metric
def accuracy(rows: ScoredRows, threshold: float = 0.5) -> Statistic:
    """Share of rows with the right decision.

    `accuracy = (TP + TN) / (TP + FP + FN + TN)`

    Args:
        rows: labels 0 or 1, and logits.
        threshold: the least probability of a positive decision, in (0, 1).

    Returns:
        In [0, 1]; None without any row.

    Example:
    >>> accuracy([1, 0], [2.0, 1.0])
    0.5
    """
    return weighted_mean(rows, _taken(rows, threshold) == rows.labels)


@Metric
def precision(rows: ScoredRows, threshold: float = 0.5) -> Statistic:
    """Share of positive decisions that are right.

    `precision = TP / (TP + FP)`

    Args:
        rows: labels 0 or 1, and logits.
        threshold: the least probability of a positive decision, in (0, 1).

    Returns:
        In [0, 1]; None without any positive decision.

    Example:
    >>> precision([1, 0, 1], [2.0, 1.0, -1.0])
    0.5
    """
    taken = _taken(rows, threshold)
    return quotient(rows, taken * rows.labels, taken)


@Metric
def recall(rows: ScoredRows, threshold: float = 0.5) -> Statistic:
    """Share of positive rows with a positive decision.

    `recall = TP / (TP + FN)`

    Args:
        rows: labels 0 or 1, and logits.
        threshold: the least probability of a positive decision, in (0, 1).

    Returns:
        In [0, 1]; None where no row is positive.

    Example:
    >>> recall([1, 0, 1], [2.0, 1.0, -1.0])
    0.5
    """
    return quotient(rows, _taken(rows, threshold) * rows.labels, rows.labels)


@Metric
def f1(rows: ScoredRows, threshold: float = 0.5) -> Statistic:
    """Harmonic mean of precision and recall.

    `f1 = 2 TP / (2 TP + FP + FN)`

    Args:
        rows: labels 0 or 1, and logits.
        threshold: the least probability of a positive decision, in (0, 1).

    Returns:
        In [0, 1]; None without any positive row or decision.

    Example:
    >>> f1([1, 0, 1], [2.0, 1.0, -1.0])
    0.5
    """
    taken = _taken(rows, threshold)
    # 2 PR / (P + R) with P = h / taken and R = h / positive.
    return quotient(rows, 2 * taken * rows.labels, taken + rows.labels)


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
    ends = run_ends(rows.scores)
    rates = []
    for share in (1 - rows.labels, rows.labels):
        total = np.cumsum(rows.weights * share)
        if not total.any():
            return None
        rates.append(np.append(0.0, total[ends] / total[-1]))
    return rates[0], rates[1]


def _taken(rows: ScoredRows, threshold: float) -> np.ndarray:
    """[n] 1.0 where the probability reaches the threshold, else 0.0."""
    check_binary(rows)
    if not 0 < threshold < 1:
        raise UserError(
            "`threshold` should be a probability between 0 and 1. Received: "
            f"`threshold` = {threshold}. Give logits, and 0.5 for logit 0."
        )
    # Compared as logits: a probability near 1 has too few digits.
    cut = np.log(threshold) - np.log1p(-threshold)
    return (rows.scores >= cut).astype(np.float64)
