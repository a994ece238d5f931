"""A trained student as two tables, which are what is served of it."""

from __future__ import annotations

import dataclasses

import numpy as np

from kd_tfrs.data.schema import Encoding
from kd_tfrs.distillation.retrieval import project_embeddings
from kd_tfrs.errors import UserError
from kd_tfrs.models import FeatureSet
from kd_tfrs.models.features import Feature
from kd_tfrs.models.retrieval import RetrievalModel
from kd_tfrs.workflow.retrieval.builders import build_model
from kd_tfrs.workflow.retrieval.config import TowerOptions, TrainOptions
from kd_tfrs.workflow.retrieval.prepare import Encoded, Prepared

_ROW = "row"


def table_student(
    prepared: Prepared,
    queries: np.ndarray,
    candidates: np.ndarray,
    dim: int,
    *,
    temperature: float = 0.12,
    seed: int = 0,
) -> tuple[RetrievalModel, Encoded]:
    """A student of two tables that starts as a narrow copy of a teacher.

    Args:
        prepared: the data.
        queries: `[num_users + 1, teacher_dim]`, the teacher's embeddings by
            user row; row 0 is the unknown user.
        candidates: `[num_items, teacher_dim]`, likewise by item row.
        dim: width of the student, at least 1.
        temperature: of its softmax over cosines, positive.
        seed: see `project_embeddings`.

    Returns:
        The model, to be compiled anew, and its features, as `fit` and
        `export_model` take them.

    Raises:
        UserError: the teacher has other rows than the data.

    Example:
    ```python
    student, rows = table_student(data, user_vectors, item_vectors, dim=20)
    ```
    """
    encoded = encode_rows(prepared)
    for name, given, table in (
        ("queries", queries, encoded.query_tables),
        ("candidates", candidates, encoded.candidate_tables),
    ):
        if len(given) != len(table[_ROW]):
            raise UserError(
                f"`{name}` should have a row for each of the "
                f"{len(table[_ROW]):,} of the data, of users with the unknown "
                f"one in row 0. Received: {len(given):,} rows. Order them as "
                "`prepared.catalogue` does."
            )
    model = build_table_student(
        encoded,
        TowerOptions(embedding_dim=dim),
        TrainOptions(softmax_temperature=temperature),
        steps_per_epoch=1,
    )
    set_tables(model, *project_embeddings(queries, candidates, dim, seed=seed))
    return model, encoded


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
