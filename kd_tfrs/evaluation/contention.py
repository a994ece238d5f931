"""Load of the machine by other processes during a measurement."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from kd_tfrs.evaluation import cores

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
        self._before, self._own = cores.core_times(), time.process_time()

    def read(self) -> Contention:
        """The use by other processes since this object was made."""
        own, after = time.process_time() - self._own, cores.core_times()
        pairs = {
            core: (self._before[core], after[core])
            for core in self._before.keys() & after.keys()
        }
        here = [pairs[self._core]] if self._core in pairs else []
        return Contention(
            core=self._core,
            core_share=cores.busy_share(here, own),
            machine_share=cores.busy_share(list(pairs.values()), own),
            load=_load(),
            num_cores=os.cpu_count() or 1,
        )


def _load() -> float | None:
    try:
        return os.getloadavg()[0]
    except (AttributeError, OSError):  # not on every system
        return None
