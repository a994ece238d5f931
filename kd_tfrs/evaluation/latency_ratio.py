"""Ratio of the latencies of two models, with an interval."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import scipy.stats

from kd_tfrs.errors import UserError
from kd_tfrs.evaluation.latency import Latency


def times_faster(
    reference: Sequence[Latency],
    other: Sequence[Latency],
    *,
    level: float = 0.95,
) -> dict[str, float]:
    r"""Ratio of the latency of a reference to that of another call.

    $$r = \exp \bar x, \quad
    \exp\left(\bar x \pm t_{n - 1} \frac{s}{\sqrt n}\right), \quad
    x_i = \log \frac{\text{reference}_i}{\text{other}_i}$$

    Each round gives the ratio of the medians of both calls. With several
    measurements, such as those of several processes, $x_i$ is the median over
    the rounds of measurement i: the location of a model in memory changes its
    speed for all rounds of a process, so that rounds of one process vary less
    than rounds of two. With one measurement, $x_i$ are its rounds. $\bar x$
    is the mean and $s$ the standard deviation of the $n$ values. Student's t
    is correct for few values, where a bootstrap interval is too narrow.

    Args:
        reference: one latency for each measurement, see `measure_in_turns`.
        other: of the same measurements, in the same order.
        level: of the interval, in (0, 1).

    Returns:
        "ratio", above 1 where the other is faster, "low" and "high".

    Raises:
        UserError: measurements that do not match, or a single round.

    Example:
    >>> slow = Latency(np.array([[4.0], [8.0]]))
    >>> fast = Latency(np.array([[2.0], [4.0]]))
    >>> round(times_faster([slow], [fast])["ratio"], 6)
    2.0
    """
    values = _values(reference, other)
    mean, count = values.mean(), len(values)
    quantile = scipy.stats.t.ppf((1 + level) / 2, count - 1)
    margin = quantile * values.std(ddof=1) / np.sqrt(count)
    ends = np.exp([mean, mean - margin, mean + margin])
    return dict(zip(("ratio", "low", "high"), ends.tolist(), strict=True))


def within_noise(ratio: Mapping[str, float]) -> bool:
    """Whether the noise exceeds the difference of two latencies.

    Args:
        ratio: see `times_faster`.

    Returns:
        Whether the interval of the ratio holds 1.

    Example:
    >>> within_noise({"ratio": 1.1, "low": 0.9, "high": 1.3})
    True
    """
    return ratio["low"] <= 1 <= ratio["high"]


def _values(
    reference: Sequence[Latency], other: Sequence[Latency]
) -> np.ndarray:
    """`[n]` log ratios, of measurements or of the rounds of a single one."""
    if len(reference) != len(other) or not len(reference):
        raise UserError(
            "`reference` and `other` should hold the same measurements. "
            f"Received: {len(reference)} and {len(other)} of them. Measure "
            "both by one call of measure_in_turns."
        )
    ratios = [_log_ratios(*pair) for pair in zip(reference, other, strict=True)]
    if len(ratios) > 1:
        return np.array([np.median(rounds) for rounds in ratios])
    if len(ratios[0]) < 2:
        raise UserError(
            "`reference` should hold at least 2 rounds. Received: "
            f"{len(ratios[0])}. Measure more rounds."
        )
    return ratios[0]


def _log_ratios(reference: Latency, other: Latency) -> np.ndarray:
    """`[rounds]`; times of 0, below the clock's resolution, count as 1 ns."""
    slow, fast = (np.maximum(x.medians, 1e-6) for x in (reference, other))
    if slow.shape != fast.shape:
        raise UserError(
            "`reference` and `other` should be measured in the same rounds. "
            f"Received: {len(slow)} and {len(fast)} rounds. Measure both by "
            "one call of measure_in_turns."
        )
    return np.log(slow) - np.log(fast)
