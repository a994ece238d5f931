"""Binary soft targets that are first calibrated to the labels."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from kd_tfrs.distillation.losses import BinarySoftTargets, LossInputs
from kd_tfrs.distillation.schedules import Scheduled


@tf.keras.utils.register_keras_serializable("kd_tfrs")
class CalibratedSoftTargets(BinarySoftTargets):
    r"""Binary soft targets from a teacher of another task or base rate.

    $$l = T^2 H\big(\sigma(t' / T), \sigma(s / T)\big), \qquad
    t' = a t + c, \qquad l^c = H\big(y, \sigma(t')\big)$$

    with the cross entropy $H(p, q)$. The two numbers $a$ and $c$ are trained
    on $l^c$ alone, over the rows with a label $y$, and the student on $l$
    alone. The loss has the value of $l$. Training starts at $a = 1$.

    A teacher of clicks can so be distilled into a student of likes, which are
    rarer: the order of its logits is kept and its base rate is corrected.

    Args:
        temperature: $T$, at least 0.001; a number or a Keras schedule.
        initial_offset: of $c$; the difference of the tasks' base rates, in
            logits, spares the first steps.
        **options: `reduction` and `name`, see `WeightedLoss`.

    Raises:
        UserError: `temperature` is out of range.

    Example:
    ```python
    logits = TaskLogits("liked", teacher_task="clicked")
    DistillationTerm(CalibratedSoftTargets(), logits)
    ```

    References:
        Yang et al. 2022, "Cross-Task Knowledge Distillation in Multi-Task
        Recommendation", for Platt's scaling of a teacher's logits, learned
        beside the student; its ranking tasks over pairs of labels and its
        error correction are left out.
    """

    uses_labels = True

    def __init__(
        self,
        temperature: Scheduled = 1.0,
        initial_offset: float = 0.0,
        **options: Any,
    ) -> None:
        super().__init__(temperature, **options)
        self.initial_offset = float(initial_offset)
        self._scaling = tf.keras.layers.Dense(
            1,
            kernel_initializer="ones",
            bias_initializer=tf.keras.initializers.Constant(initial_offset),
            dtype="float32",
            name="platt_scaling",
        )
        self._scaling.build([None, 1])

    @property
    def trainable_layers(self) -> tuple[tf.keras.layers.Layer, ...]:
        """The scaling, with $a$ and $c$."""
        return (self._scaling,)

    def compute(self, inputs: LossInputs) -> tf.Tensor:
        """Computes the loss.

        Args:
            inputs: the logits of teacher and student. `labels` are
                `[batch, candidates]` in [0, 1], NaN where unknown; without
                them the scaling is not trained.

        Returns:
            A scalar, or `[batch]` with `Reduction.NONE`.
        """
        teacher = tf.stop_gradient(tf.cast(inputs.teacher, tf.float32))
        if inputs.mask is not None:
            # A masked NaN would spoil the gradient of the scaling.
            teacher = tf.where(inputs.mask, teacher, 0.0)
        logits = self._scaling(teacher[..., None])[..., 0]
        loss = super().compute(inputs._replace(teacher=logits))
        if inputs.labels is None:
            return loss
        own = self._scaling_loss(logits, inputs.labels, inputs.mask)
        own = self.weighted_mean(own, inputs.weight)
        # The scaling's own loss adds its gradient and not its value.
        return loss + (own - tf.stop_gradient(own))

    @staticmethod
    def _scaling_loss(
        logits: tf.Tensor, labels: tf.Tensor, mask: tf.Tensor | None
    ) -> tf.Tensor:
        """`[batch]` cross entropy of the labels that count."""
        counts = tf.math.is_finite(labels)
        if mask is not None:
            counts = tf.logical_and(counts, mask)
        entropies = tf.nn.sigmoid_cross_entropy_with_logits(
            tf.where(counts, labels, 0.0), logits
        )
        count = tf.reduce_sum(tf.cast(counts, tf.float32), axis=1)
        total = tf.reduce_sum(tf.where(counts, entropies, 0.0), axis=1)
        return tf.math.divide_no_nan(total, count)
