"""Temperatures and weights that change with the step."""

from __future__ import annotations

import math
import numbers

import tensorflow as tf

from kd_tfrs.errors import UserError

# Keras's own schedules serve: PolynomialDecay, CosineDecay, ...
Schedule = tf.keras.optimizers.schedules.LearningRateSchedule
Scheduled = float | Schedule


def value_at(value: Scheduled, step: tf.Tensor | int) -> tf.Tensor:
    """The value of a number or a schedule at a training step.

    Args:
        value: a number, or any Keras schedule.
        step: training step, counted from 0.

    Returns:
        A float32 scalar.

    Example:
    >>> decay = tf.keras.optimizers.schedules.PolynomialDecay(4.0, 10, 1.0)
    >>> float(value_at(decay, 10))
    1.0
    """
    if isinstance(value, Schedule):
        return tf.cast(value(tf.cast(step, tf.float32)), tf.float32)
    return tf.constant(value, tf.float32)


def check_scheduled(name: str, value: Scheduled, minimum: float) -> Scheduled:
    """Checks a number or a schedule's kind; a schedule's values are its own.

    Args:
        name: of the argument, for the error.
        value: a number or a schedule.
        minimum: least number allowed.

    Returns:
        `value`.

    Raises:
        UserError: the number is out of range, or neither one nor the other.
    """
    if isinstance(value, Schedule):
        return value
    good = isinstance(value, numbers.Real) and math.isfinite(value)
    if not good or value < minimum:
        raise UserError(
            f"`{name}` should be a number of at least {minimum:g} or a Keras "
            f"learning-rate schedule. Received: `{name}` = {value!r}. Give "
            "such a number."
        )
    return float(value)


def serialize(value: Scheduled) -> float | dict:
    """What `get_config` keeps of a number or a schedule."""
    if isinstance(value, Schedule):
        return tf.keras.optimizers.schedules.serialize(value)
    return value


def deserialize(value: float | dict | Schedule) -> Scheduled:
    """The inverse of `serialize`."""
    if isinstance(value, dict):
        return tf.keras.optimizers.schedules.deserialize(value)
    return value
