"""Cores of the processor: which one is idle, and keeping a process on it."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path

_STAT = Path("/proc/stat")
_THREADS = Path("/proc/self/task")
# Places in a line of /proc/stat (proc_stat(5)): user, nice, system, idle,
# iowait, irq, softirq, steal; guests are part of user and nice.
_FIELDS, _IDLE = 8, (3, 4)


@contextlib.contextmanager
def pinned(core: int | None = None) -> Iterator[int | None]:
    """Keeps all threads of this process on one core for a while.

    Threads and processes that begin inside are kept there too. Afterwards
    every thread may run where it might before; those that began inside may
    run where the caller's thread might.

    Args:
        core: its number; the idlest one when `None`.

    Yields:
        The core's number, or `None` where the system cannot do this (it has
        no `sched_setaffinity`, or refuses): nothing is changed then.

    Example:
    ```python
    with pinned() as core:
        found = measure_in_turns(calls)
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
    """The core that the fewest other programs use now.

    Args:
        seconds: how long to look.

    Returns:
        Its number, of the cores that this process may use: the last one of
        those that are equally idle, and where the system does not tell. `None`
        where the system does not say which cores there are.

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
        share = busy_share(before.get(core), after.get(core))
        return 0.0 if share is None else -share

    return max(sorted(os.sched_getaffinity(0), reverse=True), key=idle)


def core_times() -> dict[int, tuple[float, float]]:
    """Seconds that each core was busy, and seconds in all.

    Returns:
        By the core's number; nothing where there is no /proc/stat.

    Example:
    ```python
    busy, total = core_times()[0]
    ```
    """
    with contextlib.suppress(OSError):
        return _parse(_STAT.read_text())
    return {}


def busy_share(
    before: tuple[float, float] | None, after: tuple[float, float] | None
) -> float | None:
    """Part of the time between two readings that a core was busy.

    Args:
        before: busy and total seconds, see `core_times`.
        after: the same, later.

    Returns:
        In [0, 1]; `None` where a reading is missing or no time has passed.

    Example:
    >>> busy_share((1.0, 10.0), (1.5, 11.0))
    0.5
    """
    if before is None or after is None or after[1] <= before[1]:
        return None
    return (after[0] - before[0]) / (after[1] - before[1])


def _parse(stat: str) -> dict[int, tuple[float, float]]:
    ticks = os.sysconf("SC_CLK_TCK")
    found = {}
    for line in stat.splitlines():
        name, *rest = line.split()
        if name.startswith("cpu") and name != "cpu":
            values = [int(value) / ticks for value in rest[:_FIELDS]]
            total = sum(values)
            idle = sum(values[i] for i in _IDLE)
            found[int(name[3:])] = total - idle, total
    return found


def _threads() -> list[int]:
    """Those of this process; 0, the caller's own, where /proc is not there."""
    try:
        return [int(entry.name) for entry in _THREADS.iterdir()]
    except OSError:
        return [0]


def _set_affinity(thread: int, cores: set[int]) -> None:
    # A thread may have ended, or the system may refuse.
    with contextlib.suppress(OSError):
        os.sched_setaffinity(thread, cores)
