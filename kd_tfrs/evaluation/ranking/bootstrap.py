"""Confidence intervals of a metric by drawing users with replacement.

Rows of one user depend on each other, so users are drawn with all their rows.
The drawn users depend on `num_users`, `num_resamples` and `seed` alone, and
are the same for all metrics.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from kd_tfrs.errors import UserError
from kd_tfrs.evaluation.checks import check_k
from kd_tfrs.evaluation.ranking.statistics import Statistic, value_of
from kd_tfrs.evaluation.significance import Interval, PairedBootstrap

NUM_RESAMPLES = 1000
# Counts at a time: 2**22 are 32 MB.
_BLOCK = 2**22


def user_bootstrap(
    statistic: Statistic,
    num_users: int,
    *,
    num_resamples: int = NUM_RESAMPLES,
    level: float = 0.95,
    seed: int = 0,
) -> Interval:
    """Interval of a metric, from users drawn with replacement.

    Args:
        statistic: of the data, such as `auc.statistic(rows)`, or
            `gauc.per_user(rows).statistic()`.
        num_users: number of users in the data.
        num_resamples: number of draws; each draws `num_users` users.
        level: of the interval, in (0, 1).
        seed: of the draws.

    Returns:
        Value and interval.

    Raises:
        UserError: settings out of range.

    Example:
    >>> user_bootstrap(lambda counts: counts.mean(axis=1), 3).high
    1.0

    References:
        Efron and Tibshirani 1993, "An Introduction to the Bootstrap"; Field
        and Welsh 2007, "Bootstrapping clustered data".
    """
    values = resampled([statistic], num_users, num_resamples, seed)[0]
    return _interval(value_of(statistic, num_users), values, num_users, level)


def paired_user_bootstrap(
    a: Statistic,
    b: Statistic,
    num_users: int,
    *,
    num_resamples: int = NUM_RESAMPLES,
    level: float = 0.95,
    seed: int = 0,
) -> PairedBootstrap:
    """Difference of two models, measured on the same drawn users.

    Args:
        a: statistic of the baseline.
        b: of the challenger, for the same rows.
        num_users: see `user_bootstrap`, as are the following.
        num_resamples: number of draws.
        level: of the interval, in (0, 1).
        seed: of the draws.

    Returns:
        Both values, the difference with its interval, and a p-value.

    Raises:
        UserError: settings out of range.

    Example:
    ```python
    a, b = (auc.statistic(rows) for rows in (alone, distilled))
    paired_user_bootstrap(a, b, alone.num_users)
    ```
    """
    values = resampled([a, b], num_users, num_resamples, seed)
    gains = values[1] - values[0]
    value_a, value_b = value_of(a, num_users), value_of(b, num_users)
    both = value_a is not None and value_b is not None
    return PairedBootstrap(
        value_a,
        value_b,
        _interval(value_b - value_a if both else None, gains, num_users, level),
        _p_value(gains[~np.isnan(gains)]),
    )


def _drawn_counts(
    num_users: int, num_resamples: int, seed: int
) -> Iterator[np.ndarray]:
    """Counts [block, users]; the blocks together are all resamples."""
    random = np.random.default_rng(seed)
    step = max(1, _BLOCK // max(1, num_users))
    for start in range(0, num_resamples, step):
        counts = np.empty((min(step, num_resamples - start), num_users))
        for row in counts:
            drawn = random.integers(num_users, size=num_users)
            row[:] = np.bincount(drawn, minlength=num_users)
        yield counts


def resampled(
    statistics: Sequence[Statistic],
    num_users: int,
    num_resamples: int = NUM_RESAMPLES,
    seed: int = 0,
) -> np.ndarray:
    """Values of statistics on the same draws.

    Args:
        statistics: of the same users.
        num_users: number of users in the data.
        num_resamples: number of draws of the users.
        seed: of the draws.

    Returns:
        [statistics, resamples], NaN where a statistic is undefined.

    Raises:
        UserError: settings out of range.

    Example:
    >>> resampled([lambda counts: counts.mean(axis=1)], 3, 2).tolist()
    [[1.0, 1.0]]
    """
    check_k(num_resamples, "num_resamples")
    if num_users == 0:
        return np.full((len(statistics), num_resamples), np.nan)
    blocks = [
        np.stack([statistic(counts) for statistic in statistics])
        for counts in _drawn_counts(num_users, num_resamples, seed)
    ]
    return np.concatenate(blocks, axis=1)


def _interval(
    value: float | None, values: np.ndarray, num_users: int, level: float
) -> Interval:
    """The percentiles of the resamples that have a value."""
    if not 0 < level < 1:
        raise UserError(
            "`level` should be between 0 and 1. Received: `level` = "
            f"{level}. Give 0.95 for 95 %."
        )
    there = values[~np.isnan(values)]
    low = high = None
    if len(there):
        ends = np.quantile(there, [(1 - level) / 2, (1 + level) / 2])
        low, high = map(float, ends)
    missing = len(values) - len(there)
    return Interval(value, low, high, level, num_users, len(values), missing)


def _p_value(gains: np.ndarray) -> float | None:
    """Twice the share of the rarer side of 0; the data count as a resample."""
    if not len(gains):
        return None
    rarer = min((gains <= 0).sum(), (gains >= 0).sum())
    return float(min(1.0, 2 * (rarer + 1) / (len(gains) + 1)))
