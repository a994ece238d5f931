"""Calibration of predicted probabilities.

The functions take arrays [n], one value for each impression, with weights. The
probabilities are the sigmoids of the logits. Where negatives were sampled,
correct the logits first.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from kd_tfrs.evaluation.catalogue import check_k
from kd_tfrs.evaluation.ranking import (
    sorted_statistics,
)
from kd_tfrs.evaluation.ranking import (
    statistics as ranking_statistics,
)
from kd_tfrs.evaluation.ranking.scored_rows import (
    check_binary,
    scored_rows,
    sigmoid,
)
from kd_tfrs.evaluation.ranking.statistics import ratio, value_of, width_places


def calibration_error(
    labels: Any,
    logits: Any,
    weights: Any = None,
    *,
    bins: int = 15,
    equal_mass: bool = False,
) -> float | None:
    """Expected calibration error (ECE).

    `ece = sum_b W_b / W |mean p in b - mean y in b|` with weighted means over
    the bins b.

    Args:
        labels: [n], 0 or 1.
        logits: [n], finite.
        weights: [n], at least 0; ones by default.
        bins: number of bins.
        equal_mass: whether bins have the same weight, as far as possible
            without splitting equal logits. By default bins have equal width,
            (i / bins, (i + 1) / bins]. Where most probabilities are small,
            as for clicks, only bins of equal mass distinguish models.

    Returns:
        In [0, 1]; None without any row.

    Raises:
        UserError: shapes that do not fit, labels that are not 0 or 1, or
            `bins` that is not a positive integer.

    Example:
    >>> calibration_error([1, 0, 0, 0], [0.0, 0.0, 0.0, 0.0])
    0.25

    References:
        Guo et al. 2017, "On calibration of modern neural networks"; Nixon et
        al. 2019, "Measuring calibration in deep learning" (equal mass).
    """
    metric = (
        sorted_statistics.calibration_error_mass
        if equal_mass
        else ranking_statistics.calibration_error
    )
    rows = scored_rows(labels, logits, weights)
    return value_of(partial(metric, bins=bins)(rows), rows.num_users)


def predicted_over_observed(
    labels: Any, logits: Any, weights: Any = None
) -> float | None:
    """Ratio of the predicted to the observed number of positives.

    `sum_i w_i p_i / sum_i w_i y_i`

    Args:
        labels: [n], 0 or 1.
        logits: [n], finite.
        weights: [n], at least 0; ones by default.

    Returns:
        A number of at least 0: 1 is best, and above 1 the predictions are too
        high. None without any positive.

    Raises:
        UserError: shapes that do not fit, or labels that are not 0 or 1.

    Example:
    >>> predicted_over_observed([1, 0, 0, 0], [0.0, 0.0, 0.0, 0.0])
    2.0
    """
    rows = scored_rows(labels, logits, weights)
    statistic = ranking_statistics.predicted_over_observed(rows)
    return value_of(statistic, rows.num_users)


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
        ends = sorted_statistics.run_ends(rows.scores)
        places = sorted_statistics.mass_places(rows.weights, ends, bins)
    else:
        places = width_places(probabilities, bins)
    mass = np.bincount(places, rows.weights, minlength=bins)
    there = mass > 0
    predicted, observed = (
        ratio(np.bincount(places, rows.weights * v, minlength=bins), mass)
        for v in (probabilities, rows.labels)
    )
    return CalibrationCurve(predicted[there], observed[there], mass[there])
