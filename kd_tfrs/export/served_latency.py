"""How fast version folders answer, by TensorFlow's C library on one core."""

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
from kd_tfrs.evaluation.contention import Contention
from kd_tfrs.evaluation.cores import idlest_core
from kd_tfrs.evaluation.latency import Latency, percentiles
from kd_tfrs.evaluation.latency_ratio import times_faster, within_noise
from kd_tfrs.export.latency_worker import COMMAND, Request


@dataclass(frozen=True)
class ServedLatency:
    """What `served_latency` found.

    Args:
        rows: by stage "latency_ms" ("p50", "p95", "p99"), "times_faster"
            ("ratio", "low", "high"; None of the reference) and
            "within_noise", as rows of the stage table have them.
        contention: what other processes took meanwhile; `is_busy` and
            `warning` say whether that was too much.

    Example:
    ```python
    row |= found.rows[row["stage"]]
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
    """Times version folders in turns, and compares them with one of them.

    Every process loads all folders in TensorFlow's C library, with one
    thread, on the core that is idlest at the beginning, and asks them in
    turns. What is timed is the graph alone: no Python TensorFlow, no
    conversion of arrays, no network. Graphics cards are left out. That
    processes are several, each with the models at other places in memory, is
    part of the intervals; see `times_faster`.

    Times are those in which the core works on the answer. On an idle core
    that is how long an answer takes, to a few microseconds; on a busy one the
    pauses in which other processes run are left out, which would lengthen
    slow models more than fast ones.

    Args:
        versions: version folder by stage, see `export_saved_model`.
        signature: that is asked, such as "serving_default".
        requests: inputs by name, such as one user's id; they are asked one
            after the other, again and again, of every stage alike.
        reference: the stage that the others are compared with.
        seconds: to be measured in all; what it takes to start the processes
            and to load the folders (about a second a process) is not in it.
        processes: at least 1.
        rounds: least number in a process, even where that takes longer than
            its part of `seconds`; at least 2.
        calls_per_round: of a stage in a round, at least 1.

    Returns:
        A row a stage, in the order of `versions`, and what other processes
        did.

    Raises:
        UserError: the reference is none of the stages, there are no requests,
            counts are not positive, or a folder cannot be loaded or asked.

    Example:
    ```python
    found = served_latency(
        {"teacher": "models/teacher/1", "student": "models/student/1"},
        "serving_default",
        [{"user_id": np.array([user])} for user in users[:50]],
        reference="teacher",
    )
    format_latency(found.rows["student"])  # "0.41 (9.2x)"
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
    found = {
        name: [Latency(np.array(a["milliseconds"][name])) for a in answers]
        for name in versions
    }
    rows = {
        name: _row(found[reference], latencies, name == reference)
        for name, latencies in found.items()
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
    """What `latency_worker.measure` gives there."""
    paths = [str(Path(kd_tfrs.__path__[0]).parent), os.getenv("PYTHONPATH")]
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
        "CUDA_VISIBLE_DEVICES": "-1",
    }
    done = subprocess.run(
        [sys.executable, "-c", COMMAND],
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
