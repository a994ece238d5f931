"""Calibration of predicted probabilities.

The functions take arrays [n], one value for each impression, with weights. The
probabilities are the sigmoids of the logits. Where negatives were sampled,
correct the logits first.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from kd_tfrs.evaluation.checks import check_k
from kd_tfrs.evaluation.ranking.scored_rows import (
    ScoredRows,
    check_binary,
    scored_rows,
    sigmoid,
)
from kd_tfrs.evaluation.ranking.statistics import (
    Metric,
    Statistic,
    UserSums,
    each_resample,
    quotient,
    ratio,
    run_ends,
    sums_of,
)


@Metric
def calibration_error(
    rows: ScoredRows, bins: int = 15, equal_mass: bool = False
) -> Statistic:
    """Expected calibration error (ECE).

    `ece = sum_b W_b / W |mean p in b - mean y in b|` with weighted means over
    the bins b.

    Args:
        rows: labels 0 or 1, and logits.
        bins: number of bins.
        equal_mass: whether bins have the same weight, as far as possible
            without splitting equal logits. By default bins have equal width,
            (i / bins, (i + 1) / bins]. Where most probabilities are small,
            as for clicks, only bins of equal mass distinguish models.

    Returns:
        In [0, 1]; None without any row.

    Raises:
        UserError: `bins` is not a positive integer.

    Example:
    >>> calibration_error([1, 0, 0, 0], [0.0, 0.0, 0.0, 0.0])
    0.25

    References:
        Guo et al. 2017, "On calibration of modern neural networks"; Nixon et
        al. 2019, "Measuring calibration in deep learning" (equal mass).
    """
    check_binary(rows)
    check_k(bins, "bins")
    return _mass_error(rows, bins) if equal_mass else _width_error(rows, bins)


@Metric
def predicted_over_observed(rows: ScoredRows) -> Statistic:
    """Ratio of the predicted to the observed number of positives.

    `sum_i w_i p_i / sum_i w_i y_i`

    Args:
        rows: labels 0 or 1, and logits.

    Returns:
        A number of at least 0: 1 is best, and above 1 the predictions are too
        high. None without any positive.

    Example:
    >>> predicted_over_observed([1, 0, 0, 0], [0.0, 0.0, 0.0, 0.0])
    2.0
    """
    check_binary(rows)
    return quotient(rows, sigmoid(rows.scores), rows.labels)


@dataclass(frozen=True, eq=False)
class CalibrationCurve:
    """The bins that are not empty, in ascending order.

    Args:
        predicted: [m], mean probability.
        observed: [m], share of positives.
        weights: [m], weight of the rows.

    Example:
    >>> calibration_curve([1, 0], [9.0, -9.0], bins=2).observed.tolist()
    [0.0, 1.0]
    """

    predicted: np.ndarray
    observed: np.ndarray
    weights: np.ndarray


def calibration_curve(
    labels: Any,
    logits: Any,
    weights: Any = None,
    *,
    bins: int = 15,
    equal_mass: bool = False,
) -> CalibrationCurve:
    """Mean probability and share of positives in each bin.

    Args:
        labels: [n], 0 or 1.
        logits: [n], finite.
        weights: [n], at least 0; ones by default.
        bins: number of bins.
        equal_mass: as for `calibration_error`.

    Returns:
        The bins that are not empty; see `CalibrationCurve`.

    Raises:
        UserError: as for `calibration_error`.

    Example:
    >>> calibration_curve([1, 0], [0.0, 0.0]).predicted.tolist()
    [0.5]
    """
    rows = scored_rows(labels, logits, weights)
    check_binary(rows)
    check_k(bins, "bins")
    rows = rows.take(np.argsort(rows.scores, kind="stable"))
    probabilities = sigmoid(rows.scores)
    if equal_mass:
        places = _mass_places(rows.weights, run_ends(rows.scores), bins)
    else:
        places = _width_places(probabilities, bins)
    mass = np.bincount(places, rows.weights, minlength=bins)
    there = mass > 0
    predicted, observed = (
        ratio(np.bincount(places, rows.weights * v, minlength=bins), mass)
        for v in (probabilities, rows.labels)
    )
    return CalibrationCurve(predicted[there], observed[there], mass[there])


def _width_error(rows: ScoredRows, bins: int) -> Statistic:
    """The error in bins of equal width: a function of sums by user."""
    probabilities = sigmoid(rows.scores)
    cells = rows.users * bins + _width_places(probabilities, bins)
    excess = np.bincount(
        cells,
        rows.weights * (probabilities - rows.labels),
        minlength=rows.num_users * bins,
    ).reshape(rows.num_users, bins)
    weights = sums_of(rows, np.ones(len(rows.labels)))
    return UserSums(
        np.column_stack([excess, weights]),
        lambda totals: ratio(np.abs(totals[:, :-1]).sum(axis=1), totals[:, -1]),
    )


def _mass_error(rows: ScoredRows, bins: int) -> Statistic:
    """The error in bins of equal mass, which each resample moves."""
    ranked = rows.take(np.argsort(rows.scores, kind="stable"))
    excess = sigmoid(ranked.scores) - ranked.labels
    ends = run_ends(ranked.scores)

    def value(counts: np.ndarray) -> float:
        weights = ranked.weights * counts[ranked.users]
        places = _mass_places(weights, ends, bins)
        totals = np.bincount(places, weights * excess, minlength=bins)
        return ratio(np.abs(totals).sum(), weights.sum())

    return each_resample(value)


def _width_places(probabilities: np.ndarray, bins: int) -> np.ndarray:
    """Bin i is (i / bins, (i + 1) / bins], the first one closed."""
    return np.searchsorted(np.linspace(0, 1, bins + 1)[1:-1], probabilities)


def _mass_places(
    weights: np.ndarray, ends: np.ndarray, bins: int
) -> np.ndarray:
    """Bins of sorted rows; a run of equal scores is in that of its middle."""
    until = np.cumsum(weights)[ends]
    if not len(ends) or until[-1] == 0:
        return np.zeros(len(weights), np.int64)
    middles = until - np.diff(until, prepend=0.0) / 2
    places = np.minimum((middles * bins / until[-1]).astype(np.int64), bins - 1)
    return np.repeat(places, np.diff(ends, prepend=-1))
