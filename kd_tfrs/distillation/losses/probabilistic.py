"""Probabilistic knowledge transfer: the neighbours of every row."""

from __future__ import annotations

import tensorflow as tf

from kd_tfrs.distillation.losses.feature_base import FeatureLoss
from kd_tfrs.distillation.losses.inputs import LossInputs
from kd_tfrs.distillation.losses.pairs import partners
from kd_tfrs.distillation.losses.projection import unit_length

_NEVER = 1e-7


@tf.keras.utils.register_keras_serializable("kd_tfrs")
class ProbabilisticTransfer(FeatureLoss):
    r"""KL between the distributions of every row's neighbours (PKT).

    $$l_i = \sum_{j \ne i} p^t_{ij} \log \frac{p^t_{ij}}{p^s_{ij}}, \quad
    p_{ij} = \frac{k(h_i, h_j)}{\sum_{m \ne i} k(h_i, h_m)}, \quad
    k(a, b) = (\cos(a, b) + 1) / 2$$

    with kernel values of at least $10^{-7}$. Widths may differ. The authors'
    code counts a row among its own neighbours and takes the mean over pairs;
    this is the paper's form.

    Args:
        **options: `reduction` and `name`, see `WeightedLoss`.

    Example:
    >>> loss = ProbabilisticTransfer()
    >>> t = tf.constant([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    >>> float(loss(t, 2.0 * t))
    0.0

    References:
        Passalis and Tefas 2018, "Learning Deep Representations with
        Probabilistic Knowledge Transfer", section 3, eq. 4 to 8.
    """

    def per_row(self, inputs: LossInputs) -> tf.Tensor:
        """See `FeatureLoss.per_row`."""
        teacher, student = inputs[:2]
        weight = inputs.weight
        pairs = partners(weight)
        p, log_p = _neighbours(teacher, pairs)
        _, log_q = _neighbours(student, pairs)
        return tf.reduce_sum(p * (log_p - log_q), axis=1)


def _neighbours(
    features: tf.Tensor, pairs: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    unit = unit_length(features)
    cosine = tf.matmul(unit, unit, transpose_b=True)
    kernel = tf.maximum(0.5 * (cosine + 1.0), _NEVER)
    total = tf.reduce_sum(kernel * pairs, axis=1, keepdims=True)
    total = tf.where(total > 0.0, total, 1.0)
    return pairs * kernel / total, tf.math.log(kernel) - tf.math.log(total)
