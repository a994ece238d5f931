"""Cores of the processor: finding an idle core and pinning a process to it."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

_STAT = Path("/proc/stat")
_THREADS = Path("/proc/self/task")
# Places in a line of /proc/stat (proc_stat(5)): user, nice, system, idle,
# iowait, irq, softirq, steal; guests are part of user and nice.
_FIELDS, _IDLE = 8, (3, 4)


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
    before = core_times()
    time.sleep(seconds if before else 0)
    after = core_times()

    def idle(core: int) -> float:
        is_known = core in before and core in after
        share = busy_share([(before[core], after[core])] if is_known else [])
        return 0.0 if share is None else -share

    return max(sorted(os.sched_getaffinity(0), reverse=True), key=idle)


def core_times() -> dict[int, tuple[float, float]]:
    """Seconds that each core was busy, and seconds in all.

    Returns:
        Pairs by number of the core; empty where there is no /proc/stat.

    Example:
    ```python
    busy, total = core_times()[0]
    ```
    """
    with contextlib.suppress(OSError):
        return _parse(_STAT.read_text())
    return {}


def busy_share(
    readings: Sequence[tuple[tuple[float, float], tuple[float, float]]],
    own: float = 0.0,
) -> float | None:
    """Part of the time between two readings that cores were busy.

    Args:
        readings: busy and total seconds of each core before and after, see
            `core_times`.
        own: busy seconds to leave out, such as those of this process.

    Returns:
        In [0, 1]; `None` where no time has passed.

    Example:
    >>> busy_share([((1.0, 10.0), (1.5, 11.0))])
    0.5
    """
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
