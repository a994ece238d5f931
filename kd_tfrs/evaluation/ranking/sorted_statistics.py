"""Metrics that need all rows in the order of their scores.

They are not sums over users. A bootstrap over users changes only the weights
of the rows, so one sort serves all resamples, and each resample costs a few
passes over the rows. See `statistics` for the definition of a statistic.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from kd_tfrs.evaluation.catalogue import check_k
from kd_tfrs.evaluation.ranking.scored_rows import (
    ScoredRows,
    check_binary,
    sigmoid,
)
from kd_tfrs.evaluation.ranking.statistics import Statistic, ratio


def auc(rows: ScoredRows) -> Statistic:
    """Share of the pairs in the right order; see `metrics.auc`."""
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

    return _each(value)


def average_precision(rows: ScoredRows) -> Statistic:
    """Area under precision over recall; see `metrics`."""
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

    return _each(value)


def calibration_error_mass(rows: ScoredRows, bins: int = 15) -> Statistic:
    """Calibration error in bins of equal mass; see `calibration`."""
    check_binary(rows)
    check_k(bins, "bins")
    ranked = rows.take(np.argsort(rows.scores, kind="stable"))
    excess = sigmoid(ranked.scores) - ranked.labels
    ends = run_ends(ranked.scores)

    def value(counts: np.ndarray) -> float:
        weights = ranked.weights * counts[ranked.users]
        places = mass_places(weights, ends, bins)
        totals = np.bincount(places, weights * excess, minlength=bins)
        return ratio(np.abs(totals).sum(), weights.sum())

    return _each(value)


def mass_places(weights: np.ndarray, ends: np.ndarray, bins: int) -> np.ndarray:
    """Puts sorted rows into bins of equal mass, equal scores into one bin.

    A run of equal scores belongs to the bin of its middle. A row of weight 2
    is then equivalent to two rows, and the order of the rows has no effect.

    Args:
        weights: [n], in the order of the scores.
        ends: [runs], last place of each run of equal scores.
        bins: number of bins.

    Returns:
        `int64` [n], the bin of each row, ascending.

    Example:
    >>> mass_places(np.ones(4), np.array([0, 2, 3]), 2).tolist()
    [0, 1, 1, 1]
    """
    until = np.cumsum(weights)[ends]
    if not len(ends) or until[-1] == 0:
        return np.zeros(len(weights), np.int64)
    middles = until - np.diff(until, prepend=0.0) / 2
    places = np.minimum((middles * bins / until[-1]).astype(np.int64), bins - 1)
    return np.repeat(places, np.diff(ends, prepend=-1))


def run_ends(ordered: np.ndarray) -> np.ndarray:
    """Finds the last place of each run of equal values.

    Args:
        ordered: [n], in order.

    Returns:
        `int64` [runs], ascending.

    Example:
    >>> run_ends(np.array([1, 1, 2])).tolist()
    [1, 2]
    """
    if not len(ordered):
        return np.zeros(0, np.int64)
    changes = np.flatnonzero(ordered[1:] != ordered[:-1])
    return np.append(changes, len(ordered) - 1)


def _each(value: Callable[[np.ndarray], float]) -> Statistic:
    """Turns a function of one resample into a statistic."""
    return lambda counts: np.array([value(row) for row in counts], np.float64)
