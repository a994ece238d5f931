"""Cores of the processor: an idle one to pin to, and the load of others."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

_STAT = Path("/proc/stat")
_THREADS = Path("/proc/self/task")
# Places in a line of /proc/stat (proc_stat(5)): user, nice, system, idle,
# iowait, irq, softirq, steal; guests are part of user and nice.
_FIELDS, _IDLE = 8, (3, 4)
# Above these a latency is not that of an idle machine: another process on the
# same core interrupts the calls, others on most cores take memory bandwidth.
_CORE_LIMIT, _MACHINE_LIMIT = 0.25, 0.6
# A run alone keeps every core busy now and then.
_LOAD_LIMIT = 1.25


@dataclass(frozen=True)
class Contention:
    """Processor time used by other processes; see `ContentionMeter`.

    Args:
        core: the core of the measurement; `None` where the process was not
            pinned.
        core_share: share of the core's time that other processes used, in
            [0, 1]; `None` where it is not available.
        machine_share: the same share over all cores.
        load: number of runnable processes, on average over the last minute,
            this process included.
        num_cores: of the machine.

    Example:
    >>> print(Contention(1, 0.32, 0.41, 2.6, 2))
    other processes took 32 % of core 1 and 41 % of all 2 cores
    """

    core: int | None
    core_share: float | None
    machine_share: float | None
    load: float | None
    num_cores: int

    @property
    def is_busy(self) -> bool:
        """Whether the machine was too busy for reliable latencies.

        The load counts only where the shares are not available, since it also
        contains the work of this process in the last minute.
        """
        if self.machine_share is None:
            limit = _LOAD_LIMIT * self.num_cores
            return self.load is not None and self.load > limit
        if self.core_share is not None and self.core_share > _CORE_LIMIT:
            return True
        return self.machine_share > _MACHINE_LIMIT

    @property
    def warning(self) -> str | None:
        """A line for the user where the machine was busy; `None` otherwise."""
        if not self.is_busy:
            return None
        return (
            f"the machine was busy while latencies were measured ({self}), so "
            "they are not to be trusted; measure again on an idle machine"
        )

    def __str__(self) -> str:
        """The shares in one line."""
        all_cores = f"all {self.num_cores} cores"
        if self.machine_share is None:
            load = "unknown" if self.load is None else f"{self.load:.1f}"
            return f"load {load} on {all_cores}"
        machine = f"{100 * self.machine_share:.0f} % of {all_cores}"
        if self.core_share is None:
            return f"other processes took {machine}"
        core = f"{100 * self.core_share:.0f} % of core {self.core}"
        return f"other processes took {core} and {machine}"

    @classmethod
    def mean(cls, readings: Sequence[Contention]) -> Contention:
        """The mean of several readings on one core.

        Args:
            readings: at least one.

        Returns:
            Means of the values that are not `None`; `core` and `num_cores` of
            the first reading.
        """

        def mean(name: str) -> float | None:
            values = [getattr(reading, name) for reading in readings]
            values = [value for value in values if value is not None]
            return float(np.mean(values)) if values else None

        return cls(
            core=readings[0].core,
            core_share=mean("core_share"),
            machine_share=mean("machine_share"),
            load=mean("load"),
            num_cores=readings[0].num_cores,
        )


class ContentionMeter:
    """Measures the processor time that other processes use from now on.

    Args:
        core: the core that this process is pinned to; see `pinned`.

    Example:
    ```python
    with pinned() as core:
        meter = ContentionMeter(core)
        latencies = measure_in_turns(calls)
        print(meter.read())
    ```
    """

    def __init__(self, core: int | None = None) -> None:
        self._core = core
        self._before, self._own = _core_times(), time.process_time()

    def read(self) -> Contention:
        """The use by other processes since this object was made."""
        own, after = time.process_time() - self._own, _core_times()
        pairs = {
            core: (self._before[core], after[core])
            for core in self._before.keys() & after.keys()
        }
        here = [pairs[self._core]] if self._core in pairs else []
        return Contention(
            core=self._core,
            core_share=_busy_share(here, own),
            machine_share=_busy_share(list(pairs.values()), own),
            load=_load(),
            num_cores=os.cpu_count() or 1,
        )


def _load() -> float | None:
    try:
        return os.getloadavg()[0]
    except (AttributeError, OSError):  # not on every system
        return None


@contextlib.contextmanager
def pinned(core: int | None = None) -> Iterator[int | None]:
    """Pins all threads of this process to one core inside a `with` block.

    Threads and processes that start inside the block are pinned too. At the
    end every thread gets back its previous cores. Threads that started inside
    the block get those of the calling thread.

    Args:
        core: number of the core; the idlest core when `None`.

    Yields:
        The core's number, or `None` where the system cannot do this (it has
        no `sched_setaffinity`, or refuses): nothing is changed then.

    Example:
    ```python
    with pinned() as core:
        latencies = measure_in_turns(calls)
    ```
    """
    if not hasattr(os, "sched_setaffinity"):
        yield None
        return
    core = idlest_core() if core is None else core
    before = {thread: os.sched_getaffinity(thread) for thread in _threads()}
    own = os.sched_getaffinity(0)
    try:
        for thread in before:
            _set_affinity(thread, {core})
        # Not every system refuses with an error.
        yield core if os.sched_getaffinity(0) == {core} else None
    finally:
        for thread in _threads():
            _set_affinity(thread, before.get(thread, own))


def idlest_core(seconds: float = 0.2) -> int | None:
    """The core with the least load at present.

    Args:
        seconds: how long to look.

    Returns:
        Number of the core, among those that this process may use: the last of
        equally idle cores, or of all cores where the system reports no times.
        `None` where the system does not list its cores.

    Example:
    ```python
    core = idlest_core()
    ```
    """
    if not hasattr(os, "sched_getaffinity"):
        return None
    before = _core_times()
    time.sleep(seconds if before else 0)
    after = _core_times()

    def idle(core: int) -> float:
        is_known = core in before and core in after
        share = _busy_share([(before[core], after[core])] if is_known else [])
        return 0.0 if share is None else -share

    return max(sorted(os.sched_getaffinity(0), reverse=True), key=idle)


def _core_times() -> dict[int, tuple[float, float]]:
    """Busy and total seconds of each core; empty without /proc/stat."""
    with contextlib.suppress(OSError):
        return _parse(_STAT.read_text())
    return {}


def _busy_share(
    readings: Sequence[tuple[tuple[float, float], tuple[float, float]]],
    own: float = 0.0,
) -> float | None:
    """Part of the time between two readings that was busy, `own` left out."""
    busy = sum(after[0] - before[0] for before, after in readings)
    total = sum(after[1] - before[1] for before, after in readings)
    if total <= 0:
        return None
    return min(1.0, max(0.0, (busy - own) / total))


def _parse(stat: str) -> dict[int, tuple[float, float]]:
    ticks = os.sysconf("SC_CLK_TCK")
    times = {}
    for line in stat.splitlines():
        name, *rest = line.split()
        if name.startswith("cpu") and name != "cpu":
            values = [int(value) / ticks for value in rest[:_FIELDS]]
            total = sum(values)
            idle = sum(values[i] for i in _IDLE)
            times[int(name[3:])] = total - idle, total
    return times


def _threads() -> list[int]:
    """Threads of this process; 0 for the calling thread without /proc."""
    try:
        return [int(entry.name) for entry in _THREADS.iterdir()]
    except OSError:
        return [0]


def _set_affinity(thread: int, cores: set[int]) -> None:
    # A thread may have ended, or the system may refuse.
    with contextlib.suppress(OSError):
        os.sched_setaffinity(thread, cores)
