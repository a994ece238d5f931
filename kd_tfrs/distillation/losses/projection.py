"""Learned projections of the losses between features."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import tensorflow as tf

from kd_tfrs.distillation.losses.checks import check_count
from kd_tfrs.errors import UserError


def projection(
    input_width: int,
    output_width: int,
    hidden_units: Sequence[int] = (),
    name: str = "projection",
) -> tf.keras.Sequential:
    """A built perceptron, linear without hidden units.

    Example:
    >>> projection(4, 8)(tf.zeros([3, 4])).shape
    TensorShape([3, 8])
    """
    # Losses compute in float32, whatever the student's precision.
    dense = functools.partial(tf.keras.layers.Dense, dtype=tf.float32)
    layers = [dense(units, activation="relu") for units in hidden_units]
    inputs = tf.keras.Input((input_width,), dtype=tf.float32)
    return tf.keras.Sequential(
        [inputs, *layers, dense(output_width)], name=name
    )


def unit_length(features: tf.Tensor) -> tf.Tensor:
    """Vectors scaled to length 1; one of zeros stays so, without gradient.

    Args:
        features: `[..., width]`.

    Returns:
        `[..., width]`.
    """
    squared = tf.reduce_sum(tf.square(features), axis=-1, keepdims=True)
    zero = squared == 0.0  # False of NaN, which has to stay NaN.
    # `where` twice: the infinite slope at 0 must not meet a product.
    return tf.where(
        zero, 0.0, features * tf.math.rsqrt(tf.where(zero, 1.0, squared))
    )


def check_units(name: str, values: Sequence[int]) -> tuple[int, ...]:
    """Checks a sequence of widths.

    Args:
        name: of the argument, for the error.
        values: what was given.

    Returns:
        Them, as a tuple.

    Raises:
        UserError: one is no positive integer, or they are no sequence.
    """
    if not isinstance(values, Sequence) or isinstance(values, str):
        raise UserError(
            f"`{name}` should be a sequence of positive integers. Received: "
            f"`{name}` = {values!r}. Give () for a linear projection."
        )
    return tuple(check_count(name, value) for value in values)
