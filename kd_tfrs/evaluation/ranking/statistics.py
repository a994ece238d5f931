"""Metrics of impressions as functions of the number of draws of each user.

A `Statistic` takes counts [resamples, users] and returns one value for each
resample, NaN where it is undefined. Counts of 1 give the value on the data;
counts of draws with replacement give a bootstrap over users. Costly steps, such
as sorting the rows and summing the rows of a user, happen once, when the
statistic is created.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from kd_tfrs.evaluation.ranking.scored_rows import ScoredRows, scored_rows

Statistic = Callable[[np.ndarray], np.ndarray]


class Metric:
    """A metric of all rows together, as a function of arrays.

    It decorates the function that makes the statistic, which is called with
    the checked rows and with the options of the metric.

    Args:
        statistic: from impressions and options to a `Statistic`.

    Example:
    >>> @Metric
    ... def mean_label(rows):
    ...     return weighted_mean(rows, rows.labels)
    >>> mean_label([1, 0, 0], [0.0, 0.0, 0.0], weights=[2, 1, 1])
    0.5
    """

    def __init__(self, statistic: Callable[..., Statistic]) -> None:
        self.statistic = statistic
        functools.update_wrapper(self, statistic)

    def __call__(
        self, labels: Any, scores: Any, weights: Any = None, **options: Any
    ) -> float | None:
        """Measures arrays.

        Args:
            labels: [n], 0 or 1, or true ratings.
            scores: [n], finite, higher is better: logits, or ratings.
            weights: [n], at least 0; ones by default.
            **options: options of the metric.

        Returns:
            The value; None where it is undefined.

        Raises:
            UserError: shapes that do not fit, labels that are not 0 or 1
                where the metric needs them, or an option out of range.
        """
        rows = scored_rows(labels, scores, weights)
        return value_of(self.statistic(rows, **options), rows.num_users)


class UserSums:
    """A statistic that depends only on sums over the rows of each user.

    All resamples are then computed by one matrix product.

    Args:
        sums: [users, terms].
        finish: from [resamples, terms] to [resamples]; the first of two terms
            over the second by default.

    Example:
    >>> mean = UserSums(np.array([[3.0, 1.0], [0.0, 1.0]]))
    >>> mean(np.array([[1.0, 1.0], [0.0, 2.0]])).tolist()
    [1.5, 0.0]
    """

    def __init__(
        self,
        sums: np.ndarray,
        finish: Callable[[np.ndarray], np.ndarray] | None = None,
    ) -> None:
        self._sums = sums
        self._finish = finish or _first_over_second

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


def _first_over_second(totals: np.ndarray) -> np.ndarray:
    """[resamples] the first of two terms over the second."""
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


def each_resample(value: Callable[[np.ndarray], float]) -> Statistic:
    """Turns a function of one resample into a statistic.

    Args:
        value: from counts [users] to the value; used where all rows are
            needed in the order of their scores. A bootstrap over users
            changes only their weights, so one sort serves all resamples.

    Returns:
        The statistic.

    Example:
    >>> each_resample(np.max)(np.array([[1.0, 2.0]])).tolist()
    [2.0]
    """
    return lambda counts: np.array([value(row) for row in counts], np.float64)


def weighted_mean(rows: ScoredRows, values: np.ndarray) -> UserSums:
    """The weighted mean of a value of each row.

    Args:
        rows: the impressions.
        values: [n].

    Returns:
        The statistic.
    """
    return quotient(rows, values, np.ones(len(values)))


def quotient(
    rows: ScoredRows, above: np.ndarray, below: np.ndarray
) -> UserSums:
    """The ratio of two weighted sums.

    Args:
        rows: the impressions.
        above: [n], terms of the first sum.
        below: [n], at least 0, terms of the second.

    Returns:
        The statistic.
    """
    sums = [sums_of(rows, above), sums_of(rows, below)]
    return UserSums(np.stack(sums, axis=1))
