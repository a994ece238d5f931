"""Teachers of TFRS models: outputs by task for the features of a batch."""

from __future__ import annotations

import abc
from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from kd_tfrs.distillation.tfrs_models.outputs import (
    TaskOutputs,
    outputs_of_calls,
    task_kind,
)
from kd_tfrs.distillation.tfrs_models.task_calls import (
    find_tasks,
    record_tasks,
)
from kd_tfrs.errors import UserError

Batch = Any


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
        UserError: the model has no TFRS task.

    Example:
    ```python
    kd.Distiller(TfrsTeacher(model), student, kd.SoftTargets(2.0))
    ```
    """

    def __init__(self, model: tf.keras.Model) -> None:
        self.model = model
        self._kinds = task_kinds("teacher", model)

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
