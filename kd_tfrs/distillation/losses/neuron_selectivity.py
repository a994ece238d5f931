"""Neuron selectivity transfer: distributions of unit activations."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from kd_tfrs.distillation.losses.checks import check_count, check_number
from kd_tfrs.distillation.losses.feature_base import FeatureLoss
from kd_tfrs.distillation.losses.inputs import LossInputs
from kd_tfrs.distillation.losses.pairs import counted
from kd_tfrs.distillation.losses.projection import unit_length


@tf.keras.utils.register_keras_serializable("kd_tfrs")
class NeuronSelectivity(FeatureLoss):
    r"""Squared maximum mean discrepancy between the units of both (NST).

    $$L = \frac{1}{d_t^2} \sum_{a, a'} k(u^t_a, u^t_{a'}) +
    \frac{1}{d_s^2} \sum_{b, b'} k(u^s_b, u^s_{b'}) -
    \frac{2}{d_t d_s} \sum_{a, b} k(u^t_a, u^s_b), \quad
    k(x, y) = (\langle x, y \rangle + c)^p$$

    where $u_a$ holds a unit's responses, scaled to length 1. The paper's are
    those to the positions of one image; a vector has none, and $u_a$ holds
    the responses to the rows of the batch. All rows then share one loss.
    Widths may differ.

    Args:
        power: $p$ of the polynomial kernel, at least 1.
        constant: $c$, at least 0.
        **options: `reduction` and `name`, see `WeightedLoss`.

    Raises:
        UserError: an argument is out of range.

    Example:
    >>> loss = NeuronSelectivity()
    >>> float(loss([[1.0, 0.0], [0.0, 1.0]], [[0.0, 2.0], [3.0, 0.0]]))
    0.0

    References:
        Huang and Wang 2017, "Like What You Like: Knowledge Distill via Neuron
        Selectivity Transfer", sections 3 and 4, the polynomial kernel.
    """

    def __init__(
        self, power: int = 2, constant: float = 0.0, **options: Any
    ) -> None:
        super().__init__(**options)
        self.power = check_count("power", power)
        self.constant = check_number("constant", constant, 0.0)

    def per_row(self, inputs: LossInputs) -> tf.Tensor:
        """See `FeatureLoss.per_row`."""
        teacher, student = inputs[:2]
        weight = inputs.weight
        count = counted(weight)
        units_t = unit_length(tf.transpose(teacher) * count)
        units_s = unit_length(tf.transpose(student) * count)

        def kernel(left: tf.Tensor, right: tf.Tensor) -> tf.Tensor:
            products = tf.matmul(left, right, transpose_b=True)
            # A whole number of factors: `pow` has no slope at negatives.
            value = base = products + self.constant
            for _ in range(self.power - 1):
                value = value * base
            return tf.reduce_mean(value)

        discrepancy = (
            kernel(units_t, units_t)
            + kernel(units_s, units_s)
            - 2.0 * kernel(units_t, units_s)
        )
        return count * discrepancy
