"""`kd.quantize`, `kd.export` and `kd.recommend`."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from kd_tfrs.compression import sparsity
from kd_tfrs.errors import UserError
from kd_tfrs.evaluation.retrieval import SavedModelScorer
from kd_tfrs.export import Storage
from kd_tfrs.export.ranking import SavedModelRanker
from kd_tfrs.functions.preparing import functions_of
from kd_tfrs.workflow.ranking.functions import check_request
from kd_tfrs.workflow.ranking.prepare import RankingPrepared
from kd_tfrs.workflow.recommendations import as_table, exported_titles
from kd_tfrs.workflow.retrieval.prepare import Prepared
from kd_tfrs.workflow.stored_model import StoredModel
from kd_tfrs.workflow.task_functions import is_path

# From this share of zeros on, a bit for each weight saves bytes.
_SPARSE = 0.2


def quantize(model: Any, bits: int = 8) -> StoredModel:
    """A model whose tables and kernels are stored as integers.

    Every row of a table has a float32 scale of its own. Weights that pruning
    made zero are not stored where that saves bytes.

    Args:
        model: trained, or its distiller. It does not change.
        bits: of an integer; 8.

    Returns:
        What `kd.evaluate` measures and `kd.export` writes with the rounded
        weights.

    Raises:
        UserError: another number of bits.

    Example:
    ```python
    kd.export(kd.quantize(student), data, "models/films")
    ```
    """
    if bits != 8:
        raise UserError(
            f"`bits` should be 8. Received: `bits` = {bits}. Fewer bits are "
            "not written yet."
        )
    student = StoredModel.of(model).model
    if not getattr(student, "networks", None):
        raise UserError(
            "`model` should be a RetrievalModel, a RankingModel or a "
            f"distiller. Received: {type(student).__name__}."
        )
    zeros = min(sparsity(network) for network in student.networks)
    sparse = bool(zeros >= _SPARSE)
    return StoredModel(student, Storage(int8=True, sparse=sparse))


def export(
    model: Any, data: Prepared | RankingPrepared, path: str | os.PathLike
) -> Path:
    """Writes a model for serving, once it is loaded back and compared.

    Args:
        model: trained, its distiller, or what `kd.quantize` returns.
        data: see `kd.split`.
        path: folder of versions for TensorFlow Serving, of which the next is
            written; or for ranking a file `*.tflite`, for LiteRT.

    Returns:
        The version's folder, or the file.

    Raises:
        UserError: it cannot be written, or scores otherwise than the model.

    Example:
    ```python
    version = kd.export(student, data, "models/films")
    ```
    """
    functions = functions_of(data)
    check_path(path)
    functions.check_model(model)
    return functions.export(StoredModel.of(model), Path(path))


def check_path(path: object) -> None:
    """Checks the type of a path.

    Raises:
        UserError: it is none.
    """
    if not is_path(path):
        raise UserError(
            f"`path` should be a path. Received: `path` = {path!r}. Write "
            "'models/films'."
        )


def recommend(
    model: Any,
    query: Any,
    k: int = 10,
    *,
    data: Prepared | RankingPrepared | None = None,
    candidates: Any = None,
    context: Mapping[str, Any] | None = None,
    exclude: Any = None,
    exclude_seen: bool | None = None,
) -> pd.DataFrame:
    """The best items for users, as a table.

    Args:
        model: the path of an export, or a model.
        query: raw id of a user; for retrieval also several.
        k: items for each user.
        data: of a model in memory, see `kd.split`.
        candidates: of ranking, `[n]` raw ids of the items to rank.
        context: of ranking, features of the moment by column.
        exclude: of the export of a retrieval model, `[n]` raw ids that are
            left out for every user.
        exclude_seen: of a retrieval model in memory, whether to leave out
            what the user has in the training events; it does when `None`.

    Returns:
        One row an item: `query`, `rank` from 1, `item`, `score` (a logit of
        the first label in ranking) and, where the data have one, `title`.

    Raises:
        UserError: an argument is missing or has no effect.

    Example:
    ```python
    kd.recommend("models/films", [1, 2], k=5)
    kd.recommend("models/ranker", 1, k=5, candidates=[20, 30, 40])
    ```
    """
    if np.ndim(query) > 1:
        raise UserError(
            "`query` should be a raw id or a list of them. Received: an array "
            f"of shape {np.shape(query)}."
        )
    if not is_path(model):
        return _in_memory(
            model, query, k, data, candidates, context, exclude, exclude_seen
        )
    if data is not None:
        raise UserError(
            "`data` should be left out beside the path of an export, which "
            f"has its own items. Received: {type(data).__name__}."
        )
    ranks = candidates is not None
    unused = {
        "exclude_seen": exclude_seen,
        **({"exclude": exclude} if ranks else {"context": context}),
    }
    for name, value in unused.items():
        if value is not None:
            raise UserError(
                f"`{name}` should be left out for this export, where it has "
                f"no effect. Received: `{name}` = {value!r}."
            )
    if ranks:
        check_request(query, candidates, context)
        ranker = SavedModelRanker(model)
        ids, scores = ranker.rank(query, candidates, k, context)
        titles = exported_titles(ranker.path)
        return as_table([query], ids[None], scores[None], titles)
    scorer = SavedModelScorer(model)
    if np.ndim(exclude) != 1 and exclude is not None:
        raise UserError(
            "`exclude` should be a list of raw ids. Received: "
            f"{exclude!r}. Write [{exclude!r}]."
        )
    users = np.atleast_1d(query)
    left_out = None if exclude is None else [list(exclude)] * len(users)
    ids, scores = scorer.recommend(users, k, left_out)
    return as_table(users, ids, scores, exported_titles(scorer.path))


def _in_memory(
    model: Any,
    query: Any,
    k: int,
    data: Prepared | RankingPrepared | None,
    candidates: Any,
    context: Mapping[str, Any] | None,
    exclude: Any,
    exclude_seen: bool | None,
) -> pd.DataFrame:
    if data is None:
        raise UserError(
            "`data` should be given for a model in memory. Received: "
            f"{type(model).__name__} alone. Give `data`, or export the model."
        )
    if exclude is not None:
        raise UserError(
            "`exclude` should be left out for a model in memory, which leaves "
            f"out the seen items. Received: {exclude!r}."
        )
    request = {"candidates": candidates, "context": context}
    return functions_of(data).recommend(
        StoredModel.of(model),
        query,
        k,
        exclude_seen=exclude_seen,
        **{name: v for name, v in request.items() if v is not None},
    )
