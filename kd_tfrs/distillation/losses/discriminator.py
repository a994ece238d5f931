"""Adversarial distillation: a discriminator of teacher and student."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from kd_tfrs.distillation.losses.checks import legacy_optimizer
from kd_tfrs.distillation.losses.feature_base import FeatureLoss
from kd_tfrs.distillation.losses.inputs import LossInputs
from kd_tfrs.distillation.losses.projection import check_units, projection

Optimizer = tf.keras.optimizers.legacy.Optimizer


@tf.keras.utils.register_keras_serializable("kd_tfrs")
class FeatureDiscriminator(FeatureLoss):
    r"""Trains features that a discriminator takes for the teacher's.

    $$l_i = -\log \sigma(D(r(h^s_i))), \quad
    l^D_i = -\log \sigma(D(h^t_i)) - \log(1 - \sigma(D(r(h^s_i))))$$

    with a projection $r$ that is trained with the student and a discriminator
    $D$, a perceptron, that is trained against it. The student's loss is the
    non-saturating one: the paper's $\log(1 - \sigma(D))$ has next to no
    slope as long as the discriminator wins.

    It matches distributions and not single rows; add a `Hint` to it.

    Args:
        hidden_units: widths of the discriminator's ReLU layers.
        projection_units: widths of ReLU layers in $r$; linear without any.
        adversary_optimizer: trains the discriminator; Adam at 0.001 when
            `None`. Objects do not share one.
        **options: `reduction` and `name`, see `WeightedLoss`.

    Raises:
        UserError: an argument is of the wrong kind.

    Example:
    ```python
    losses = [
        DistillationTerm(Hint(), FeaturePair("candidate")),
        DistillationTerm(FeatureDiscriminator(), FeaturePair("candidate")),
    ]
    ```

    References:
        Wang, Xu, Xu and Tao 2018, "Adversarial Learning of Portable Student
        Networks", section 3; Goodfellow et al. 2014, "Generative Adversarial
        Nets", section 3.
    """

    def __init__(
        self,
        hidden_units: Sequence[int] = (64,),
        projection_units: Sequence[int] = (),
        adversary_optimizer: Optimizer | dict | None = None,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.hidden_units = check_units("hidden_units", hidden_units)
        self.projection_units = check_units(
            "projection_units", projection_units
        )
        self.adversary_optimizer = legacy_optimizer(
            "adversary_optimizer",
            adversary_optimizer,
            tf.keras.optimizers.legacy.Adam(1e-3),
        )

    def build(self, teacher_width: int, student_width: int) -> None:
        """See `FeatureLoss.build`."""
        self.projection = projection(
            student_width, teacher_width, self.projection_units
        )
        self.discriminator = projection(
            teacher_width, 1, self.hidden_units, name="discriminator"
        )

    @property
    def trainable_layers(self) -> tuple[tf.keras.layers.Layer, ...]:
        """The projection."""
        return (self.projection,)

    @property
    def adversaries(self) -> tuple[tf.keras.layers.Layer, ...]:
        """The discriminator."""
        return (self.discriminator,)

    def per_row(self, inputs: LossInputs) -> tf.Tensor:
        """See `FeatureLoss.per_row`."""
        projected = self.projection(inputs.student)
        return tf.nn.softplus(-self._discriminate(projected))

    def adversary_loss(self, inputs: LossInputs) -> tf.Tensor:
        """See `FeatureLoss.adversary_loss`."""
        teacher, student = inputs[:2]
        weight = inputs.weight
        projected = tf.stop_gradient(self.projection(student))
        losses = tf.nn.softplus(-self._discriminate(tf.stop_gradient(teacher)))
        losses += tf.nn.softplus(self._discriminate(projected))
        return tf.math.divide_no_nan(
            tf.reduce_sum(weight * losses), tf.reduce_sum(weight)
        )

    def _discriminate(self, features: tf.Tensor) -> tf.Tensor:
        return self.discriminator(features)[:, 0]
