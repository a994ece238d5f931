"""Latency of version folders in TensorFlow's C library on one core."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import kd_tfrs
from kd_tfrs.errors import UserError
from kd_tfrs.evaluation.checks import check_k
from kd_tfrs.evaluation.contention import Contention, idlest_core
from kd_tfrs.evaluation.latency import Latency, percentiles
from kd_tfrs.evaluation.latency_ratio import times_faster, within_noise
from kd_tfrs.export.latency_worker import COMMAND, Request


@dataclass(frozen=True)
class ServedLatency:
    """Result of `served_latency`.

    Args:
        rows: by stage "latency_ms" ("p50", "p95", "p99"), "times_faster"
            ("ratio", "low", "high"; None for the reference) and
            "within_noise", as in rows of the stage table.
        contention: use of the machine by other processes; see `is_busy` and
            `warning`.

    Example:
    ```python
    row |= latency.rows[row["stage"]]
    ```
    """

    rows: dict[str, dict[str, Any]]
    contention: Contention


def served_latency(
    versions: Mapping[str, str | os.PathLike],
    signature: str,
    requests: Sequence[Request],
    *,
    reference: str,
    seconds: float = 5.0,
    processes: int = 4,
    rounds: int = 5,
    calls_per_round: int = 3,
) -> ServedLatency:
    """Times version folders in turns, and compares them with a reference.

    Every process loads all folders in TensorFlow's C library, with one
    thread, on the core that is idlest at the start, and runs them in turns.
    The times cover the graph alone, without Python TensorFlow, conversion of
    arrays or network. GPUs are not used. Each process has the models at
    other locations in memory; the intervals include this variation, see
    `times_faster`.

    The times are processor times. On an idle core they equal the elapsed
    time to a few microseconds. On a busy core they leave out pauses in which
    other processes run, which would affect slow models more than fast models.

    Args:
        versions: version folder by stage, see `export_saved_model`.
        signature: name of the signature to run, such as "serving_default".
        requests: inputs by name, such as one user's id. They run one after
            the other, in a cycle, for every stage.
        reference: the stage that the others are compared with.
        seconds: total time of the measurement, without the start of the
            processes and the loading (about a second for each process).
        processes: number of processes, at least 1.
        rounds: least number of rounds in a process, even where they take
            longer than its share of `seconds`; at least 2.
        calls_per_round: calls of a stage in a round, at least 1.

    Returns:
        One row for each stage, in the order of `versions`, and the
        contention.

    Raises:
        UserError: the reference is not one of the stages, there are no
            requests, counts are not positive, or a folder cannot be loaded
            or run.

    Example:
    ```python
    latency = served_latency(
        {"teacher": "models/teacher/1", "student": "models/student/1"},
        "serving_default",
        [{"user_id": np.array([user])} for user in users[:50]],
        reference="teacher",
    )
    latency.rows["student"]["times_faster"]["ratio"]  # 9.2
    ```

    References:
        Kalibera and Jones 2013, "Rigorous benchmarking in reasonable time".
    """
    _check(versions, requests, reference, rounds)
    check_k(processes, "processes")
    check_k(calls_per_round, "calls_per_round")
    task = {
        "versions": {name: str(path) for name, path in versions.items()},
        "signature": signature,
        "requests": [dict(request) for request in requests],
        "core": idlest_core(),
        "seconds": seconds / processes,
        "rounds": rounds,
        "calls_per_round": calls_per_round,
    }
    answers = [_in_new_process({**task, "seed": i}) for i in range(processes)]
    latencies = {
        name: [Latency(np.array(a["milliseconds"][name])) for a in answers]
        for name in versions
    }
    rows = {
        name: _row(latencies[reference], own, name == reference)
        for name, own in latencies.items()
    }
    readings = [Contention(**answer["contention"]) for answer in answers]
    return ServedLatency(rows, Contention.mean(readings))


def _row(
    reference: list[Latency], latencies: list[Latency], is_reference: bool
) -> dict[str, Any]:
    calls = [latency.milliseconds.ravel() for latency in latencies]
    ratio = None if is_reference else times_faster(reference, latencies)
    return {
        "latency_ms": percentiles(np.concatenate(calls)),
        "times_faster": ratio,
        "within_noise": ratio is not None and within_noise(ratio),
    }


def _in_new_process(task: dict[str, Any]) -> dict[str, Any]:
    """Runs `latency_worker` in a new process."""
    paths = [str(Path(kd_tfrs.__path__[0]).parent), os.getenv("PYTHONPATH")]
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
        "CUDA_VISIBLE_DEVICES": "-1",
    }
    done = subprocess.run(
        [sys.executable, *COMMAND],
        input=pickle.dumps(task),
        capture_output=True,
        env=environment,
    )
    if done.returncode:
        last = done.stderr.decode(errors="replace").strip().splitlines()[-1:]
        raise UserError(
            "The process that measures latency should end well. Received: "
            f"status {done.returncode}, {' '.join(last) or 'no message'}. "
            "Check that there is memory for all versions at once."
        )
    answer = json.loads(done.stdout)
    if "error" in answer:
        raise UserError(answer["error"])
    return answer


def _check(
    versions: Mapping[str, Any],
    requests: Sequence[Request],
    reference: str,
    rounds: int,
) -> None:
    if reference not in versions:
        raise UserError(
            f"`reference` should be one of {list(versions)}. Received: "
            f"`reference` = {reference!r}. Name a stage of `versions`."
        )
    if not requests:
        raise UserError(
            "`requests` should hold at least one request. Received: none. "
            "Give the inputs of some users."
        )
    if rounds < 2:
        raise UserError(
            "`rounds` should be at least 2, since one has no interval. "
            f"Received: `rounds` = {rounds}."
        )
