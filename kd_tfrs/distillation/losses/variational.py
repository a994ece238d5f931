"""Variational information distillation: hints with a variance for each unit."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from kd_tfrs.distillation.losses.checks import check_number
from kd_tfrs.distillation.losses.feature_base import FeatureLoss
from kd_tfrs.distillation.losses.inputs import LossInputs
from kd_tfrs.distillation.losses.projection import check_units, projection

_LEAST_VARIANCE = 1e-5


@tf.keras.utils.register_keras_serializable("kd_tfrs")
class VariationalInformation(FeatureLoss):
    r"""A Gaussian's negative log likelihood of the teacher's features (VID).

    $$l_i = \sum_d \log \sigma_d + \frac{(h^t_{id} - \mu_d(h^s_i))^2}
    {2 \sigma_d^2}, \quad
    \sigma_d^2 = \log(1 + e^{\alpha_d}) + \epsilon$$

    up to a constant. It is a lower bound of the mutual information between the
    features of student and teacher. Units of the teacher that cannot be
    predicted get a large variance and little weight. The loss may be
    negative.

    Args:
        hidden_units: widths of ReLU layers in $\mu$; linear without any.
        initial_variance: of all units, greater than 0.00001.
        **options: `reduction` and `name`, see `WeightedLoss`.

    Raises:
        UserError: an argument is out of range.

    Example:
    >>> loss = VariationalInformation()
    >>> loss([[1.0, 2.0, 3.0]], [[1.0, 2.0]]).shape
    TensorShape([])

    References:
        Ahn et al. 2019, "Variational Information Distillation for Knowledge
        Transfer", section 2.1, eq. 4 to 6; the initial variance is that of
        widely used code.
    """

    def __init__(
        self,
        hidden_units: Sequence[int] = (),
        initial_variance: float = 5.0,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.hidden_units = check_units("hidden_units", hidden_units)
        self.initial_variance = check_number(
            "initial_variance", initial_variance, 2 * _LEAST_VARIANCE
        )

    def build(self, teacher_width: int, student_width: int) -> None:
        """See `FeatureLoss.build`."""
        self.projection = projection(
            student_width, teacher_width, self.hidden_units
        )
        self.variance = _Variance(teacher_width, self.initial_variance)

    @property
    def trainable_layers(self) -> tuple[tf.keras.layers.Layer, ...]:
        """The projection and the variances."""
        return (self.projection, self.variance)

    def per_row(self, inputs: LossInputs) -> tf.Tensor:
        """See `FeatureLoss.per_row`."""
        teacher, student = inputs[:2]
        variance = self.variance(teacher)
        squared = tf.square(teacher - self.projection(student))
        return 0.5 * tf.reduce_sum(
            tf.math.log(variance) + squared / variance, axis=1
        )


class _Variance(tf.keras.layers.Layer):
    """Positive weights, one for each unit."""

    def __init__(self, width: int, initial: float) -> None:
        super().__init__(name="variance", dtype=tf.float32)
        start = math.log(math.expm1(initial - _LEAST_VARIANCE))
        self.alpha = self.add_weight(
            "alpha", [width], initializer=tf.keras.initializers.Constant(start)
        )
        self.built = True

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """The variances, `[width]`, for any inputs."""
        del inputs
        return tf.nn.softplus(self.alpha) + _LEAST_VARIANCE
