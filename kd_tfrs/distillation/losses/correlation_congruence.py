"""Correlation congruence: agreement of kernel values of pairs."""

from __future__ import annotations

import math
from typing import Any

import tensorflow as tf

from kd_tfrs.distillation.losses.checks import check_count, check_number
from kd_tfrs.distillation.losses.feature_base import FeatureLoss
from kd_tfrs.distillation.losses.inputs import LossInputs
from kd_tfrs.distillation.losses.pairs import counted
from kd_tfrs.distillation.losses.projection import unit_length


@tf.keras.utils.register_keras_serializable("kd_tfrs")
class CorrelationCongruence(FeatureLoss):
    r"""Squared difference of Gaussian kernel matrices (CCKD).

    $$l_i = \frac{1}{n} \sum_j (k(h^t_i, h^t_j) - k(h^s_i, h^s_j))^2, \quad
    k(a, b) = e^{-2 \gamma} \sum_{p=0}^{P} \frac{(2 \gamma)^p}{p!}
    \langle a, b \rangle^p$$

    with features scaled to length 1, for which $k$ is the Taylor series of
    $e^{-\gamma \|a - b\|^2}$. The mean is the paper's $\|C^t - C^s\|^2 /
    n^2$. Widths may differ.

    Args:
        gamma: $\gamma$, positive.
        order: $P$, at least 1.
        **options: `reduction` and `name`, see `WeightedLoss`.

    Raises:
        UserError: an argument is out of range.

    Example:
    >>> loss = CorrelationCongruence()
    >>> float(loss([[1.0, 0.0], [0.0, 1.0]], [[0.0, 3.0], [2.0, 0.0]]))
    0.0

    References:
        Peng et al. 2019, "Correlation Congruence for Knowledge Distillation",
        sections 3.2 and 3.3.
    """

    def __init__(
        self, gamma: float = 0.4, order: int = 2, **options: Any
    ) -> None:
        super().__init__(**options)
        self.gamma = check_number("gamma", gamma, 1e-6)
        self.order = check_count("order", order)

    def per_row(self, inputs: LossInputs) -> tf.Tensor:
        """See `FeatureLoss.per_row`."""
        teacher, student = inputs[:2]
        weight = inputs.weight
        count = counted(weight)
        squared = tf.square(self._kernel(teacher) - self._kernel(student))
        return tf.math.divide_no_nan(
            tf.linalg.matvec(squared, count), tf.reduce_sum(count)
        )

    def _kernel(self, features: tf.Tensor) -> tf.Tensor:
        unit = unit_length(features)
        cosine = tf.matmul(unit, unit, transpose_b=True)
        twice = 2.0 * self.gamma
        terms = [
            math.exp(-twice) * twice**p / math.factorial(p)
            for p in range(self.order + 1)
        ]
        # Horner's scheme: no power of its own for each term.
        value = tf.fill(tf.shape(cosine), terms[-1])
        for term in terms[-2::-1]:
            value = value * cosine + term
        return value
