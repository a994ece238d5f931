"""A trained student as two tables, which are what is served of it."""

from __future__ import annotations

import numpy as np

from kd_tfrs.distillation.retrieval import project_embeddings
from kd_tfrs.errors import UserError
from kd_tfrs.models.retrieval import RetrievalModel, TowerConfig, build_tower
from kd_tfrs.workflow.retrieval.builders import build_model
from kd_tfrs.workflow.retrieval.config import TowerOptions, TrainOptions
from kd_tfrs.workflow.retrieval.prepare import (
    ROW,
    Encoded,
    Prepared,
    encode_rows,
)
from kd_tfrs.workflow.training import set_weights


def table_student(
    prepared: Prepared,
    queries: np.ndarray,
    candidates: np.ndarray,
    dim: int,
    *,
    temperature: float = 0.12,
    seed: int = 0,
) -> RetrievalModel:
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
        The model, to be compiled anew.

    Raises:
        UserError: the teacher has other rows than the data.

    Example:
    ```python
    student = table_student(data, user_vectors, item_vectors, dim=20)
    ```
    """
    encoded = _encoded(prepared, queries, candidates)
    model = build_model(
        encoded,
        TowerOptions(embedding_dim=dim, hidden_units=()),
        TrainOptions(softmax_temperature=temperature),
        steps_per_epoch=1,
    )
    tables = project_embeddings(queries, candidates, dim, seed=seed)
    set_weights(model, tables)
    return model


def table_model(
    prepared: Prepared,
    queries: np.ndarray,
    candidates: np.ndarray,
    *,
    temperature: float = 1.0,
) -> RetrievalModel:
    """Embeddings of any program as a model of two tables.

    Args:
        prepared: the data.
        queries: `[num_users + 1, dim]` embeddings by user row, as they are;
            row 0 is the unknown user.
        candidates: `[num_items, dim]`, likewise by item row.
        temperature: scores are dot products divided by it, positive.

    Returns:
        A model whose towers read rows.

    Raises:
        UserError: the tables have other rows than the data, two widths, or a
            value that is not finite.

    Example:
    ```python
    teacher = table_model(data, user_vectors, item_vectors, temperature=0.1)
    ```
    """
    encoded = _encoded(prepared, queries, candidates)
    tables = [_numbers(x) for x in (queries, candidates)]
    widths = [table.shape[1] for table in tables]
    if widths[0] != widths[1]:
        raise UserError(
            "`queries` and `candidates` should have one width. Received: "
            f"{widths[0]} and {widths[1]}. Take the last layers, whose dot "
            "product is the score."
        )
    for name, table in zip(("queries", "candidates"), tables, strict=True):
        bad = int((~np.isfinite(table)).any(axis=1).sum())
        if bad:
            raise UserError(
                f"`{name}` should have finite values. Received: {bad} of "
                f"{len(table)} rows with NaN or infinity. Train the teacher "
                "at a lower learning rate."
            )
    config = TowerConfig(embedding_dim=widths[0], normalize=False)
    model = RetrievalModel(
        build_tower(encoded.query, config, name="query_tower"),
        build_tower(encoded.candidate, config, name="candidate_tower"),
        temperature=temperature,
    )
    set_weights(model, tables)
    return model


def _numbers(table: np.ndarray) -> np.ndarray:
    array = np.asarray(table)
    if array.ndim != 2 or array.dtype.kind not in "fiu":
        raise UserError(
            "Embeddings should be numbers of shape [rows, dim]. Received: "
            f"{array.dtype} of shape {array.shape}."
        )
    return array.astype(np.float32)


def _encoded(
    prepared: Prepared, queries: np.ndarray, candidates: np.ndarray
) -> Encoded:
    """Features of the rows, which both tables have to have."""
    encoded = encode_rows(prepared.catalogue)
    for name, given, table in (
        ("queries", queries, encoded.query_tables),
        ("candidates", candidates, encoded.candidate_tables),
    ):
        if len(given) != len(table[ROW]):
            raise UserError(
                f"`{name}` should have a row for each of the "
                f"{len(table[ROW]):,} of the data, of users with the unknown "
                f"one in row 0. Received: {len(given):,} rows. Order them as "
                "`prepared.catalogue` does."
            )
    return encoded
