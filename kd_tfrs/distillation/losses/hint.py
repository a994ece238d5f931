"""Hints: the projected student features regress the teacher's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from kd_tfrs.distillation.losses.feature_base import FeatureLoss
from kd_tfrs.distillation.losses.inputs import LossInputs
from kd_tfrs.distillation.losses.projection import (
    check_units,
    projection,
    unit_length,
)


@tf.keras.utils.register_keras_serializable("kd_tfrs")
class Hint(FeatureLoss):
    r"""Squared distance of the projected student from the teacher.

    $$l_i = \| r(h^s_i) - h^t_i \|^2$$

    with a projection $r$ that is trained with the student and thrown away
    after it. The paper's factor 1/2 is left to the loss weight.

    Args:
        hidden_units: widths of ReLU layers in $r$; linear without any.
        normalize: compare directions: both sides are scaled to length 1
            first, which makes the loss twice one minus the cosine.
        **options: `reduction` and `name`, see `WeightedLoss`.

    Raises:
        UserError: `hidden_units` are not positive integers.

    Example:
    >>> loss = Hint()
    >>> loss([[1.0, 2.0, 3.0]], [[1.0, 2.0]]).shape
    TensorShape([])

    References:
        Romero et al. 2015, "FitNets: Hints for Thin Deep Nets", section 2.2,
        eq. 3.
    """

    def __init__(
        self,
        hidden_units: Sequence[int] = (),
        normalize: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.hidden_units = check_units("hidden_units", hidden_units)
        self.normalize = bool(normalize)

    def build(self, teacher_width: int, student_width: int) -> None:
        """See `FeatureLoss.build`."""
        self.projection = projection(
            student_width, teacher_width, self.hidden_units
        )

    @property
    def trainable_layers(self) -> tuple[tf.keras.layers.Layer, ...]:
        """The projection."""
        return (self.projection,)

    def per_row(self, inputs: LossInputs) -> tf.Tensor:
        """See `FeatureLoss.per_row`."""
        teacher, student = inputs[:2]
        return self.distances(teacher, self.projection(student))

    def distances(self, teacher: tf.Tensor, projected: tf.Tensor) -> tf.Tensor:
        """Squared distances, `[rows]`, of two `[rows, teacher_width]`."""
        if self.normalize:
            teacher, projected = unit_length(teacher), unit_length(projected)
        return tf.reduce_sum(tf.square(projected - teacher), axis=1)
