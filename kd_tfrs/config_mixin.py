"""Configurations of Keras objects from the arguments of their constructors."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import tensorflow as tf


class ConfigMixin:
    """`get_config` of objects that keep every argument under its name.

    Arguments that `**kwargs` passes on are those of the base class, which has
    a `get_config` of its own.

    Example:
    ```python
    class Scaled(ConfigMixin, tf.keras.layers.Layer):
        def __init__(self, factor: float, **kwargs: object) -> None:
            super().__init__(**kwargs)
            self.factor = factor
    ```
    """

    def get_config(self) -> dict:
        """Arguments of the constructor."""
        parameters = inspect.signature(type(self)).parameters.values()
        own = [p.name for p in parameters if p.kind is not p.VAR_KEYWORD]
        return {
            **super().get_config(),
            **{name: _serialize(getattr(self, name)) for name in own},
        }


def _serialize(value: Any) -> Any:
    """An argument as JSON holds it."""
    if isinstance(value, tf.keras.optimizers.schedules.LearningRateSchedule):
        return tf.keras.optimizers.schedules.serialize(value)
    if isinstance(value, tf.keras.losses.Loss):
        return tf.keras.losses.serialize(value)
    if isinstance(value, tf.keras.optimizers.legacy.Optimizer):
        return tf.keras.optimizers.serialize(value)
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, tf.RaggedTensor):
        return value.to_list()
    return list(value) if isinstance(value, tuple) else value
