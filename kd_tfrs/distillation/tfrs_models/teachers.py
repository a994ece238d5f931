"""Teachers of TFRS models: outputs by task for the features of a batch."""

from __future__ import annotations

import abc
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import tensorflow as tf

from kd_tfrs.distillation.tfrs_models.outputs import (
    PREDICTS,
    RANKING,
    RETRIEVAL,
    RankingOutputs,
    RetrievalOutputs,
    TaskOutputs,
    as_logits,
    outputs_of_calls,
    task_kind,
)
from kd_tfrs.distillation.tfrs_models.task_calls import (
    find_tasks,
    record_tasks,
)
from kd_tfrs.errors import UserError

Batch = Any
# The task of a teacher that has only one.
_TASK = "task"
# A larger table of scores is looked up by hash, as [queries, candidates]
# would not fit in memory.
_DENSE_CELLS = 50_000_000


class ModelTeacher(abc.ABC):
    """Base of the teachers of TFRS models.

    A teacher is never trained and no gradient reaches it.

    Attributes:
        checkpointed: modules of the teacher that a checkpoint has to hold.
        teachers: members of an ensemble.
    """

    checkpointed: tuple[tf.Module, ...] = ()
    teachers: tuple[ModelTeacher, ...] = ()

    @property
    @abc.abstractmethod
    def kinds(self) -> Mapping[str, str]:
        """The kind, "retrieval" or "ranking", by the name of the task."""

    @abc.abstractmethod
    def outputs(self, batch: Batch) -> Mapping[str, TaskOutputs]:
        """The outputs for a batch of the student's dataset, by task."""


class TfrsTeacher(ModelTeacher):
    """A `tfrs.Model` as a teacher, unchanged.

    Args:
        model: a trained model.

    Raises:
        UserError: the model has no TFRS task, or no weights yet.

    Example:
    ```python
    kd.Distiller(TfrsTeacher(model), student, kd.SoftTargets(2.0))
    ```
    """

    def __init__(self, model: tf.keras.Model) -> None:
        self._kinds = task_kinds("teacher", model)
        if not _has_weights(model):
            raise UserError(
                "`teacher` should be trained. Received: "
                f"{type(model).__name__} without weights, which has never "
                "been called. Train it, or load its weights, first."
            )
        self.model = model

    @property
    def kinds(self) -> Mapping[str, str]:
        """See `ModelTeacher.kinds`."""
        return self._kinds

    def outputs(self, batch: Batch) -> Mapping[str, TaskOutputs]:
        """See `ModelTeacher.outputs`."""
        with record_tasks(self.model, compute_losses=False) as calls:
            self.model.compute_loss(batch, training=False)
        return outputs_of_calls(calls)


def task_kinds(who: str, model: tf.keras.Model) -> dict[str, str]:
    """The kinds of a model's tasks by name.

    Args:
        who: "teacher" or "student", for the error.
        model: a `tfrs.Model`.

    Returns:
        "retrieval" or "ranking" by name.

    Raises:
        UserError: the model has no task, or one of another kind.
    """
    tasks = find_tasks(model)
    if not tasks:
        raise UserError(
            f"`{who}` should have a tfrs.tasks.Retrieval or "
            "tfrs.tasks.Ranking as an attribute. Received: "
            f"{type(model).__name__} without one. Make it in `__init__`."
        )
    return {name: task_kind(name, task) for name, task in tasks.items()}


class PredictionTeacher(ModelTeacher):
    """A model, a function or a file that predicts a value for each row.

    For ranking: a Keras model of either version, a signature of a SavedModel,
    a LiteRT file or any function of tensors, see `load_model_file`.

    Args:
        model: from the features of a batch to `[batch]` or `[batch, 1]`
            predictions, or to a dict with one such output.
        predicts: "logits" or "probabilities" of a binary label, or "values",
            such as ratings.
        inputs: name of the only feature of the model, or names of those that
            it takes by name. All features of the batch when `None`.
        output: name of the output, where there are several.

    Raises:
        UserError: an argument does not fit.

    Example:
    ```python
    teacher = PredictionTeacher(load_model_file("teacher.keras"))
    kd.Distiller(teacher, student, kd.BinarySoftTargets(2.0))
    ```
    """

    def __init__(
        self,
        model: Callable,
        predicts: str = "logits",
        inputs: str | Sequence[str] | None = None,
        output: str | None = None,
    ) -> None:
        if not callable(model):
            raise UserError(
                "`model` should be callable. Received: "
                f"{type(model).__name__}. Load a file by `load_model_file`."
            )
        if predicts not in PREDICTS:
            raise UserError(
                f"`predicts` should be one of {', '.join(PREDICTS)}. "
                f"Received: `predicts` = {predicts!r}."
            )
        self._model = model
        self._predicts = predicts
        self._inputs = inputs
        self._output = output

    @property
    def kinds(self) -> Mapping[str, str]:
        """See `ModelTeacher.kinds`."""
        return {_TASK: RANKING}

    def outputs(self, batch: Batch) -> Mapping[str, TaskOutputs]:
        """See `ModelTeacher.outputs`."""
        found = self._model(pick(batch, self._inputs))
        if isinstance(found, Mapping):
            found = _only_output(found, self._output)
        logits, is_binary = as_logits(found, self._predicts)
        return {_TASK: RankingOutputs(tf.stop_gradient(logits), is_binary)}


