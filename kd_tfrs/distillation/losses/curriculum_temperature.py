"""Curriculum temperature: soft targets with a learned temperature."""

from __future__ import annotations

import math
from typing import Any

import tensorflow as tf

from kd_tfrs.distillation.losses.base import (
    Untempered,
    masked_log_softmax,
)
from kd_tfrs.distillation.losses.checks import (
    check_count,
    check_number,
    legacy_optimizer,
)
from kd_tfrs.distillation.losses.inputs import LossInputs

_LEAST_TEMPERATURE = 1e-3
_STEP_SIZE = 0.05


@tf.keras.utils.register_keras_serializable("kd_tfrs")
class LearnedTemperature(tf.keras.layers.Layer):
    r"""A temperature within bounds, with a reversed gradient.

    $$T = a + b \, \sigma(\theta), \quad \theta_0 = 1$$

    The forward pass returns the temperature. The backward pass multiplies the
    gradient by $-\lambda$, so that minimising the loss maximises it over
    $\theta$.

    Args:
        start: $a$, the least temperature.
        width: $b$, the most that is added to it.
        name: name of the layer.

    Example:
    >>> layer = LearnedTemperature(1.0, 20.0)
    >>> round(float(layer(0.5)), 3)
    15.621
    """

    def __init__(
        self, start: float, width: float, name: str = "learned_temperature"
    ) -> None:
        # Whatever the student's precision, a temperature is exact.
        super().__init__(name=name, dtype=tf.float32)
        self.start, self.width = start, width
        self.theta = self.add_weight(
            name="theta",
            shape=(),
            initializer=tf.keras.initializers.Constant(1.0),
        )

    def call(self, strength: tf.Tensor | float) -> tf.Tensor:
        """The temperature.

        Args:
            strength: lambda, scalar; 0 lets no gradient through.

        Returns:
            A float32 scalar.
        """

        @tf.custom_gradient
        def reverse(x: tf.Tensor) -> tuple[tf.Tensor, object]:
            return tf.identity(x), lambda upstream: -strength * upstream

        return reverse(self.start + self.width * tf.sigmoid(self.theta))

    def get_config(self) -> dict:
        """Arguments of the constructor."""
        return {
            "start": self.start,
            "width": self.width,
            "name": self.name,
        }


@tf.keras.utils.register_keras_serializable("kd_tfrs")
class CurriculumTemperature(Untempered):
    r"""CTKD: soft targets at a temperature that maximises the loss.

    $$\min_s \max_\theta \; T^2 KL(\mathrm{softmax}(t / T) \|
    \mathrm{softmax}(s / T)), \quad T = a + b \, \sigma(\theta)$$

    One optimiser trains both: the gradient of $\theta$ is reversed and
    multiplied by

    $$\lambda = \tfrac{1}{2} \big( 1 - \cos(\pi \min(n / N, 1)) \big)$$

    at step $n$, so that the temperature works against the student
    only as training proceeds, from easy to hard. The paper has one
    temperature for all samples ("global") or one for each ("instance"); this
    is the global one. The paper raises $\lambda$ by the epoch, here it grows
    by the step.

    Args:
        curriculum_steps: $N$, steps until $\lambda$ is 1,
            at least 1. The paper takes 10 epochs.
        t_start: $a$, the least temperature, at least 0.001.
        t_range: $b$, the most that is added, at least 0. Training starts at
            $a + 0.73 b$.
        layer_optimizer: a legacy optimizer of the temperature; SGD with a
            step of 0.05 when `None`. Adam and its relatives divide the size
            of a gradient out, so that $\lambda$ would have no effect.
        **options: `reduction` and `name`, see `WeightedLoss`.

    Raises:
        UserError: an argument is out of range.

    Example:
    ```python
    loss = CurriculumTemperature(curriculum_steps=10 * steps_per_epoch)
    Distiller(teacher, student, loss)  # trains the temperature as well
    ```

    References:
        Li et al. 2023, "Curriculum Temperature for Knowledge Distillation",
        section 3; first value, bounds and the 10 epochs are those of the
        authors' code.
    """

    def __init__(
        self,
        curriculum_steps: int = 1000,
        t_start: float = 1.0,
        t_range: float = 20.0,
        layer_optimizer: tf.keras.optimizers.legacy.Optimizer
        | dict
        | None = None,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.layer_optimizer = legacy_optimizer(
            "layer_optimizer",
            layer_optimizer,
            tf.keras.optimizers.legacy.SGD(_STEP_SIZE),
        )
        self.curriculum_steps = check_count(
            "curriculum_steps", curriculum_steps
        )
        self.t_start = check_number("t_start", t_start, _LEAST_TEMPERATURE)
        self.t_range = check_number("t_range", t_range, 0.0)
        self._layer = LearnedTemperature(self.t_start, self.t_range)

    @property
    def trainable_layers(self) -> tuple[tf.keras.layers.Layer, ...]:
        """The layer that holds the temperature."""
        return (self._layer,)

    def per_query(self, inputs: LossInputs) -> tf.Tensor:
        """See `DistillationLoss.per_query`."""
        temperature = self._layer(self._strength(inputs.step))
        log_p = masked_log_softmax(inputs.teacher, inputs.mask, temperature)
        log_q = masked_log_softmax(inputs.student, inputs.mask, temperature)
        divergence = tf.reduce_sum(tf.exp(log_p) * (log_p - log_q), axis=1)
        return tf.square(temperature) * divergence

    def _strength(self, step: tf.Tensor | int) -> tf.Tensor:
        done = tf.cast(step, tf.float32) / self.curriculum_steps
        return 0.5 * (1.0 - tf.cos(math.pi * tf.minimum(done, 1.0)))
