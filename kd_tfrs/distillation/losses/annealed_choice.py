"""Base of the losses that choose a network for every row, ever harder."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from kd_tfrs.distillation.losses.checks import check_count, check_number
from kd_tfrs.distillation.losses.expert_mixture import gumbel
from kd_tfrs.distillation.losses.feature_base import FeatureLoss

# Below it all but a row in thousands are one-hot, and the softmax's slope, up
# to 1 / (4 * temperature), would make an explosion of a near tie.
_HARDEST = 1e-4
_COLDEST = 1e-30


class AnnealedChoice(FeatureLoss):
    r"""Base of the losses that choose a network for every row, ever harder.

    $$z_i = \mathrm{softmax}((\log \alpha_i + g_i) / \tau), \quad
    \tau = \tau_0 (\tau_P / \tau_0)^{p / P}$$

    with Gumbel noise $g$ at step $p$ of $P$: a soft mixture turns into the
    choice of one. Below $\tau = 10^{-4}$ the choice is taken as hard, without
    gradient into $\alpha$.

    Args:
        annealing_steps: $P$, training steps until the choice is hardest.
        initial_temperature: $\tau_0$, positive.
        final_temperature: $\tau_P$, positive and at most $\tau_0$.
        seed: of the Gumbel noise.
        **options: `reduction` and `name`, see `WeightedLoss`.

    Raises:
        UserError: an argument is out of range.
    """

    def __init__(
        self,
        annealing_steps: int,
        initial_temperature: float,
        final_temperature: float,
        seed: int,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.annealing_steps = check_count("annealing_steps", annealing_steps)
        self.initial_temperature = check_number(
            "initial_temperature", initial_temperature, _COLDEST
        )
        self.final_temperature = check_number(
            "final_temperature",
            final_temperature,
            _COLDEST,
            self.initial_temperature,
        )
        self.seed = int(seed)

    def shares(
        self, logits: tf.Tensor, weight: tf.Tensor, step: tf.Tensor | int
    ) -> tf.Tensor:
        r"""The choice $z$ of every row.

        Args:
            logits: `[rows, networks]`, $\alpha$ before its softmax.
            weight: `[rows]`, 0 where a row does not count.
            step: training step.

        Returns:
            `[rows, networks]` in [0, 1], of sum 1.
        """
        width = logits.shape[1]
        keys = tf.nn.log_softmax(logits) + gumbel(
            weight, width, self.seed, step
        )
        temperature = self.temperature_at(step)
        soft = tf.nn.softmax(keys / tf.maximum(temperature, _HARDEST))
        hard = tf.one_hot(tf.argmax(keys, axis=1), width)
        return tf.where(temperature < _HARDEST, hard, soft)

    def temperature_at(self, step: tf.Tensor | int) -> tf.Tensor:
        r"""The annealed $\tau$ at a training step.

        Args:
            step: counted from 0.

        Returns:
            A float32 scalar.
        """
        progress = tf.minimum(
            tf.cast(step, tf.float32) / self.annealing_steps, 1.0
        )
        ratio = self.final_temperature / self.initial_temperature
        return self.initial_temperature * tf.pow(ratio, progress)
