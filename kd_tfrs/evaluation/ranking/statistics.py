"""Metrics of impressions as functions of the number of draws of each user.

A `Statistic` takes counts [resamples, users] and returns one value for each
resample, NaN where it is undefined. Counts of 1 give the value on the data;
counts of draws with replacement give a bootstrap over users. Costly steps, such
as sorting the rows and summing the rows of a user, happen once, when the
statistic is created.

Statistics of sorted rows are in `sorted_statistics`, means over users in
`grouped_metrics`. `metrics`, `threshold_metrics` and `calibration` have the
same metrics as functions of arrays.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from kd_tfrs.errors import UserError
from kd_tfrs.evaluation.catalogue import check_k
from kd_tfrs.evaluation.ranking.scored_rows import (
    ScoredRows,
    check_binary,
    sigmoid,
)

Statistic = Callable[[np.ndarray], np.ndarray]
# From impressions to their statistic.
Metric = Callable[[ScoredRows], Statistic]


class UserSums:
    """A statistic that depends only on sums over the rows of each user.

    All resamples are then computed by one matrix product.

    Args:
        sums: [users, terms].
        finish: from [resamples, terms] to [resamples].

    Example:
    >>> mean = UserSums(np.array([[3.0, 1.0], [0.0, 1.0]]), first_over_second)
    >>> mean(np.array([[1.0, 1.0], [0.0, 2.0]])).tolist()
    [1.5, 0.0]
    """

    def __init__(
        self, sums: np.ndarray, finish: Callable[[np.ndarray], np.ndarray]
    ) -> None:
        self._sums = sums
        self._finish = finish

    def __call__(self, counts: np.ndarray) -> np.ndarray:
        """The values [resamples] for counts [resamples, users]."""
        return self._finish(counts @ self._sums)


def value_of(statistic: Statistic, num_users: int) -> float | None:
    """The value of a statistic on the data.

    Args:
        statistic: of the data.
        num_users: number of users in the data.

    Returns:
        The value; None where it is undefined.

    Example:
    >>> value_of(lambda counts: counts.sum(axis=1), 3)
    3.0
    """
    value = float(statistic(np.ones((1, num_users)))[0])
    return None if np.isnan(value) else value


def ratio(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    """Divides elementwise, with NaN where the divisor is 0.

    Args:
        above: of any shape.
        below: at least 0, of the same shape.

    Returns:
        The quotients.

    Example:
    >>> ratio(np.array([1.0, 0.0]), np.array([2.0, 0.0])).tolist()
    [0.5, nan]
    """
    above, below = np.asarray(above), np.asarray(below)
    there = below > 0
    return np.where(there, above / np.where(there, below, 1.0), np.nan)


def first_over_second(totals: np.ndarray) -> np.ndarray:
    """Divides the first of two terms by the second.

    Args:
        totals: [resamples, 2].

    Returns:
        [resamples].

    Example:
    >>> first_over_second(np.array([[1.0, 4.0]])).tolist()
    [0.25]
    """
    return ratio(totals[:, 0], totals[:, 1])


def sums_of(rows: ScoredRows, values: np.ndarray) -> np.ndarray:
    """Adds up weighted values of the rows of each user.

    Args:
        rows: the impressions.
        values: [n].

    Returns:
        [users].

    Example:
    ```python
    clicks = sums_of(rows, rows.labels)
    ```
    """
    return np.bincount(
        rows.users, rows.weights * values, minlength=rows.num_users
    )


def log_loss(rows: ScoredRows) -> Statistic:
    """Mean log loss of logits; see `metrics.log_loss`."""
    check_binary(rows)
    # One softplus of the logit against the label avoids differences of large
    # numbers, so that small losses stay exact.
    against = np.where(rows.labels > 0, -rows.scores, rows.scores)
    return _mean(rows, np.logaddexp(0.0, against))


def mae(rows: ScoredRows) -> Statistic:
    """Mean absolute error; see `metrics.mae`."""
    return _mean(rows, np.abs(rows.scores - rows.labels))


def rmse(rows: ScoredRows) -> Statistic:
    """Root of the mean squared error; see `metrics.rmse`."""
    mean = _mean(rows, np.square(rows.scores - rows.labels))
    return lambda counts: np.sqrt(mean(counts))


def accuracy(rows: ScoredRows, threshold: float = 0.5) -> Statistic:
    """Share of right decisions; see `threshold_metrics.accuracy`."""
    return _mean(rows, _taken(rows, threshold) == rows.labels)


def precision(rows: ScoredRows, threshold: float = 0.5) -> Statistic:
    """Share of positive decisions that are right; see `threshold_metrics`."""
    taken = _taken(rows, threshold)
    return _share(rows, taken * rows.labels, taken)


def recall(rows: ScoredRows, threshold: float = 0.5) -> Statistic:
    """Share of positive rows above the threshold; see `threshold_metrics`."""
    return _share(rows, _taken(rows, threshold) * rows.labels, rows.labels)


def f1(rows: ScoredRows, threshold: float = 0.5) -> Statistic:
    """Harmonic mean of precision and recall; see `threshold_metrics`."""
    taken = _taken(rows, threshold)
    # 2 PR / (P + R) with P = h / taken and R = h / positive.
    return _share(rows, 2 * taken * rows.labels, taken + rows.labels)


def predicted_over_observed(rows: ScoredRows) -> Statistic:
    """Predicted over observed positives; see `calibration`."""
    check_binary(rows)
    return _share(rows, sigmoid(rows.scores), rows.labels)


def calibration_error(rows: ScoredRows, bins: int = 15) -> Statistic:
    """Calibration error in bins of equal width; see `calibration`."""
    check_binary(rows)
    check_k(bins, "bins")
    probabilities = sigmoid(rows.scores)
    cells = rows.users * bins + width_places(probabilities, bins)
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


def width_places(probabilities: np.ndarray, bins: int) -> np.ndarray:
    """Puts probabilities into bins of equal width.

    Args:
        probabilities: [n], in [0, 1].
        bins: number of bins; bin i is (i / bins, (i + 1) / bins], the first one
            closed.

    Returns:
        `int64` [n], the bin of each.

    Example:
    >>> width_places(np.array([0.0, 0.5, 0.51, 1.0]), 2).tolist()
    [0, 0, 1, 1]
    """
    return np.searchsorted(np.linspace(0, 1, bins + 1)[1:-1], probabilities)


def _mean(rows: ScoredRows, values: np.ndarray) -> UserSums:
    """The weighted mean of a value of each row."""
    return _share(rows, values, np.ones(len(values)))


def _share(rows: ScoredRows, above: np.ndarray, below: np.ndarray) -> UserSums:
    """The ratio of two weighted sums."""
    sums = [sums_of(rows, above), sums_of(rows, below)]
    return UserSums(np.stack(sums, axis=1), first_over_second)


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
