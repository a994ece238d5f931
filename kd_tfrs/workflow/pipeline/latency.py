"""How long one whole call takes, of several recommenders in turn."""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from kd_tfrs.workflow.pipeline.stages import PipelineStages

TIMED = (
    "teacher_teacher",
    "student_student",
    "student_litert",
    "exports",
    "exports_blend",
)
_WARMUP = 10
_K = 10
_PERCENTILES = (50, 95, 99)


def one_thread() -> None:
    """Keeps TensorFlow on one thread.

    To be called before it is used; what has begun already stays as it is, and
    `threads` tells. BLAS listens to the environment while NumPy is imported.
    """
    try:
        tf.config.threading.set_intra_op_parallelism_threads(1)
        tf.config.threading.set_inter_op_parallelism_threads(1)
    except RuntimeError:
        return


def threads() -> dict[str, int | None]:
    """How many threads there may be; 0 where TensorFlow decides."""
    blas = os.environ.get("OPENBLAS_NUM_THREADS")
    return {
        "intra_op": tf.config.threading.get_intra_op_parallelism_threads(),
        "inter_op": tf.config.threading.get_inter_op_parallelism_threads(),
        "blas": int(blas) if blas else None,
    }


def interleaved(
    calls: Mapping[str, Callable[[int], object]],
    repeats: int,
    warmup: int = _WARMUP,
) -> dict[str, dict[str, float]]:
    """Times several calls in turn, so that a busy machine is so for all.

    Args:
        calls: by name; each takes the number of the round.
        repeats: rounds that are counted.
        warmup: rounds that are made first.

    Returns:
        By name "p50", "p95" and "p99" in milliseconds.

    Example:
    >>> sorted(interleaved({"a": lambda turn: None}, 3)["a"])
    ['p50', 'p95', 'p99']
    """
    taken: dict[str, list[int]] = {name: [] for name in calls}
    rounds = tqdm(range(warmup + repeats), desc="latency", leave=False)
    for turn in rounds:
        for name, call in calls.items():
            start = time.perf_counter_ns()
            call(turn)
            taken[name].append(time.perf_counter_ns() - start)
    return {
        name: {
            f"p{p}": float(np.percentile(values[warmup:], p) / 1e6)
            for p in _PERCENTILES
        }
        for name, values in taken.items()
    }


def measure_calls(chain: PipelineStages) -> dict[str, Any]:
    """Times one user's recommendations: retrieve, leave out, rank.

    Args:
        chain: the pairs.

    Returns:
        "latency_ms" by pair, "threads", and "k", the items of an answer.
    """
    names = [name for name in TIMED if name in chain.names]
    calls = {name: _call(chain, name) for name in names}
    repeats = chain.config.pipeline.latency_repeats
    return {
        "latency_ms": interleaved(calls, repeats),
        "threads": threads(),
        "k": _K,
    }


def _call(chain: PipelineStages, stage: str) -> Callable[[int], object]:
    recommender, data = chain.recommender(stage), chain.requests.data
    contexts = chain.contexts(stage, chain.requests)
    bounds, ids = data.exclusions.bounds, data.exclusions.ids
    seen = [ids[a:b] for a, b in itertools.pairwise(bounds)]
    count = len(data.users)

    def call(turn: int) -> object:
        i = turn % count
        return recommender.recommend(data.users[i], _K, contexts[i], seen[i])

    return call
