"""A trained student as two tables, which are what is served of it."""

from __future__ import annotations

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
from kd_tfrs.workflow.training import set_weights

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
    model = build_model(
        encoded,
        TowerOptions(embedding_dim=dim, hidden_units=()),
        TrainOptions(softmax_temperature=temperature),
        steps_per_epoch=1,
    )
    tables = project_embeddings(queries, candidates, dim, seed=seed)
    set_weights(model, tables)
    return model, encoded


def encode_rows(prepared: Prepared) -> Encoded:
    """Features of a model whose towers read row numbers alone."""
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


def _rows(count: int) -> FeatureSet:
    # Rows need no preprocessing layer.
    return FeatureSet([Feature(_ROW, Encoding.ID, count, 0, None)])
