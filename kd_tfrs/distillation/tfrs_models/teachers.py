"""Teachers of TFRS models: outputs by task for the features of a batch."""

from __future__ import annotations

import abc
from collections.abc import Callable, Mapping, Sequence
from typing import Any

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
TASK = "task"


class ModelTeacher(abc.ABC):
    """Base of the teachers of TFRS models.

    A teacher is never trained and no gradient reaches it.

    Attributes:
        checkpointed: modules of the teacher that a checkpoint has to hold.
        teachers: members of an ensemble.
    """

    checkpointed: tuple[tf.Module, ...] = ()
    teachers: tuple[ModelTeacher, ...] = ()

    def __repr__(self) -> str:
        kinds = ", ".join(f"{n}: {k}" for n, k in self.kinds.items())
        return f"{type(self).__name__}({kinds})"

    @property
    @abc.abstractmethod
    def kinds(self) -> Mapping[str, str]:
        """The kind, "retrieval" or "ranking", by the name of the task."""

    @abc.abstractmethod
    def outputs(self, batch: Batch) -> Mapping[str, TaskOutputs]:
        """The outputs for a batch of the student's dataset, by task."""

    def check_ids(self, batch: Batch) -> None:
        """Checks that the teacher knows ids of the data; the default nothing.

        Args:
            batch: of the student's dataset.

        Raises:
            UserError: it knows none.
        """
        del batch


class TfrsTeacher(ModelTeacher):
    """A `tfrs.Model` as a teacher, unchanged.

    Args:
        model: a trained model.
        label: name of the feature that the model takes as the label, where
            the dataset has `(features, labels)`.

    Raises:
        UserError: the model has no TFRS task, or no finite weights yet.

    Example:
    ```python
    kd.Distiller(TfrsTeacher(model), student, kd.SoftTargets(2.0))
    ```
    """

    def __init__(self, model: tf.keras.Model, label: str | None = None) -> None:
        self._kinds = task_kinds("teacher", model)
        if not _has_weights(model):
            raise UserError(
                "`teacher` should be trained. Received: "
                f"{type(model).__name__} without weights, which has never "
                "been called. Train it, or load its weights, first."
            )
        check_weights(model)
        self.model = model
        self._label = label

    @property
    def kinds(self) -> Mapping[str, str]:
        """See `ModelTeacher.kinds`."""
        return self._kinds

    def outputs(self, batch: Batch) -> Mapping[str, TaskOutputs]:
        """See `ModelTeacher.outputs`."""
        if self._label is not None and isinstance(batch, tuple):
            batch = {**batch[0], self._label: batch[1]}
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
                f"`model` should be callable. Received: {model!r}. Load a "
                "file by `load_model_file`."
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
        return {TASK: RANKING}

    def outputs(self, batch: Batch) -> Mapping[str, TaskOutputs]:
        """See `ModelTeacher.outputs`."""
        found = self._model(pick(batch, self._inputs))
        if isinstance(found, Mapping):
            found = _only_output(found, self._output)
        logits, is_binary = as_logits(found, self._predicts)
        return {TASK: RankingOutputs(tf.stop_gradient(logits), is_binary)}


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
        for name, model in (
            ("query_model", query_model),
            ("candidate_model", candidate_model),
        ):
            if not callable(model):
                raise UserError(
                    f"`{name}` should be callable. Received: {model!r}. Load "
                    "a file by `load_model_file`."
                )
        self._towers = (
            (query_model, query_inputs),
            (candidate_model, candidate_inputs),
        )
        self._temperature = float(temperature)

    @property
    def kinds(self) -> Mapping[str, str]:
        """See `ModelTeacher.kinds`."""
        return {TASK: RETRIEVAL}

    def outputs(self, batch: Batch) -> Mapping[str, TaskOutputs]:
        """See `ModelTeacher.outputs`."""
        embedded = []
        for model, inputs in self._towers:
            found = model(pick(batch, inputs))
            if isinstance(found, Mapping):
                found = _only_output(found, "embedding")
            embedded.append(tf.stop_gradient(found))
        widths = [x.shape[-1] for x in embedded]
        if widths[0] != widths[1]:
            raise UserError(
                "Query and candidate embeddings should have one width. "
                f"Received: {widths[0]} and {widths[1]}. Give both models of "
                "one teacher."
            )
        outputs = RetrievalOutputs.of_embeddings(*embedded, self._temperature)
        return {TASK: outputs}


def check_weights(model: tf.keras.Model) -> None:
    """Checks that the weights of a teacher are finite.

    Args:
        model: with weights.

    Raises:
        UserError: one is NaN or infinite.
    """
    for weight in model.trainable_variables:
        if not bool(tf.reduce_all(tf.math.is_finite(weight))):
            raise UserError(
                "`teacher` should have finite weights. Received: NaN or "
                f"infinity in {weight.name}. Load the weights of a trained "
                "teacher."
            )


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
