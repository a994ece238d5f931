"""Every stage of a ranker measured the same way: quality and size."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from kd_tfrs.data.ranking.batches import RankingBatches
from kd_tfrs.data.schema import Owner
from kd_tfrs.distillation.ranking import RankingTeacher
from kd_tfrs.evaluation.size import folder_size, parameters
from kd_tfrs.export.ranking.stored_layers import model_bytes, stored_network
from kd_tfrs.export.signature_functions import concrete
from kd_tfrs.export.stored_table import FLOAT32, Storage, StoredTable
from kd_tfrs.models.ranking import RankingModel, RankingTask
from kd_tfrs.workflow.ranking.prepare import RankingPrepared

Logits = dict[str, np.ndarray]
_SEED = 21
# Metrics that get an interval, of each kind of task.
INTERVALS = {"binary": ("auc", "gauc", "log_loss"), "rating": ("rmse", "mae")}


class Scoring:
    """Logits of all tasks for rows in order; the graph is made once.

    Args:
        network: maps a batch to `logits_<task>` `[batch]` by name: a
            `RankingModel`, or a teacher's `outputs`.
        tasks: tasks of the logits.

    Example:
    ```python
    Scoring(model, model.tasks)(prepared.rows("test", names))["liked"]
    ```
    """

    def __init__(
        self, network: Callable[[Any], Mapping], tasks: tuple[RankingTask, ...]
    ) -> None:
        self._outputs = {task.output: task.name for task in tasks}
        logits = selected_outputs(network, list(self._outputs))
        self._logits = tf.function(logits)
        self._ask = None

    def __call__(self, batches: RankingBatches) -> Logits:
        """Scores every row once.

        Args:
            batches: see `RankingPrepared.rows`; of the same features every
                time.

        Returns:
            `[rows]` float32 by task.
        """
        rows = batches.in_order()
        if self._ask is None:
            specs = rows.element_spec["features"]
            self._ask = self._logits.get_concrete_function(specs)
        blocks = [self._ask(batch["features"]) for batch in rows]
        return {
            task: np.concatenate([block[name].numpy() for block in blocks])
            for name, task in self._outputs.items()
        }


def metric_name(prepared: RankingPrepared, task: str, metric: str) -> str:
    """A metric's name in a row: the first task's have no prefix."""
    return metric if task == prepared.task.name else f"{task}/{metric}"


def measure_logits(
    stage: str,
    logits: Logits,
    prepared: RankingPrepared,
    bootstrap: int = 0,
) -> dict[str, Any]:
    """The row of anything that scores the test examples.

    Args:
        stage: name of the row.
        logits: `[test examples]` by task; ratings of that kind of task.
        prepared: for the protocols.
        bootstrap: draws of users for the intervals; 0 for none.

    Returns:
        A row with `stage`, `metrics`, and `intervals` where there are users:
        name to `[low, high]`, 95 %.
    """
    metrics, intervals = {}, {}
    for task in prepared.tasks:
        evaluation, scores = prepared.test[task.name], logits[task.name]
        for name, value in evaluation.evaluate(scores).metrics.items():
            metrics[metric_name(prepared, task.name, name)] = value
        if not bootstrap or prepared.split.test.groups is None:
            continue
        for name in INTERVALS[task.kind]:
            found = evaluation.interval(name, scores, num_resamples=bootstrap)
            key = metric_name(prepared, task.name, name)
            intervals[key] = [found.low, found.high]
    row = {"stage": stage, "metrics": metrics}
    return {**row, "intervals": intervals} if intervals else row


def validate(
    logits: Logits, prepared: RankingPrepared, teacher: Logits | None = None
) -> dict[str, float]:
    """Validation metrics of logits.

    Args:
        logits: `[validation rows]` by task.
        prepared: for the protocols.
        teacher: the same of a teacher: how far the two are apart is
            `distillation_loss`, the mean over tasks of the cross entropy
            with the teacher's probabilities, or of the squared difference of
            ratings.

    Returns:
        Metrics by name; those that are undefined are left out.
    """
    found = {}
    for task in prepared.tasks:
        result = prepared.validation[task.name].evaluate(
            logits[task.name], fast=True
        )
        for name, value in result.metrics.items():
            if value is not None:
                found[metric_name(prepared, task.name, name)] = value
    if teacher is not None:
        apart = [
            _apart(task, logits[task.name], teacher[task.name])
            for task in prepared.tasks
        ]
        found["distillation_loss"] = float(np.mean(apart))
    return found


def _apart(
    task: RankingTask, student: np.ndarray, teacher: np.ndarray
) -> float:
    z, t = np.float64(student), np.float64(teacher)
    if task.kind == "rating":
        return float(np.mean((z - t) ** 2))
    # log(1 + exp(z)) - sigmoid(t) z, stable for any logit.
    probability = np.exp(-np.logaddexp(0.0, -t))
    return float(np.mean(np.logaddexp(0.0, z) - probability * z))


def request(
    prepared: RankingPrepared,
    names: tuple[str, ...],
    count: int,
    seed: int = 0,
) -> dict[str, np.ndarray]:
    """Encoded features of one user's candidates.

    Args:
        prepared: for the test examples, of which one gives the user and what
            is known of the event, and random ones the items.
        names: of the features.
        count: candidates.
        seed: which user and which candidates.

    Returns:
        `[count, ...]` by name.
    """
    rng = np.random.default_rng(_SEED + seed)
    total = len(prepared.split.test)
    items = rng.integers(total, size=count)
    user = np.full(count, rng.integers(total))
    return {
        name: prepared.tables["test"][name][
            items if prepared.owners[name] is Owner.ITEM else user
        ]
        for name in names
    }


def measure_student(
    model: RankingModel, storage: Storage = FLOAT32
) -> dict[str, Any]:
    """Parameters and bytes of one network.

    Args:
        model: trained.
        storage: how its kernels and embeddings are stored.

    Returns:
        A part of a row: parameters, bytes of the weights as they are stored,
        and sizes of a SavedModel on encoded features.
    """
    network, tables = stored_network(model.network, storage)
    return {
        **parameters(model_weights(model)),
        "model_bytes": model_bytes(model.network, storage),
        **saved_size(serving(model.with_networks(network)), tables),
    }


def measure_teacher(
    teacher: RankingTeacher, models: Sequence[RankingModel]
) -> dict[str, Any]:
    """Parameters and bytes of one network or several that teach.

    Args:
        teacher: all of them together.
        models: its members.

    Returns:
        As `measure_student`, and `model_bytes_int8`: the bytes if all its
        kernels and embeddings had 8 bits.
    """
    gates = 4 * sum(w.size for w in _gate_weights(teacher))

    def stored(storage: Storage) -> int:
        networks = (model.network for model in models)
        return gates + sum(model_bytes(n, storage) for n in networks)

    return {
        **parameters(teacher_weights(teacher, list(models))),
        "model_bytes": stored(FLOAT32),
        "model_bytes_int8": stored(Storage(int8=True)),
        **saved_size(serving_teacher(teacher, models)),
    }


def serving(
    model: RankingModel, specs: Mapping[str, tf.TensorSpec] | None = None
) -> tf.types.experimental.ConcreteFunction:
    """Logits of a network on encoded features.

    Args:
        model: trained.
        specs: of the function's inputs, by name; those of the network when
            `None`.

    Returns:
        What `tf.saved_model.save` takes.
    """
    specs = specs or input_specs([model])
    return _serving(model, [task.output for task in model.tasks], specs)


def serving_teacher(
    teacher: RankingTeacher,
    models: Sequence[RankingModel],
    specs: Mapping[str, tf.TensorSpec] | None = None,
) -> tf.types.experimental.ConcreteFunction:
    """The same of all networks that teach, together."""
    outputs = [task.output for task in models[0].tasks]
    return _serving(teacher.outputs, outputs, specs or input_specs(models))


def input_specs(
    models: Sequence[RankingModel],
) -> dict[str, tf.TensorSpec]:
    """Types and shapes of the encoded features of networks, by name."""
    return {
        name: tf.TensorSpec([None, *x.shape[1:]], x.dtype)
        for model in models
        for name, x in model.network.input.items()
    }


def _serving(
    network: Callable[[Any], Mapping],
    outputs: list[str],
    specs: Mapping[str, tf.TensorSpec],
) -> tf.types.experimental.ConcreteFunction:
    return concrete(selected_outputs(network, outputs), specs)


def selected_outputs(
    network: Callable[[Any], Mapping], outputs: Sequence[str]
) -> Callable[[Mapping[str, tf.Tensor]], dict[str, tf.Tensor]]:
    """A function from encoded features to some outputs of a network."""

    def select(features: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        found = network({"features": features})
        return {name: found[name] for name in outputs}

    return select


def model_weights(model: RankingModel) -> list[np.ndarray]:
    """What is trained in a model."""
    return [w.numpy() for w in model.network.trainable_weights]


def teacher_weights(
    teacher: RankingTeacher, models: list[RankingModel]
) -> list[np.ndarray]:
    """What is trained in a teacher: its networks, and its gate if any."""
    weights = [w for model in models for w in model_weights(model)]
    return weights + _gate_weights(teacher)


def _gate_weights(teacher: RankingTeacher) -> list[np.ndarray]:
    return [
        w.numpy() for x in teacher.checkpointed for w in x.trainable_weights
    ]


def save_serving(
    serve: tf.types.experimental.ConcreteFunction,
    folder: str | Path,
    tables: Sequence[StoredTable] = (),
) -> Path:
    """Writes a SavedModel of one function."""
    module = tf.Module()
    # Whatever the function reads has to be saved with it.
    module.read = [*serve.variables, *tables]
    tf.saved_model.save(module, str(folder), signatures=serve)
    return Path(folder)


def saved_size(
    serve: tf.types.experimental.ConcreteFunction,
    tables: Sequence[StoredTable] = (),
) -> dict[str, int]:
    """Bytes of the SavedModel of one function."""
    with tempfile.TemporaryDirectory() as folder:
        return folder_size(save_serving(serve, folder, tables))
