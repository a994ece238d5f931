"""Scores for the metrics that `compile` takes."""

from __future__ import annotations

import tensorflow as tf


def lowest_where(masked: tf.Tensor, scores: tf.Tensor) -> tf.Tensor:
    """Puts masked candidates behind all others of their query.

    Args:
        masked: `[queries, candidates]` bool.
        scores: `[queries, candidates]` floats.

    Returns:
        The scores, finite where they were.

    Example:
    >>> scores = tf.constant([[3.0, 9.0, 1.0]])
    >>> lowest_where(tf.constant([[False, True, False]]), scores).numpy()
    array([[3., 0., 1.]], dtype=float32)
    """
    lowest = tf.reduce_min(scores, axis=1, keepdims=True)
    return tf.where(masked, lowest - 1.0, scores)
