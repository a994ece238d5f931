"""How long one whole call takes, of several recommenders in turn."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable
from typing import Any

import tensorflow as tf

from kd_tfrs.evaluation.latency import measure_in_turns, percentiles
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


def one_thread() -> None:
    """Keeps TensorFlow on one thread.

    To be called before it is used; what has begun already stays as it is, and
    `threads` reports. BLAS reads the environment while NumPy is imported.
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


def measure_calls(chain: PipelineStages) -> dict[str, Any]:
    """Times one user's recommendations: retrieve, leave out, rank."""
    names = [name for name in TIMED if name in chain.names]
    calls = {name: _call(chain, name) for name in names}
    found = measure_in_turns(
        calls,
        rounds=chain.config.pipeline.latency_repeats,
        calls_per_round=1,
        warmup=_WARMUP,
    )
    return {
        "latency_ms": {
            name: percentiles(latency.milliseconds)
            for name, latency in found.items()
        },
        "threads": threads(),
        "k": _K,
    }


def _call(chain: PipelineStages, stage: str) -> Callable[[], object]:
    recommender, data = chain.recommender(stage), chain.requests.data
    contexts = chain.contexts(stage, chain.requests)
    bounds, ids = data.exclusions.bounds, data.exclusions.ids
    seen = [ids[a:b] for a, b in itertools.pairwise(bounds)]
    turn = itertools.cycle(range(len(data.users)))

    def call() -> object:
        i = next(turn)
        return recommender.recommend(data.users[i], _K, contexts[i], seen[i])

    return call
