"""Every stage measured the same way: quality and size."""

from __future__ import annotations

import dataclasses
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from kd_tfrs.evaluation import size
from kd_tfrs.evaluation.retrieval import (
    EmbeddingScorer,
    SavedModelScorer,
    Scorer,
)
from kd_tfrs.export import FLOAT32, Storage, export_saved_model
from kd_tfrs.export.retrieval import RetrievalModule
from kd_tfrs.models.retrieval import RetrievalModel
from kd_tfrs.workflow.retrieval.prepare import Encoded, Prepared

_BLOCK = 8192
VALIDATION = "validation/"
Measured = tuple[dict[str, Any], dict[str, np.ndarray]]


@dataclasses.dataclass(frozen=True)
class Embedded:
    """All users and items, embedded once by a model.

    Args:
        queries: `[num_users + 1, dim]` by user row.
        candidates: `[num_items, dim]` by item row.
        fallback: `[dim]`: the mean query, each user as often as he has
            training events; what an unknown user gets.
    """

    queries: np.ndarray
    candidates: np.ndarray
    fallback: np.ndarray

    @property
    def tables(self) -> tuple[np.ndarray, np.ndarray]:
        """What is served: queries with the fallback in row 0, candidates."""
        queries = self.queries.copy()
        queries[0] = self.fallback
        return queries, self.candidates

    def stored(self, storage: Storage) -> Embedded:
        """The embeddings as they come back from the disk."""
        queries, candidates = map(storage.stored, self.tables)
        return Embedded(queries, candidates, queries[0])

    def model_bytes(self, storage: Storage = FLOAT32) -> int:
        """Bytes of the tables that are served, as they are stored."""
        return sum(map(storage.model_bytes, self.tables))

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
    """Embeds all users and items."""
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


def measure_scorer(stage: str, scorer: Scorer, prepared: Prepared) -> Measured:
    """The row of anything that recommends: a baseline, your own teacher.

    Args:
        stage: name of the row.
        scorer: what is measured.
        prepared: for the protocols.

    Returns:
        A row with `stage` and `metrics`, and `[users]` test metrics by name.

    Example:
    ```python
    row, _ = measure_scorer("teacher", TeacherScorer(teacher, data), data)
    ```
    """
    metrics, per_user = quality(scorer, prepared)
    return {"stage": stage, "metrics": metrics}, per_user


def measure_model(
    stage: str,
    model: RetrievalModel,
    encoded: Encoded,
    prepared: Prepared,
    *,
    storage: Storage = FLOAT32,
    top_k: int = 10,
) -> Measured:
    """The row of a model: quality, parameters and size.

    Args:
        stage: name of the row.
        model: trained.
        encoded: its features.
        prepared: for the protocols.
        storage: how its tables are stored; what is measured is what comes
            back from the disk.
        top_k: answers of the `serving_default` signature.

    Returns:
        As `measure_scorer`, with what the model would ship, and `validation`:
        its metrics on validation events by name. The users' values of these
        are named "validation/ndcg@10" and so on.
    """
    embedded = embed(model, encoded, prepared)
    stored = embedded.stored(storage)
    module = serving_module(embedded, prepared, top_k, storage)
    scorer = stored.scorer(prepared)
    row, per_user = measure_scorer(stage, scorer, prepared)
    validated = prepared.validation.evaluate(scorer, fast=True)
    per_user |= {
        VALIDATION + name: values for name, values in validated.per_user.items()
    }
    row.update(
        validation=validated.metrics,
        **parameters(model),
        model_bytes=embedded.model_bytes(storage),
        model_bytes_int8=embedded.model_bytes(Storage(int8=True)),
        **module_size(module),
    )
    return row, per_user


def measure_export(stage: str, version: Path, prepared: Prepared) -> Measured:
    """The row of an export, by its own signatures.

    Args:
        stage: name of the row.
        version: the folder that was exported.
        prepared: for the protocols.

    Returns:
        As `measure_model`, but without what a folder does not hold: parameters,
        model bytes and validation metrics.
    """
    row, per_user = measure_scorer(stage, SavedModelScorer(version), prepared)
    row.update(size.folder_size(version))
    return row, per_user


def serving_module(
    embedded: Embedded,
    prepared: Prepared,
    top_k: int,
    storage: Storage = FLOAT32,
) -> RetrievalModule:
    """What is exported of a model."""
    return RetrievalModule(
        *embedded.tables,
        prepared.catalogue,
        top_k=min(top_k, prepared.catalogue.num_items),
        storage=storage,
    )


def validate(
    model: RetrievalModel, encoded: Encoded, prepared: Prepared
) -> dict[str, float]:
    """Validation metrics of a model as it is."""
    return validation_metrics(embed(model, encoded, prepared), prepared)


def validation_metrics(
    embedded: Embedded, prepared: Prepared
) -> dict[str, float]:
    """Validation metrics of embeddings."""
    scorer = embedded.scorer(prepared)
    return prepared.validation.evaluate(scorer, fast=True).metrics


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
    towers = model.query_tower, model.candidate_tower
    weights = [w.numpy() for t in towers for w in t.trainable_weights]
    return size.parameters(weights)


def module_size(module: RetrievalModule) -> dict[str, int]:
    """Bytes of the SavedModel that a stage would ship."""
    with tempfile.TemporaryDirectory() as folder:
        return size.folder_size(export_saved_model(module, folder))
