"""What the benchmarks share: percentiles, where it ran, and the page."""

from __future__ import annotations

import json
import os
import platform
import statistics
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path

import numpy as np

Times = dict[str, list[float]]
_PACKAGES = ("tensorflow", "tf-keras", "numpy")


def summarise(times: Times, base: str) -> dict[str, dict[str, float]]:
    """Percentiles of the times, and the ratio of the medians.

    Args:
        times: milliseconds by name.
        base: the name that the others are divided by.

    Returns:
        `p50_ms`, `p95_ms`, `p99_ms` and `ratio` by name.
    """
    base_median = statistics.median(times[base])
    rows = {}
    for name, values in times.items():
        p50, p95, p99 = np.percentile(values, [50, 95, 99])
        rows[name] = {
            "p50_ms": float(p50),
            "p95_ms": float(p95),
            "p99_ms": float(p99),
            "ratio": float(p50 / base_median),
        }
    return rows


def environment() -> dict[str, object]:
    """What it ran on."""
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "load_average": round(os.getloadavg()[0], 2),
        "python": platform.python_version(),
        **{name: version(name) for name in _PACKAGES},
    }


def _processor() -> str:
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    named = [x.split(":")[1].strip() for x in lines if "model name" in x]
    return named[0] if named else platform.machine()


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Lines of a markdown table."""
    return [
        f"| {' | '.join(header)} |",
        "|" + "---|" * len(header),
        *(f"| {' | '.join(row)} |" for row in rows),
    ]


def closing(result: Mapping[str, object]) -> list[str]:
    """The lines at the end of a page: environment and command."""
    return [
        "Environment:",
        "",
        *(f"- {k}: {v}" for k, v in result["environment"].items()),
        "",
        "Command:",
        "",
        f"    {result['command']}",
        "",
    ]


def publish(result: Mapping, page: str, output: str | None) -> None:
    """Prints the page; writes it and the result where there is a place.

    Args:
        result: goes to `<output>.json`.
        page: goes to `<output>.md`.
        output: path without suffix, or `None` to print alone.
    """
    print(page)
    if output:
        path = Path(output)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.with_suffix(".json").write_text(
            json.dumps(result, indent=1) + "\n"
        )
        path.with_suffix(".md").write_text(page)
