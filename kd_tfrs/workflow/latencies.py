"""Latencies of stages, each exported for the measurement."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from kd_tfrs.export.served_latency import ServedLatency, served_latency


def exported_latency(
    stages: Mapping[str, Any],
    export: Callable[[Any, Path], Path],
    requests: Sequence[Mapping[str, Any]],
    *,
    reference: str,
    seconds: float,
) -> ServedLatency:
    """Times `serving_default` of all stages in turns."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        return served_latency(
            {name: export(x, place / name) for name, x in stages.items()},
            "serving_default",
            requests,
            reference=reference,
            seconds=seconds,
        )
