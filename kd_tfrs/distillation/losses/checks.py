"""Checks of the arguments of losses."""

from __future__ import annotations

import math
import numbers

import tensorflow as tf

from kd_tfrs.errors import UserError

Optimizer = tf.keras.optimizers.legacy.Optimizer


def check_number(
    name: str, value: float, minimum: float, maximum: float = math.inf
) -> float:
    """Checks a number's range.

    Args:
        name: of the argument, for the error.
        value: a finite number.
        minimum: least value allowed.
        maximum: greatest value allowed.

    Returns:
        The value as a Python float.

    Raises:
        UserError: the value is no number, or out of range.
    """
    good = isinstance(value, numbers.Real) and math.isfinite(value)
    if good and minimum <= value <= maximum:
        return float(value)
    rule = f"of at least {minimum:g}"
    if math.isfinite(maximum):
        rule = f"between {minimum:g} and {maximum:g}"
    raise UserError(
        f"`{name}` should be a number {rule}. Received: `{name}` = "
        f"{value!r}. Give one in that range."
    )


def check_count(name: str, value: int, minimum: int = 1) -> int:
    """Checks a whole number's range.

    Args:
        name: of the argument, for the error.
        value: a whole number.
        minimum: least value allowed.

    Returns:
        The value as a Python int.

    Raises:
        UserError: the value is no whole number, or too small.
    """
    whole = isinstance(value, numbers.Integral) and not isinstance(value, bool)
    if whole and value >= minimum:
        return int(value)
    raise UserError(
        f"`{name}` should be a whole number of at least {minimum}. Received: "
        f"`{name}` = {value!r}. Give {name} >= {minimum}."
    )


def legacy_optimizer(
    name: str,
    value: Optimizer | dict | None,
    default: Optimizer,
) -> Optimizer:
    """Checks an optimizer of a loss, or makes it of its configuration.

    Args:
        name: of the argument, for the error.
        value: an optimizer, its serialized form, or `None`.
        default: the optimizer for `None`.

    Returns:
        The optimizer.

    Raises:
        UserError: the value is no legacy optimizer.
    """
    if value is None:
        return default
    if isinstance(value, dict):
        return tf.keras.optimizers.deserialize(value, use_legacy_optimizer=True)
    if not isinstance(value, Optimizer):
        raise UserError(
            f"`{name}` should be a tf.keras.optimizers.legacy optimizer. "
            f"Received: {type(value).__name__}."
        )
    return value
