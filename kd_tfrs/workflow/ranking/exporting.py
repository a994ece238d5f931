"""A trained ranker in the forms in which it is served."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from kd_tfrs.export.ranking.client import SavedModelRanker
from kd_tfrs.export.ranking.inputs import RankingInputs
from kd_tfrs.export.ranking.keras_ranker import KerasRanker
from kd_tfrs.export.ranking.signatures import RankingModule
from kd_tfrs.export.ranking.stored_layers import rounded_network
from kd_tfrs.export.ranking.tables import ServingTables
from kd_tfrs.export.ranking.verify import RankingCheck, verify_ranking
from kd_tfrs.export.saved_model import export_saved_model
from kd_tfrs.export.stored_table import FLOAT32, Storage
from kd_tfrs.models.ranking import RankingModel
from kd_tfrs.workflow.compression_options import stored_as
from kd_tfrs.workflow.ranking.measure import Logits
from kd_tfrs.workflow.ranking.prepare import Inputs, RankingPrepared

_SEED = 22
_VERIFIED_ROWS = 500
_VERIFIED_LISTS = 10
_VERIFIED_ITEMS = 100


def serving_tables(prepared: RankingPrepared) -> ServingTables | None:
    """Tables that the exported graph looks up, after the training events.

    Args:
        prepared: the data. The tables are built without the held-out events,
            so that the export can be evaluated on them.

    Returns:
        The tables; `None` for logs without users and items.
    """
    split = prepared.split
    if split.interactions is None or split.parts is None:
        return None
    return ServingTables.of(
        split.interactions,
        split.parts.train,
        split.train,
        history_task=split.history_task,
        liked_from=split.liked_from,
    )


def export_model(
    model: RankingModel,
    prepared: RankingPrepared,
    inputs: Inputs,
    base_dir: str | os.PathLike,
    tables: ServingTables | None = None,
    storage: Storage = FLOAT32,
) -> Path:
    """Exports the next version, loaded back and compared before it counts.

    Args:
        model: trained, on columns that are known when serving.
        prepared: for the rows and requests to compare on.
        inputs: its features.
        base_dir: folder of versions.
        tables: see `serving_tables`; without them there is no `rank`.
        storage: how kernels and embeddings are stored; where it rounds them,
            the export is compared with the rounded model.

    Returns:
        The version's folder.

    Raises:
        UserError: it cannot be written, or scores otherwise than the model.

    Example:
    ```python
    tables = serving_tables(prepared)
    export_model(student, prepared, inputs, "models/ranking", tables)
    ```
    """
    train, test = prepared.split.train, prepared.split.test
    sent = RankingInputs.of(model, inputs.features, train)
    some = test.take(slice(_VERIFIED_ROWS))
    network = model.network
    if storage.int8:
        network = rounded_network(network, storage)
    check = RankingCheck(
        KerasRanker(network, model.tasks, sent, tables),
        some.table,
        some.history if sent.history is not None else None,
        () if tables is None else rank_requests(prepared, _VERIFIED_LISTS),
    )
    module = RankingModule(model, sent, tables, storage=storage)
    items = None
    if prepared.split.interactions is not None:
        items = prepared.split.interactions.items
    return export_saved_model(
        module,
        base_dir,
        verify=lambda path: verify_ranking(path, check),
        items=items,
    )


def as_stored(model: RankingModel, stage: str) -> RankingModel:
    """A trained model with the values that come back from the disk."""
    storage = stored_as(stage)[1]
    if not storage.int8:
        return model
    return model.with_networks(rounded_network(model.network, storage))


def export_logits(path: Path, prepared: RankingPrepared) -> Logits:
    """Predictions of an export for the test examples.

    Args:
        path: a version folder.
        prepared: the data.

    Returns:
        `[test examples]` by task.
    """
    test = prepared.split.test
    return SavedModelRanker(path).score(test.table, test.history)


def rank_requests(
    prepared: RankingPrepared,
    count: int,
    candidates: int = _VERIFIED_ITEMS,
    k: int = 10,
) -> list[tuple[Any, np.ndarray, int, None]]:
    """Requests for `rank`: test users, each with random items."""
    rng = np.random.default_rng(_SEED)
    interactions = prepared.split.interactions
    items = interactions.items[interactions.schema.item_id].to_numpy()
    size = min(candidates, len(items))
    users = rng.choice(np.unique(prepared.split.test.groups), count)
    return [
        (user, rng.choice(items, size, replace=False), min(k, size), None)
        for user in users
    ]
