"""Results of a bootstrap over users: intervals and paired differences."""

from __future__ import annotations

from dataclasses import dataclass


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
