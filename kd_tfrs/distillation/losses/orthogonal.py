"""Hints through an orthogonal projection, to standardised teacher features."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from kd_tfrs.distillation.losses.checks import check_count
from kd_tfrs.distillation.losses.feature_base import FeatureLoss
from kd_tfrs.distillation.losses.inputs import LossInputs

_VARIANCE_EPSILON = 1e-5  # That of the authors' layer normalisation.


@tf.keras.utils.register_keras_serializable("kd_tfrs")
class OrthogonalProjection(tf.keras.layers.Layer):
    r"""A linear map $x \mapsto x Q$ with orthonormal rows or columns.

    $Q$ is the orthogonal factor of the QR decomposition of the layer's
    kernel, with a positive diagonal of the other factor. Rows of $Q$ are
    orthonormal where the output is at least as wide as the input, which keeps
    every dot product and distance; columns are, where it is narrower.

    Args:
        output_width: width of the output, at least 1.
        **options: of a Keras layer.

    Raises:
        UserError: `output_width` is no positive integer.

    Example:
    >>> project = OrthogonalProjection(8)
    >>> round(float(tf.norm(project([[3.0, 4.0]]))), 4)
    5.0
    """

    def __init__(self, output_width: int, **options: Any) -> None:
        super().__init__(**options)
        self.output_width = check_count("output_width", output_width)

    def build(self, input_shape: tf.TensorShape) -> None:
        """Creates the kernel, orthogonal at the start."""
        narrow, wide = sorted((int(input_shape[-1]), self.output_width))
        self.widens = narrow == int(input_shape[-1])
        self.kernel = self.add_weight(
            "kernel", [wide, narrow], initializer="orthogonal"
        )
        super().build(input_shape)

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """The projected features.

        Args:
            inputs: `[rows, input_width]`.

        Returns:
            `[rows, output_width]`.
        """
        return tf.matmul(inputs, self.orthogonal(), transpose_b=self.widens)

    def orthogonal(self) -> tf.Tensor:
        """The orthogonal factor, `[wide, narrow]`, with orthonormal columns."""
        q, r = tf.linalg.qr(self.kernel)
        # Without it the decomposition is unique up to signs alone.
        return q * tf.where(tf.linalg.diag_part(r) < 0.0, -1.0, 1.0)

    def get_config(self) -> dict[str, Any]:
        """See `tf.keras.layers.Layer.get_config`."""
        return {**super().get_config(), "output_width": self.output_width}


@tf.keras.utils.register_keras_serializable("kd_tfrs")
class OrthogonalHint(FeatureLoss):
    r"""Smooth L1 distance of the rotated student from the teacher (VkD).

    $$l_i = \frac{1}{d} \sum_{j=1}^{d} \rho \Big( (h^s_i Q)_j -
    \frac{h^t_{ij} - m_i}{\sqrt{v_i + 10^{-5}}} \Big), \quad
    \rho(x) = \begin{cases} x^2 / 2 & |x| < 1 \\ |x| - 1/2 & \text{else}
    \end{cases}$$

    with mean $m_i$ and variance $v_i$ of the $d$ teacher features of row $i$,
    and a projection $Q$ with orthonormal rows that is trained with the
    student and thrown away after it. A free projection, as that of `Hint`,
    can learn the teacher's space in the place of the student. An orthogonal
    one keeps the dot products of the student, so that what it matches is the
    student's own geometry. For a teacher narrower than the student, columns
    are orthonormal, and what they leave out is free.

    The standardisation takes the length of a teacher's embedding away. The
    authors parametrise $Q$ by products of Householder reflections, here it is
    the QR factor of a kernel: the set of matrices is the same.

    Args:
        **options: `reduction` and `name`, see `WeightedLoss`.

    Example:
    >>> loss = OrthogonalHint()
    >>> loss([[1.0, 2.0, 3.0]], [[1.0, 2.0]]).shape
    TensorShape([])

    References:
        Miles, Elezi and Deng 2024, "VkD: Improving Knowledge Distillation
        using Orthogonal Projections", and the authors' code for
        classification; their feature whitening for image generation is left
        out.
    """

    def build(self, teacher_width: int, student_width: int) -> None:
        """See `FeatureLoss.build`."""
        self.projection = OrthogonalProjection(
            teacher_width, dtype="float32", name="orthogonal_projection"
        )
        self.projection.build(tf.TensorShape([None, student_width]))

    @property
    def trainable_layers(self) -> tuple[tf.keras.layers.Layer, ...]:
        """The projection."""
        return (self.projection,)

    def per_row(self, inputs: LossInputs) -> tf.Tensor:
        """See `FeatureLoss.per_row`."""
        teacher, student = inputs[:2]
        difference = self.projection(student) - _standardised(teacher)
        size = tf.abs(difference)
        # The smaller of both is the slope's share: no branch overflows.
        near = tf.minimum(size, 1.0)
        return tf.reduce_mean(near * (size - 0.5 * near), axis=1)


def _standardised(features: tf.Tensor) -> tf.Tensor:
    mean, variance = tf.nn.moments(features, axes=[1], keepdims=True)
    return (features - mean) * tf.math.rsqrt(variance + _VARIANCE_EPSILON)