class TowersTeacher(ModelTeacher):
    """Two models that embed the queries and the candidates of a batch.

    Args:
        query_model: from the query's features to `[batch, dim]` embeddings.
        candidate_model: from the candidate's features to `[batch, dim]`.
        query_inputs: name of the only feature of the query model, or names
            of those that it takes by name.
        candidate_inputs: likewise of the candidate model.
        temperature: scores are dot products divided by it, positive.

    Raises:
        UserError: an argument does not fit.

    Example:
    ```python
    teacher = TowersTeacher(users, films, "user_id", "movie_title")
    ```
    """

    def __init__(
        self,
        query_model: Callable,
        candidate_model: Callable,
        query_inputs: str | Sequence[str],
        candidate_inputs: str | Sequence[str],
        temperature: float = 1.0,
    ) -> None:
        if temperature <= 0:
            raise UserError(
                "`temperature` should be positive. Received: `temperature` = "
                f"{temperature}."
            )
        self._towers = (
            (query_model, query_inputs),
            (candidate_model, candidate_inputs),
        )
        self._temperature = float(temperature)

    @property
    def kinds(self) -> Mapping[str, str]:
        """See `ModelTeacher.kinds`."""
        return {_TASK: RETRIEVAL}

    def outputs(self, batch: Batch) -> Mapping[str, TaskOutputs]:
        """See `ModelTeacher.outputs`."""
        embedded = []
        for model, inputs in self._towers:
            found = model(pick(batch, inputs))
            if isinstance(found, Mapping):
                found = _only_output(found, "embedding")
            embedded.append(tf.stop_gradient(found))
        outputs = RetrievalOutputs.of_embeddings(*embedded, self._temperature)
        return {_TASK: outputs}


class ScoreTableTeacher(ModelTeacher):
    """A table of scores of another program, by ids.

    For PyTorch models, ALS, LightGBM or a language model. A pair without a
    score does not count.

    Args:
        table: a DataFrame, or the path of a Parquet or CSV file.
        query: name of the column and of the feature of the query's id.
        candidate: name of the column and of the feature of the candidate's
            id.
        score: name of the column of scores.
        kind: "retrieval" for scores of the candidates of a query, "ranking"
            for predictions.
        predicts: see `PredictionTeacher`, for ranking.

    Raises:
        UserError: the table lacks a column, has a pair twice, or a score is
            not finite.

    Example:
    ```python
    teacher = ScoreTableTeacher("scores.parquet", "user_id", "movie_title")
    ```
    """

    def __init__(
        self,
        table: pd.DataFrame | str | os.PathLike,
        query: str,
        candidate: str,
        score: str = "score",
        kind: str = RETRIEVAL,
        predicts: str = "logits",
    ) -> None:
        table = _read_table(table)
        _check_table(table, query, candidate, score)
        self._kind, self._predicts = kind, predicts
        self._features = (query, candidate)
        self._lookups, codes = [], []
        for name in self._features:
            ids = pd.Index(table[name].astype(str).unique())
            codes.append(ids.get_indexer(table[name].astype(str)))
            self._lookups.append(
                tf.keras.layers.StringLookup(
                    vocabulary=ids.tolist(), num_oov_indices=1
                )
            )
        self._scores = _PairScores(
            *codes, table[score].to_numpy(np.float32), *map(_size, codes)
        )

    @property
    def kinds(self) -> Mapping[str, str]:
        """See `ModelTeacher.kinds`."""
        return {_TASK: self._kind}

    def outputs(self, batch: Batch) -> Mapping[str, TaskOutputs]:
        """See `ModelTeacher.outputs`."""
        rows = []
        for lookup, name in zip(self._lookups, self._features, strict=True):
            ids = tf.reshape(pick(batch, name), [-1])
            if ids.dtype != tf.string:
                ids = tf.strings.as_string(ids)
            # The unknown id is 0, and -1 as a row.
            rows.append(tf.cast(lookup(ids), tf.int64) - 1)
        if self._kind == RETRIEVAL:
            scores, known = self._scores(rows[0][:, None], rows[1][None, :])
            return {_TASK: RetrievalOutputs(scores, known=known)}
        found, known = self._scores(*rows)
        logits, is_binary = as_logits(found, self._predicts)
        outputs = RankingOutputs(logits, is_binary, known=known[:, None])
        return {_TASK: outputs}


