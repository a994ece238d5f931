"""Every stage measured the same way: quality, size, speed."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from kd_tfrs.evaluation import (
    EmbeddingScorer,
    Scorer,
    measure_latency,
    size_bytes,
    size_bytes_gzip,
)
from kd_tfrs.export import RetrievalModule, export_saved_model
from kd_tfrs.models import RetrievalModel
from kd_tfrs.workflow.prepare import Encoded, Prepared

_BLOCK = 8192


@dataclasses.dataclass(frozen=True)
class Embedded:
    """Everybody and everything, embedded once by a model.

    Args:
        queries: `[num_users + 1, dim]` by user row.
        candidates: `[num_items, dim]` by item row.
        fallback: `[dim]`: the mean query, each user as often as he has
            training events; what an unknown user gets.
    """

    queries: np.ndarray
    candidates: np.ndarray
    fallback: np.ndarray

    def scorer(self, prepared: Prepared) -> EmbeddingScorer:
        """The Keras model as a scorer on raw ids."""
        catalogue = prepared.catalogue
        return EmbeddingScorer(
            catalogue.user_ids,
            self.queries[1:],
            catalogue.item_ids,
            self.candidates,
            self.fallback,
        )


def embed(
    model: RetrievalModel, encoded: Encoded, prepared: Prepared
) -> Embedded:
    """Embeds all users and items.

    Args:
        model: trained.
        encoded: its features.
        prepared: for the users' training events.

    Returns:
        Embeddings by row.
    """
    queries = _run(model.query_tower, encoded.query_tables)
    weights = prepared.catalogue.user_events / (
        prepared.catalogue.user_events.sum()
    )
    return Embedded(
        queries,
        _run(model.candidate_tower, encoded.candidate_tables),
        (weights @ queries).astype(np.float32),
    )


def _run(tower: tf.keras.Model, tables: dict[str, np.ndarray]) -> np.ndarray:
    count = len(next(iter(tables.values())))
    blocks = []
    for start in range(0, count, _BLOCK):
        rows = {k: v[start : start + _BLOCK] for k, v in tables.items()}
        blocks.append(tower(rows, training=False)["embedding"].numpy())
    return np.concatenate(blocks)


def serving_module(
    model: RetrievalModel,
    encoded: Encoded,
    embedded: Embedded,
    prepared: Prepared,
    top_k: int,
) -> RetrievalModule:
    """What is exported of a model."""
    return RetrievalModule(
        model.query_tower,
        encoded.query_tables,
        embedded.candidates,
        embedded.fallback,
        prepared.catalogue,
        top_k=min(top_k, prepared.catalogue.num_items),
    )


def quality(
    scorer: Scorer, prepared: Prepared
) -> tuple[dict[str, float | None], dict[str, np.ndarray]]:
    """Test metrics of a scorer, and their values by user.

    Args:
        scorer: of any stage or baseline.
        prepared: for the protocols.

    Returns:
        Metrics by name, and `[users]` values by name.
    """
    result = prepared.test.evaluate(scorer)
    metrics = dict(result.metrics)
    if prepared.sampled_test is not None:
        sampled = prepared.sampled_test.evaluate(scorer).metrics
        metrics.update({f"sampled_{k}": v for k, v in sampled.items()})
    return metrics, result.per_user


def parameters(model: RetrievalModel) -> dict[str, int]:
    """Weights of both towers, and those that are not zero."""
    weights = [
        w.numpy()
        for tower in (model.query_tower, model.candidate_tower)
        for w in tower.trainable_weights
    ]
    return {
        "parameters": int(sum(w.size for w in weights)),
        "nonzero_parameters": int(sum(np.count_nonzero(w) for w in weights)),
    }


def module_size(module: RetrievalModule, directory: Path) -> dict[str, int]:
    """Bytes of the SavedModel that a stage would ship.

    Args:
        module: see `serving_module`.
        directory: where it is written, and removed from again.

    Returns:
        `size_bytes` and `size_bytes_gzip`.
    """
    version = export_saved_model(module, directory)
    sizes = folder_size(version)
    shutil.rmtree(directory)
    return sizes


def folder_size(version: Path) -> dict[str, int]:
    """Bytes of a version folder, plain and as one tar.gz."""
    return {
        "size_bytes": size_bytes(version),
        "size_bytes_gzip": size_bytes_gzip(version),
    }


def latency(serve: Any, user_ids: np.ndarray, repeats: int) -> dict[str, float]:
    """Milliseconds for one user's recommendations, one user after another.

    Args:
        serve: the `serving_default` signature.
        user_ids: `[n]` raw ids to ask for.
        repeats: calls that are timed.

    Returns:
        `p50`, `p95` and `p99`.
    """
    # Slices of the array, since a list of ints would become int32.
    asked = range(min(repeats, len(user_ids)))
    requests = [tf.constant(user_ids[i : i + 1]) for i in asked]
    turn = iter(range(10**9))

    def call() -> np.ndarray:
        request = requests[next(turn) % len(requests)]
        return serve(user_id=request)["score"].numpy()

    return measure_latency(call, repeats=repeats)
