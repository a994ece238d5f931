"""Relational distillation: distances and angles between features."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from kd_tfrs.distillation.losses.checks import check_count
from kd_tfrs.distillation.losses.feature_base import FeatureLoss
from kd_tfrs.distillation.losses.inputs import LossInputs
from kd_tfrs.distillation.losses.pairs import (
    counted,
    distances,
    first_counted,
    mean_over_partners,
    partners,
    spread,
)
from kd_tfrs.distillation.losses.projection import unit_length


@tf.keras.utils.register_keras_serializable("kd_tfrs")
class RelationalDistance(FeatureLoss):
    r"""Huber difference of normalised distances between pairs.

    $$l_i = \frac{1}{n - 1} \sum_{j \ne i} H(\psi(h^t_i, h^t_j),
    \psi(h^s_i, h^s_j)), \quad
    \psi(a, b) = \|a - b\| / \mu$$

    where $\mu$ is the mean distance of all pairs of different rows, and
    $H(x, y)$ is $(x - y)^2 / 2$ up to a difference of 1, and the difference
    less 1/2 beyond it. It needs no projection: widths may differ. Pairs are
    taken among the first `num_anchors` rows that count, whose loss is scaled
    to stand for all.

    Args:
        num_anchors: at most as many rows form pairs; work grows with its
            square.
        **options: `reduction` and `name`, see `WeightedLoss`.

    Raises:
        UserError: `num_anchors` is not positive.

    Example:
    >>> loss = RelationalDistance()
    >>> float(loss([[0.0], [1.0], [3.0]], [[0.0], [2.0], [6.0]]))
    0.0

    References:
        Park et al. 2019, "Relational Knowledge Distillation", section 3.2.1,
        eq. 5 to 8.
    """

    def __init__(self, num_anchors: int = 1024, **options: Any) -> None:
        super().__init__(**options)
        self.num_anchors = check_count("num_anchors", num_anchors)

    def per_row(self, inputs: LossInputs) -> tf.Tensor:
        """See `FeatureLoss.per_row`."""
        teacher, student = inputs[:2]
        weight = inputs.weight
        anchors = first_counted(weight, self.num_anchors)
        picked = tf.gather(weight, anchors)
        pairs = partners(picked)
        difference = _relative_distances(
            tf.gather(teacher, anchors), picked, pairs
        ) - _relative_distances(tf.gather(student, anchors), picked, pairs)
        losses = mean_over_partners(_huber(difference), pairs)
        return spread(losses, anchors, weight)


@tf.keras.utils.register_keras_serializable("kd_tfrs")
class RelationalAngle(FeatureLoss):
    r"""Huber difference of the angles that triples of rows form.

    $$l_j = \mathrm{mean}_{i, k} \, H(\cos \angle h^t_i h^t_j h^t_k,
    \cos \angle h^s_i h^s_j h^s_k)$$

    over all $i, j, k$ that differ, with $H$ as in `RelationalDistance`.
    Triples are many, so that they are taken among the first `num_anchors`
    rows that count, whose loss is scaled to stand for all.

    Args:
        num_anchors: at most as many rows form triples; work grows with its
            cube.
        **options: `reduction` and `name`, see `WeightedLoss`.

    Raises:
        UserError: `num_anchors` is not positive.

    Example:
    >>> loss = RelationalAngle()
    >>> t = tf.constant([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    >>> abs(float(loss(t, 3.0 * t))) < 1e-6
    True

    References:
        Park et al. 2019, "Relational Knowledge Distillation", section 3.2.2,
        eq. 9 and 10.
    """

    def __init__(self, num_anchors: int = 64, **options: Any) -> None:
        super().__init__(**options)
        self.num_anchors = check_count("num_anchors", num_anchors)

    def per_row(self, inputs: LossInputs) -> tf.Tensor:
        """See `FeatureLoss.per_row`."""
        teacher, student = inputs[:2]
        weight = inputs.weight
        anchors = first_counted(weight, self.num_anchors)
        pairs = partners(tf.gather(weight, anchors))
        # From a vertex, all pairs of others that differ and count.
        triples = pairs[:, tf.newaxis, :] * pairs[:, :, tf.newaxis]
        triples *= 1.0 - tf.eye(tf.size(anchors))
        difference = _angles(tf.gather(teacher, anchors)) - _angles(
            tf.gather(student, anchors)
        )
        losses = tf.math.divide_no_nan(
            tf.reduce_sum(_huber(difference) * triples, axis=[1, 2]),
            tf.reduce_sum(triples, axis=[1, 2]),
        )
        return spread(losses, anchors, weight)


def _huber(difference: tf.Tensor) -> tf.Tensor:
    size = tf.abs(difference)
    return tf.where(size <= 1.0, 0.5 * tf.square(difference), size - 0.5)


def _relative_distances(
    features: tf.Tensor, weight: tf.Tensor, pairs: tf.Tensor
) -> tf.Tensor:
    apart = distances(features, weight)
    both = pairs * counted(weight)[:, tf.newaxis]
    mean = tf.math.divide_no_nan(
        tf.reduce_sum(apart * both), tf.reduce_sum(both)
    )
    return tf.math.divide_no_nan(apart, mean)


def _angles(features: tf.Tensor) -> tf.Tensor:
    """Cosines at every vertex j, `[j, i, k]`."""
    edges = unit_length(features - features[:, tf.newaxis])
    return tf.matmul(edges, edges, transpose_b=True)
