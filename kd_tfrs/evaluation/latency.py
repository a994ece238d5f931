"""Latency of a call, alone or in turns with other calls."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from kd_tfrs.errors import UserError
from kd_tfrs.evaluation.checks import check_k

_PERCENTILES = (50, 95, 99)

Call = Callable[[], object]


@dataclass(frozen=True)
class Latency:
    """Latencies of one of several calls; see `measure_in_turns`.

    Args:
        milliseconds: `[rounds, calls]`, one value for every counted call.

    Example:
    >>> latency = Latency(np.array([[1.0, 2.0, 6.0], [1.0, 3.0, 3.0]]))
    >>> latency.medians.tolist()
    [2.0, 3.0]
    """

    milliseconds: np.ndarray

    @property
    def medians(self) -> np.ndarray:
        """`[rounds]`, the median of each round."""
        return np.median(self.milliseconds, axis=1)


def measure_latency(
    call: Call, *, warmup: int = 20, repeats: int = 200
) -> dict[str, float]:
    """Times one call alone.

    Two results of this function are not comparable where the load of the
    machine changes between them. Use `measure_in_turns` to compare calls.

    Args:
        call: a function without arguments that returns when its result is
            complete.
        warmup: calls that are made first and not counted.
        repeats: calls that are counted, at least 1.

    Returns:
        Percentiles "p50", "p95", "p99" in milliseconds.

    Raises:
        UserError: no repeats.

    Example:
    >>> sorted(measure_latency(lambda: None, warmup=1, repeats=3))
    ['p50', 'p95', 'p99']
    """
    check_k(repeats, "repeats")
    for _ in range(warmup):
        call()
    return percentiles(_time(call, repeats, time.perf_counter_ns))


def measure_in_turns(
    calls: Mapping[str, Call],
    *,
    rounds: int = 20,
    calls_per_round: int = 3,
    warmup: int = 5,
    seconds: float = 0.0,
    seed: int = 0,
    clock: Callable[[], int] = time.perf_counter_ns,
) -> dict[str, Latency]:
    """Times several calls in turns, so that their ratios can be compared.

    In every round each call has one turn, in a new random order. A temporary
    slowdown of the machine then affects all calls of the round, and no call
    always follows the same other call. The first call of a turn is not
    counted, since the processor's caches hold the data of another call.

    Args:
        calls: functions by name; each takes no arguments and returns when its
            result is complete.
        rounds: least number of rounds, at least 1.
        calls_per_round: calls of each name that are counted in a round, at
            least 1.
        warmup: calls of each name that are made first and not counted.
        seconds: further rounds start until this time has passed.
        seed: of the order.
        clock: returns nanoseconds. `time.process_time_ns` counts the time in
            which the processor works for this process. It is the same on an
            idle core, and interruptions by other processes do not add to it.

    Returns:
        Times by name, in the order of `calls`, of equally many rounds.

    Raises:
        UserError: no calls, or a count that is not positive.

    Example:
    >>> latencies = measure_in_turns({"a": lambda: 1, "b": lambda: 2}, rounds=4)
    >>> latencies["b"].milliseconds.shape
    (4, 3)

    References:
        Kalibera and Jones 2013, "Rigorous benchmarking in reasonable time".
    """
    if not calls:
        raise UserError(
            "`calls` should hold at least one call. Received: none. Name what "
            "is measured."
        )
    check_k(rounds, "rounds")
    check_k(calls_per_round, "calls_per_round")
    for call in calls.values():
        for _ in range(warmup):
            call()
    names, random = list(calls), np.random.default_rng(seed)
    taken: dict[str, list[np.ndarray]] = {name: [] for name in names}
    end, done = time.monotonic() + seconds, 0
    while done < rounds or time.monotonic() < end:
        for at in random.permutation(len(names)):
            call = calls[names[at]]
            call()
            taken[names[at]].append(_time(call, calls_per_round, clock))
        done += 1
    return {name: Latency(np.stack(times)) for name, times in taken.items()}


def percentiles(milliseconds: np.ndarray) -> dict[str, float]:
    """Percentiles of times.

    Args:
        milliseconds: an array of any shape.

    Returns:
        "p50", "p95" and "p99".

    Example:
    >>> percentiles(np.arange(101.0))
    {'p50': 50.0, 'p95': 95.0, 'p99': 99.0}
    """
    values = np.percentile(milliseconds, _PERCENTILES)
    return {
        f"p{p}": float(value)
        for p, value in zip(_PERCENTILES, values, strict=True)
    }


def _time(call: Call, repeats: int, clock: Callable[[], int]) -> np.ndarray:
    """`[repeats]` milliseconds."""
    nanoseconds = np.empty(repeats)
    for i in range(repeats):
        start = clock()
        call()
        nanoseconds[i] = clock() - start
    return nanoseconds / 1e6
