"""How long a call takes, alone or in turns with others."""

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
    """How long one of several calls took, see `measure_in_turns`.

    Args:
        milliseconds: `[rounds, calls]`, of every call that was counted.

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

    What this gives of two calls cannot be compared where the machine was
    busier during one of them: `measure_in_turns` is for that.

    Args:
        call: takes nothing, and returns when the answer is there.
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

    In every round each call has one turn, in an order that is drawn anew.
    What slows the machine for a while slows all calls of the round, and no
    call always comes after the same other one. The first call of a turn is
    not counted, since the processor's caches hold the data of another call.

    Args:
        calls: by name; each takes nothing, and returns when the answer is
            there.
        rounds: at least 1; at least so many are made.
        calls_per_round: of each name in a round that are counted, at least 1.
        warmup: calls of each name that are made first and not counted.
        seconds: further rounds begin until so much time is over.
        seed: of the order.
        clock: gives nanoseconds. `time.process_time_ns` gives those in which
            the processor worked for this process: the same on an idle core,
            and not lengthened by others that interrupt a call on a busy one.

    Returns:
        Times by name, in the order of `calls`, of equally many rounds.

    Raises:
        UserError: no calls, or a count that is not positive.

    Example:
    >>> found = measure_in_turns({"a": lambda: 1, "b": lambda: 2}, rounds=4)
    >>> found["b"].milliseconds.shape
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
    found = np.percentile(milliseconds, _PERCENTILES)
    return {
        f"p{p}": float(value)
        for p, value in zip(_PERCENTILES, found, strict=True)
    }


def _time(call: Call, repeats: int, clock: Callable[[], int]) -> np.ndarray:
    """`[repeats]` milliseconds."""
    nanoseconds = np.empty(repeats)
    for i in range(repeats):
        start = clock()
        call()
        nanoseconds[i] = clock() - start
    return nanoseconds / 1e6