class _PairScores:
    """Scores of pairs of rows, 0 where there is none, and where one is."""

    def __init__(
        self,
        queries: np.ndarray,
        candidates: np.ndarray,
        scores: np.ndarray,
        num_queries: int,
        num_candidates: int,
    ) -> None:
        self._width = num_candidates
        places = queries.astype(np.int64) * num_candidates + candidates
        self._dense = num_queries * num_candidates <= _DENSE_CELLS
        if self._dense:
            cells = np.full(num_queries * num_candidates, np.nan, np.float32)
            cells[places] = scores
            self._table = tf.constant(cells)
        else:
            self._table = tf.lookup.StaticHashTable(
                tf.lookup.KeyValueTensorInitializer(places, scores), np.nan
            )

    def __call__(
        self, queries: tf.Tensor, candidates: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        known = (queries >= 0) & (candidates >= 0)
        places = tf.where(known, queries * self._width + candidates, 0)
        if self._dense:
            scores = tf.gather(self._table, places)
        else:
            scores = self._table.lookup(places)
        known &= tf.logical_not(tf.math.is_nan(scores))
        return tf.where(known, scores, 0.0), known


def _has_weights(model: tf.keras.Model) -> bool:
    try:
        return bool(model.variables)
    except ValueError:  # Keras: the weights have not yet been created.
        return False


def pick(batch: Batch, names: str | Sequence[str] | None) -> Any:
    """The features of a batch that a model takes.

    Args:
        batch: features by name, or a tuple of these and labels.
        names: one name, or several, or `None` for all features.

    Returns:
        One tensor for one name, else a dict.

    Raises:
        KeyError: the batch lacks a feature.
    """
    features = batch[0] if isinstance(batch, tuple) else batch
    if names is None:
        return features
    if isinstance(names, str):
        return features[names]
    return {name: features[name] for name in names}


def _only_output(outputs: Mapping[str, tf.Tensor], name: str | None) -> Any:
    if name is None and len(outputs) == 1:
        return next(iter(outputs.values()))
    if name not in outputs:
        raise UserError(
            "`output` should be an output of the teacher: "
            f"{', '.join(sorted(outputs))}. Received: `output` = {name!r}."
        )
    return outputs[name]


def _read_table(table: pd.DataFrame | str | os.PathLike) -> pd.DataFrame:
    if isinstance(table, pd.DataFrame):
        return table
    path = Path(table)
    if not path.is_file():
        raise UserError(
            "`table` should be a DataFrame, or a Parquet or CSV file. "
            f"Received: {str(path)!r}, which is no file."
        )
    if path.suffix == ".parquet":
        return pd.read_parquet(path)
    return pd.read_csv(path)


def _check_table(
    table: pd.DataFrame, query: str, candidate: str, score: str
) -> None:
    missing = [n for n in (query, candidate, score) if n not in table]
    if missing:
        raise UserError(
            f"`table` should have the columns {query}, {candidate} and "
            f"{score}. Received: {', '.join(map(str, table.columns))}, "
            f"without {', '.join(missing)}. Name its columns."
        )
    repeated = int(table.duplicated([query, candidate]).sum())
    if repeated:
        raise UserError(
            "`table` should have one score for a pair. Received: "
            f"{repeated} repeated pairs. Drop the duplicates."
        )
    bad = int((~np.isfinite(table[score].to_numpy(np.float64))).sum())
    if bad:
        raise UserError(
            f"`table` should have finite scores. Received: {bad} of "
            f"{len(table)} rows with NaN or infinity. Drop these rows."
        )


def _size(codes: np.ndarray) -> int:
    return int(codes.max(initial=-1)) + 1
