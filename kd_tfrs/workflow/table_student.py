"""A trained student as two tables, which are what is served of it."""

from __future__ import annotations

import dataclasses

import numpy as np

from kd_tfrs.data.schema import Encoding
from kd_tfrs.models import FeatureSet, RetrievalModel
from kd_tfrs.models.features import Feature
from kd_tfrs.workflow.builders import build_model
from kd_tfrs.workflow.config import TowerOptions, TrainOptions
from kd_tfrs.workflow.prepare import Encoded, Prepared

_ROW = "row"


def encode_rows(prepared: Prepared) -> Encoded:
    """Features of a model whose towers read row numbers alone.

    Args:
        prepared: for the number of users and items.

    Returns:
        One feature a side: the row.
    """
    catalogue = prepared.catalogue
    query, candidate = (
        np.arange(count, dtype=np.int32)
        for count in (catalogue.num_users + 1, catalogue.num_items)
    )
    return Encoded(
        _rows(len(query)),
        _rows(len(candidate)),
        {_ROW: query},
        {_ROW: candidate},
    )


def build_table_student(
    encoded: Encoded,
    towers: TowerOptions,
    training: TrainOptions,
    steps_per_epoch: int,
) -> RetrievalModel:
    """A model with an embedding a user and an item, and nothing else.

    Args:
        encoded: see `encode_rows`.
        towers: for the width of the embeddings.
        training: how it is trained.
        steps_per_epoch: for the decay of the step size.

    Returns:
        A compiled model whose tables are random.
    """
    plain = dataclasses.replace(towers, hidden_units=())
    return build_model(encoded, plain, training, steps_per_epoch)


def set_tables(
    model: RetrievalModel, queries: np.ndarray, candidates: np.ndarray
) -> None:
    """Gives a table student its embeddings.

    Args:
        model: see `build_table_student`.
        queries: `[num_users + 1, dim]` by user row.
        candidates: `[num_items, dim]` by item row.
    """
    model.query_tower.set_weights([queries])
    model.candidate_tower.set_weights([candidates])


def _rows(count: int) -> FeatureSet:
    # Rows need no preprocessing layer.
    return FeatureSet([Feature(_ROW, Encoding.ID, count, 0, None)])
