"""Similarity-preserving distillation: similarity matrices of a batch."""

from __future__ import annotations

import tensorflow as tf

from kd_tfrs.distillation.losses.feature_base import FeatureLoss
from kd_tfrs.distillation.losses.inputs import LossInputs
from kd_tfrs.distillation.losses.pairs import counted


@tf.keras.utils.register_keras_serializable("kd_tfrs")
class SimilarityPreserving(FeatureLoss):
    r"""Squared difference of row-normalised similarity matrices.

    $$l_i = \frac{1}{n} \sum_j \Big( \frac{G^t_{ij}}{\|G^t_i\|} -
    \frac{G^s_{ij}}{\|G^s_i\|} \Big)^2, \quad
    G_{ij} = \langle h_i, h_j \rangle$$

    so that the mean is the paper's $\|\tilde G^t - \tilde G^s\|_F^2 / n^2$.
    The matrices themselves are never made: work grows with rows times squared
    width. Widths may differ.

    Args:
        **options: `reduction` and `name`, see `WeightedLoss`.

    Example:
    >>> loss = SimilarityPreserving()
    >>> float(loss([[1.0, 0.0], [0.0, 1.0]], [[1.0, 0.0], [0.0, 2.0]]))
    0.0

    References:
        Tung and Mori 2019, "Similarity-Preserving Knowledge Distillation",
        section 3.1, eq. 1 to 4.
    """

    def per_row(self, inputs: LossInputs) -> tf.Tensor:
        """See `FeatureLoss.per_row`."""
        teacher, student = inputs[:2]
        weight = inputs.weight
        count = counted(weight)

        def products(left: tf.Tensor, right: tf.Tensor) -> tf.Tensor:
            # sum_j (l_i . l_j)(r_i . r_j) = l_i^T (sum_j l_j r_j^T) r_i
            inner = tf.matmul(
                left * count[:, tf.newaxis], right, transpose_a=True
            )
            return tf.reduce_sum(tf.matmul(left, inner) * right, axis=1)

        length_t, there_t = _root(products(teacher, teacher))
        length_s, there_s = _root(products(student, student))
        cosine = products(teacher, student) / length_t / length_s
        # Rows of length 1, or 0: |a - b|^2 = |a|^2 + |b|^2 - 2 a . b.
        total = there_t + there_s - 2.0 * there_t * there_s * cosine
        return tf.math.divide_no_nan(total, tf.reduce_sum(count))


def _root(squared: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Lengths, 1 in place of 0, and 1 where there is one."""
    there = squared > 0.0
    return tf.sqrt(tf.where(there, squared, 1.0)), tf.cast(there, tf.float32)
