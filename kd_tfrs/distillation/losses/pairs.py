"""Helpers of the losses between pairs of rows."""

from __future__ import annotations

import tensorflow as tf

# Of the larger squared length: what cancellation leaves of a distance of 0.
_RELATIVE_ZERO = 1e-6


def counted(weight: tf.Tensor) -> tf.Tensor:
    """1 for a row that counts, 0 for one that does not.

    Args:
        weight: `[rows]`.

    Returns:
        `[rows]` float32.
    """
    return tf.cast(weight > 0, tf.float32)


def partners(weight: tf.Tensor) -> tf.Tensor:
    """1 for pairs of two different rows, the second of which counts.

    Args:
        weight: `[rows]`.

    Returns:
        `[rows, rows]` float32.
    """
    count = counted(weight)
    return count - tf.linalg.diag(count)


def mean_over_partners(values: tf.Tensor, pairs: tf.Tensor) -> tf.Tensor:
    """Every row's mean over its partners; 0 without any.

    Args:
        values: `[rows, rows]`, finite.
        pairs: `[rows, rows]`, 1 where a pair counts, else 0.

    Returns:
        `[rows]`.
    """
    return tf.math.divide_no_nan(
        tf.reduce_sum(values * pairs, axis=1), tf.reduce_sum(pairs, axis=1)
    )


def distances(features: tf.Tensor, weight: tf.Tensor) -> tf.Tensor:
    """Euclidean distances of all pairs, with a gradient of 0 at 0.

    Args:
        features: `[rows, width]`.
        weight: `[rows]`, 0 where a row does not count.

    Returns:
        `[rows, rows]`.
    """
    # Distances do not see a shift, but the cancellation below does.
    count = counted(weight)
    middle = tf.math.divide_no_nan(
        tf.linalg.matvec(features, count, transpose_a=True),
        tf.reduce_sum(count),
    )
    features = features - tf.stop_gradient(middle)
    length = tf.reduce_sum(tf.square(features), axis=1)
    lengths = length[:, tf.newaxis] + length
    squared = lengths - 2.0 * tf.matmul(features, features, transpose_b=True)
    equal = squared <= _RELATIVE_ZERO * lengths  # False of NaN.
    # `where` twice: the root's infinite slope at 0 must not reach the product.
    return tf.where(equal, 0.0, tf.sqrt(tf.where(equal, 1.0, squared)))


def first_counted(weight: tf.Tensor, most: tf.Tensor | int) -> tf.Tensor:
    """Places of the first rows that count, and of others if these are few.

    Args:
        weight: `[rows]`.
        most: as many rows at most.

    Returns:
        `[min(rows, most)]` int32 places.
    """
    size = tf.minimum(most, tf.size(weight))
    # Among equal values, the first come first.
    return tf.math.top_k(counted(weight), size).indices


def spread(
    losses: tf.Tensor, places: tf.Tensor, weight: tf.Tensor
) -> tf.Tensor:
    """Losses of some rows, scaled to stand for all in the weighted mean.

    Args:
        losses: `[some]`.
        places: `[some]` int32, where they stand.
        weight: `[rows]`.

    Returns:
        `[rows]`, 0 elsewhere.
    """
    picked = tf.reduce_sum(tf.gather(weight, places))
    scale = tf.math.divide_no_nan(tf.reduce_sum(weight), picked)
    return tf.tensor_scatter_nd_update(
        tf.zeros_like(weight), places[:, tf.newaxis], losses * scale
    )
