"""The calls of TFRS tasks in a model's `compute_loss`."""

from __future__ import annotations

import contextlib
import dataclasses
import inspect
from collections.abc import Iterator, Mapping
from typing import Any

import tensorflow as tf
import tensorflow_recommenders as tfrs

from kd_tfrs.errors import UserError


@dataclasses.dataclass(frozen=True)
class TaskCall:
    """One call of a `tfrs.tasks` layer, with its arguments by name.

    Args:
        task: the layer.
        arguments: of its `call`, defaults included.
    """

    task: tf.keras.layers.Layer
    arguments: Mapping[str, Any]


@contextlib.contextmanager
def record_tasks(
    model: tf.keras.Model, compute_losses: bool = True
) -> Iterator[dict[str, TaskCall]]:
    """Records the calls of a model's TFRS tasks.

    A `tfrs.Model` passes embeddings and predictions to its tasks and returns
    only a loss. Within the context, the arguments of every task are recorded,
    so that one `compute_loss` gives the loss and the outputs. The model is as
    before when the context ends.

    Args:
        model: a model whose tasks are attributes of it or of its layers.
        compute_losses: whether the tasks compute their losses and update
            their metrics. If false, their losses are 0.

    Yields:
        The calls by the name of the task, see `find_tasks`; filled by
        `compute_loss`.

    Example:
    ```python
    with record_tasks(model) as calls:
        loss = model.compute_loss(features, training=True)
    embeddings = calls["task"].arguments["query_embeddings"]
    ```
    """
    calls: dict[str, TaskCall] = {}
    tasks = find_tasks(model)
    for name, task in tasks.items():
        # In the instance's dict: Keras does not track it as an attribute.
        vars(task)["call"] = _recording(name, task, calls, compute_losses)
    try:
        yield calls
    finally:
        for task in tasks.values():
            del vars(task)["call"]


def find_tasks(model: tf.keras.Model) -> dict[str, tf.keras.layers.Layer]:
    """The TFRS tasks of a model.

    Args:
        model: any Keras model.

    Returns:
        Tasks by the name of the attribute that holds them, without leading
        underscores. The tasks of its layers, by the name of the task, if the
        model itself has none.
    """
    own = {
        name.lstrip("_"): value
        for name, value in vars(model).items()
        if isinstance(value, tfrs.tasks.Task)
    }
    return own or {
        layer.name: layer
        for layer in model._flatten_layers(include_self=False)
        if isinstance(layer, tfrs.tasks.Task)
    }


def _recording(
    name: str,
    task: tf.keras.layers.Layer,
    calls: dict[str, TaskCall],
    compute_losses: bool,
) -> Any:
    original = task.call
    signature = inspect.signature(original)

    def call(*args: Any, **kwargs: Any) -> tf.Tensor:
        if name in calls:
            raise UserError(
                f"The task `{name}` should be called once in `compute_loss`. "
                "Received: a second call. Make one task for each call."
            )
        bound = signature.bind(*args, **kwargs)
        bound.apply_defaults()
        calls[name] = TaskCall(task, bound.arguments)
        if not compute_losses:
            return tf.constant(0.0)
        return original(*args, **kwargs)

    return call
