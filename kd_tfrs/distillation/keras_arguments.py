"""Arguments of Keras's own distillers, and what stands for them here."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from kd_tfrs.errors import UserError

_RENAMED = {
    "loss": "Distiller(teacher, student, losses); a tfrs.Model has its own",
    "alpha": "Distiller(..., student_loss_weight=alpha)",
    "temperature": "Distiller(teacher, student, SoftTargets(temperature))",
    "student_loss_fn": "the loss into the `compute_loss` of the student",
    "distillation_loss_fn": "Distiller(teacher, student, SoftTargets())",
    "loss_weights": "Distiller(..., distillation_loss_weights=weights)",
}


def refuse_renamed(options: dict[str, Any]) -> None:
    """Takes the arguments that have another place here out of `options`.

    Args:
        options: of `compile`, by name.

    Raises:
        UserError: one of them is given.
    """
    for name, remedy in _RENAMED.items():
        value = options.pop(name, None)
        if value is not None:
            raise UserError(
                f"`compile` of a distiller should have no `{name}`. Received: "
                f"`{name}` = {value!r}. Write {remedy}."
            )


def check_arguments(kind: type, options: Mapping[str, Any]) -> None:
    """Checks the names of the arguments of a distiller.

    Args:
        kind: class of the distiller.
        options: arguments by name.

    Raises:
        UserError: there is no such argument.
    """
    names = list(inspect.signature(kind.__init__).parameters)[1:]
    for name in options:
        if name not in names:
            remedy = _RENAMED.get(name, f"one of {', '.join(names)}")
            raise UserError(
                f"A {kind.__name__} should have no argument `{name}`. "
                f"Received: `{name}` = {options[name]!r}. Write {remedy}."
            )


def scaled_for(student: tf.keras.Model, optimizer: Any) -> Any:
    """An optimizer that scales the losses of a student of float16.

    Keras wraps the optimizer where the distiller itself has such a policy;
    here the layers of the student count.

    Args:
        student: the trained model.
        optimizer: as `compile` takes it.

    Returns:
        The optimizer, in a `LossScaleOptimizer` where a layer computes in
        float16.
    """
    layers = student._flatten_layers()
    scaling = tf.keras.mixed_precision.LossScaleOptimizer
    if not any(layer.compute_dtype == "float16" for layer in layers):
        return optimizer
    if isinstance(optimizer, scaling):
        return optimizer
    return scaling(tf.keras.optimizers.get(optimizer))
