"""Decisions at a threshold: accuracy, precision, recall and F1.

A decision is positive where the probability of a row reaches the threshold.
The functions take arrays [n], one value for each impression, with weights.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from kd_tfrs.evaluation.ranking import statistics as ranking_statistics
from kd_tfrs.evaluation.ranking.scored_rows import scored_rows
from kd_tfrs.evaluation.ranking.statistics import Metric, value_of


def accuracy(
    labels: Any, logits: Any, weights: Any = None, *, threshold: float = 0.5
) -> float | None:
    """Share of rows with the right decision.

    `accuracy = (TP + TN) / (TP + FP + FN + TN)`

    Args:
        labels: [n], 0 or 1.
        logits: [n], finite.
        weights: [n], at least 0; ones by default.
        threshold: the least probability of a positive decision, in (0, 1).

    Returns:
        In [0, 1]; None without any row.

    Raises:
        UserError: shapes that do not fit, labels that are not 0 or 1, or a
            threshold out of range.

    Example:
    >>> accuracy([1, 0], [2.0, 1.0])
    0.5
    """
    metric = partial(ranking_statistics.accuracy, threshold=threshold)
    return _value(metric, labels, logits, weights)


def precision(
    labels: Any, logits: Any, weights: Any = None, *, threshold: float = 0.5
) -> float | None:
    """Share of positive decisions that are right.

    `precision = TP / (TP + FP)`

    Args:
        labels: [n], 0 or 1.
        logits: [n], finite.
        weights: [n], at least 0; ones by default.
        threshold: the least probability of a positive decision, in (0, 1).

    Returns:
        In [0, 1]; None without any positive decision.

    Raises:
        UserError: as for `accuracy`.

    Example:
    >>> precision([1, 0, 1], [2.0, 1.0, -1.0])
    0.5
    """
    metric = partial(ranking_statistics.precision, threshold=threshold)
    return _value(metric, labels, logits, weights)


def recall(
    labels: Any, logits: Any, weights: Any = None, *, threshold: float = 0.5
) -> float | None:
    """Share of positive rows with a positive decision.

    `recall = TP / (TP + FN)`

    Args:
        labels: [n], 0 or 1.
        logits: [n], finite.
        weights: [n], at least 0; ones by default.
        threshold: the least probability of a positive decision, in (0, 1).

    Returns:
        In [0, 1]; None where no row is positive.

    Raises:
        UserError: as for `accuracy`.

    Example:
    >>> recall([1, 0, 1], [2.0, 1.0, -1.0])
    0.5
    """
    metric = partial(ranking_statistics.recall, threshold=threshold)
    return _value(metric, labels, logits, weights)


def f1(
    labels: Any, logits: Any, weights: Any = None, *, threshold: float = 0.5
) -> float | None:
    """Harmonic mean of precision and recall.

    `f1 = 2 TP / (2 TP + FP + FN)`

    Args:
        labels: [n], 0 or 1.
        logits: [n], finite.
        weights: [n], at least 0; ones by default.
        threshold: the least probability of a positive decision, in (0, 1).

    Returns:
        In [0, 1]; None without any positive row or decision.

    Raises:
        UserError: as for `accuracy`.

    Example:
    >>> f1([1, 0, 1], [2.0, 1.0, -1.0])
    0.5
    """
    metric = partial(ranking_statistics.f1, threshold=threshold)
    return _value(metric, labels, logits, weights)


def _value(
    metric: Metric, labels: Any, logits: Any, weights: Any
) -> float | None:
    """The value of a metric of all rows together."""
    rows = scored_rows(labels, logits, weights)
    return value_of(metric(rows), rows.num_users)
