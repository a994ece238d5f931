"""Times version folders in a process of its own; see `served_latency`.

TensorFlow has one pool of threads in each process, and its first use sets the
size: a process that has trained a model cannot measure one thread any more.
This module therefore does not import Python TensorFlow.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import pickle
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from kd_tfrs.errors import UserError
from kd_tfrs.evaluation.contention import ContentionMeter, pinned
from kd_tfrs.evaluation.latency import measure_in_turns
from kd_tfrs.export.c_api import CSavedModel

Request = Mapping[str, np.ndarray]

# Arguments of Python, for a process of its own.
COMMAND = ("-m", __spec__.name)


def _measure(
    versions: Mapping[str, str],
    signature: str,
    requests: Sequence[Request],
    *,
    core: int | None,
    seed: int,
    **options: Any,
) -> dict[str, Any]:
    """Times version folders in turns with one thread, see `served_latency`."""
    # Pinned first, since threads stay on the core where they start.
    with pinned(core) as pinned_core:
        loaded = {
            name: _call(versions[name], signature, requests)
            for name in np.random.default_rng(seed).permutation(list(versions))
        }
        calls = {name: loaded[name] for name in versions}
        meter = ContentionMeter(pinned_core)
        times = measure_in_turns(
            calls, seed=seed, clock=time.process_time_ns, **options
        )
        contention = meter.read()
    return {
        "milliseconds": {n: x.milliseconds.tolist() for n, x in times.items()},
        "contention": dataclasses.asdict(contention),
    }


def main() -> None:
    """Reads arguments of `_measure` (pickle, stdin); writes JSON to stdout."""
    task = pickle.load(sys.stdin.buffer)
    try:
        answer = _measure(**task)
    except UserError as error:
        answer = {"error": str(error)}
    json.dump(answer, sys.stdout)


def _call(
    path: str, signature: str, requests: Sequence[Request]
) -> Callable[[], None]:
    model = CSavedModel(path, threads=1)
    turn = itertools.cycle([model.prepare(signature, r) for r in requests])
    return lambda: next(turn)()


if __name__ == "__main__":
    main()
