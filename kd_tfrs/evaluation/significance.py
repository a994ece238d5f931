"""Significance of the difference of two models, and its results."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.stats

from kd_tfrs.errors import UserError

_RESAMPLES = 2000
_ENDS = [(1 - 0.95) / 2, (1 + 0.95) / 2]
# Resampled indices at a time: 2**22 are 32 MB.
_BLOCK = 2**22


@dataclass(frozen=True)
class Interval:
    """A metric and its percentile interval over resampled users.

    Args:
        value: on the data as they are; None where it is undefined.
        low: lower end; None where no resample has a value.
        high: upper end; None likewise.
        level: of the interval, in (0, 1).
        num_users: how many were drawn, each time.
        num_resamples: how often.
        undefined: resamples without a value, which are left out.

    Example:
    >>> print(Interval(0.71, 0.7, 0.72, 0.95, 943, 1000, 0))
    0.7100 (95 % interval 0.7000 to 0.7200 over 943 users)
    """

    value: float | None
    low: float | None
    high: float | None
    level: float
    num_users: int
    num_resamples: int
    undefined: int

    def __str__(self) -> str:
        """The result in one line."""
        if self.value is None or self.low is None:
            return f"undefined over {self.num_users} users"
        return (
            f"{self.value:.4f} ({100 * self.level:g} % interval "
            f"{self.low:.4f} to {self.high:.4f} over {self.num_users} users)"
        )


@dataclass(frozen=True)
class PairedBootstrap:
    """The difference b - a of two models on the same resamples.

    Args:
        value_a: the metric of a; None where it is undefined.
        value_b: likewise of b.
        difference: b - a, with its interval.
        p_value: two-sided: twice the part of the resamples on the rarer side
            of 0, itself included; None without a resample.

    Example:
    ```python
    print(evaluation.compare("auc", alone, distilled))
    ```
    """

    value_a: float | None
    value_b: float | None
    difference: Interval
    p_value: float | None

    def __str__(self) -> str:
        """The result in one line."""
        if self.p_value is None:
            return str(self.difference)
        gain = self.difference
        return (
            f"{self.value_a:.4f} -> {self.value_b:.4f}, difference "
            f"{gain.value:+.4f} ({100 * gain.level:g} % interval "
            f"{gain.low:+.4f} to {gain.high:+.4f}) over {gain.num_users} "
            f"users; p = {self.p_value:.2g} (bootstrap)"
        )


@dataclass(frozen=True)
class PairedTest:
    """Result of a paired test of the difference b - a.

    Args:
        unit: unit of the pairs, "users" or "seeds".
        num_pairs: number of pairs.
        mean_a: mean of a.
        mean_b: mean of b.
        difference: mean of b - a.
        interval: 95 % bootstrap interval of the difference.
        t_p_value: two-sided paired t-test; None for fewer than two pairs.
        wilcoxon_p_value: two-sided signed-rank test; None likewise.

    Example:
    >>> print(paired_test([0.0, 0.0, 1.0], [1.0, 0.0, 1.0]).unit)
    users
    """

    unit: str
    num_pairs: int
    mean_a: float
    mean_b: float
    difference: float
    interval: tuple[float, float]
    t_p_value: float | None
    wilcoxon_p_value: float | None

    def __str__(self) -> str:
        """The result in one line."""
        low, high = self.interval
        text = (
            f"{self.mean_a:.4f} -> {self.mean_b:.4f}, difference "
            f"{self.difference:+.4f} (95 % interval {low:+.4f} to "
            f"{high:+.4f}) over {self.num_pairs} {self.unit}"
        )
        if self.t_p_value is None or self.wilcoxon_p_value is None:
            return f"{text}; too few for a test"
        return (
            f"{text}; p = {self.t_p_value:.2g} (t-test), "
            f"{self.wilcoxon_p_value:.2g} (Wilcoxon)"
        )


def paired_test(
    a: Any, b: Any, *, unit: str = "users", seed: int = 0
) -> PairedTest:
    """Tests b against a on the same users, or on the same seeds.

    `t = mean(b - a) / (sd(b - a) / sqrt(n))`

    Args:
        a: [n], values of the baseline.
        b: [n], values of the challenger for the same users or seeds.
        unit: unit of the pairs, for the report.
        seed: of the bootstrap.

    Returns:
        Means, difference, interval, p-values. Where all differences are equal
        the p-values are 1 for no difference and 0 for the same difference
        everywhere (t-test only).

    Raises:
        UserError: arrays of different lengths, empty, or not finite.

    Example:
    ```python
    print(paired_test(alone.per_user["ndcg@20"],
                      distilled.per_user["ndcg@20"]))
    ```

    References:
        Urbano, Lima and Hanjalic 2019, "Statistical significance testing in
        information retrieval: an empirical analysis of type I, type II and
        type III errors".
    """
    a, b = _values(a, "a"), _values(b, "b")
    if a.shape != b.shape:
        raise UserError(
            "`a` and `b` should be of the same users. Received: "
            f"{len(a)} and {len(b)} values. Evaluate both by one protocol."
        )
    gain = b - a
    return PairedTest(
        unit,
        len(gain),
        float(a.mean()),
        float(b.mean()),
        float(gain.mean()),
        bootstrap_interval(gain, seed=seed),
        _t_test(gain),
        _wilcoxon(gain),
    )


def paired_test_over_seeds(
    runs_a: Sequence[Any], runs_b: Sequence[Any]
) -> PairedTest:
    """Tests b against a over seeds, or over users where there is one seed.

    The pairs of several seeds are the means of each seed. With a single seed
    the pairs are its users, and the test does not cover the variance between
    seeds.

    Args:
        runs_a: for each seed the [users] values of the baseline.
        runs_b: for each seed, in the same order, those of the challenger.

    Returns:
        The result; `unit` is "seeds" or "users".

    Raises:
        UserError: different numbers of runs, or no runs.

    Example:
    >>> test = paired_test_over_seeds([[0.0, 1.0]] * 3, [[1.0, 1.0]] * 3)
    >>> test.unit, test.difference
    ('seeds', 0.5)
    """
    if len(runs_a) != len(runs_b) or not len(runs_a):
        raise UserError(
            "`runs_a` and `runs_b` should hold one array for each seed. "
            f"Received: {len(runs_a)} and {len(runs_b)}. Give both for the "
            "same seeds."
        )
    if len(runs_a) == 1:
        return paired_test(runs_a[0], runs_b[0])
    means_a = [float(_values(run, "runs_a").mean()) for run in runs_a]
    means_b = [float(_values(run, "runs_b").mean()) for run in runs_b]
    return paired_test(means_a, means_b, unit="seeds")


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    r"""Corrects p-values for tests of several challengers.

    $$\tilde p_{(i)} = \max_{j \le i} \min(1, (m - j + 1)\, p_{(j)})$$

    over the m p-values in ascending order. The probability of any false
    rejection is at most the level, for any dependence between the tests.

    Args:
        p_values: [m], each in [0, 1], or None where there was no test.

    Returns:
        [m] corrected values in the order of `p_values`; None stays None and
        does not count.

    Raises:
        UserError: a value that is not a probability.

    Example:
    >>> holm([0.01, 0.5, 0.25])
    [0.03, 0.5, 0.5]

    References:
        Holm 1979, "A simple sequentially rejective multiple test procedure".
    """
    places = [i for i, p in enumerate(p_values) if p is not None]
    places.sort(key=lambda i: p_values[i])
    corrected: list[float | None] = [None] * len(p_values)
    largest = 0.0
    for done, place in enumerate(places):
        value = p_values[place]
        if not 0 <= value <= 1:
            raise UserError(
                "`p_values` should be probabilities. Received: "
                f"{value}. Give those of a test."
            )
        largest = max(largest, min(1.0, (len(places) - done) * value))
        corrected[place] = largest
    return corrected


def bootstrap_interval(
    values: np.ndarray,
    *,
    resamples: int = _RESAMPLES,
    seed: int = 0,
) -> tuple[float, float]:
    """95 % percentile bootstrap interval of a mean.

    Args:
        values: [n].
        resamples: number of draws of n values with replacement.
        seed: of the draws.

    Returns:
        Lower and upper end.

    Example:
    >>> bootstrap_interval(np.ones(5))
    (1.0, 1.0)

    References:
        Efron and Tibshirani 1993, "An Introduction to the Bootstrap".
    """
    random = np.random.default_rng(seed)
    size = len(values)
    step = max(1, _BLOCK // size)
    means = []
    for start in range(0, resamples, step):
        count = min(step, resamples - start)
        picks = random.integers(size, size=(count, size))
        means.append(values[picks].mean(axis=1))
    low, high = np.quantile(np.concatenate(means), _ENDS)
    return float(low), float(high)


def _t_test(gain: np.ndarray) -> float | None:
    """p-value of the paired t-test; exact where the gain has no spread."""
    if len(gain) < 2:
        return None
    if np.ptp(gain) == 0:
        return 1.0 if gain[0] == 0 else 0.0
    return float(scipy.stats.ttest_1samp(gain, 0.0).pvalue)


def _wilcoxon(gain: np.ndarray) -> float | None:
    """p-value of the signed-rank test; zeros are dropped."""
    if len(gain) < 2:
        return None
    if not gain.any():
        return 1.0
    return float(scipy.stats.wilcoxon(gain[gain != 0]).pvalue)


def _values(values: Any, name: str) -> np.ndarray:
    array = np.asarray(values, np.float64).ravel()
    if not array.size or not np.isfinite(array).all():
        raise UserError(
            f"`{name}` should be one or more finite values. Received: "
            f"{array.size} values, {int((~np.isfinite(array)).sum())} of them "
            "not finite. Give the `per_user` values of a metric."
        )
    return array
