"""Distillation experts: hints through a mixture of projections."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from kd_tfrs.distillation.losses.checks import check_count, check_number
from kd_tfrs.distillation.losses.expert_mixture import ExpertMixture, gumbel
from kd_tfrs.distillation.losses.feature_base import FeatureLoss
from kd_tfrs.distillation.losses.inputs import LossInputs
from kd_tfrs.distillation.losses.projection import projection

# Below it all but a row in thousands are one-hot, and the softmax's slope, up
# to 1 / (4 * temperature), would make an explosion of a near tie.
_HARDEST = 1e-4
_COLDEST = 1e-30


@tf.keras.utils.register_keras_serializable("kd_tfrs")
class DistillationExperts(FeatureLoss):
    r"""Hints through experts that a selection network chooses among.

    $$l_i = \| h^t_i - \sum_m z_{im} E_m(h^s_i) \|^2, \quad
    z_i = \mathrm{softmax}((\log \alpha_i + g_i) / \tau), \quad
    \alpha_i = \mathrm{softmax}(S h^t_i)$$

    with Gumbel noise $g$ and $\tau = \tau_0 (\tau_P / \tau_0)^{p / P}$ at
    step $p$ of $P$: a soft mixture turns into a choice of one expert. The
    experts are perceptrons with one ReLU layer of the mean of both widths.
    Below $\tau = 10^{-4}$ the choice is taken as hard, without gradient into
    the selection network.

    Use one such loss for users and one for items, with seeds of their own.

    Args:
        num_experts: how many experts.
        annealing_steps: $P$, training steps until the choice is hardest.
        initial_temperature: $\tau_0$, positive.
        final_temperature: $\tau_P$, positive and at most $\tau_0$.
        seed: of the Gumbel noise.
        **options: `reduction` and `name`, see `WeightedLoss`.

    Raises:
        UserError: an argument is out of range.

    Example:
    ```python
    experts = DistillationExperts(annealing_steps=5000)
    DistillationTerm(experts, FeaturePair("query"))
    ```

    References:
        Kang et al. 2020, "DE-RRD: A Knowledge Distillation Framework for
        Recommender System", section 4.1.
    """

    def __init__(
        self,
        num_experts: int = 30,
        annealing_steps: int = 10_000,
        initial_temperature: float = 1.0,
        final_temperature: float = 1e-10,
        seed: int = 0,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.num_experts = check_count("num_experts", num_experts)
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

    def build(self, teacher_width: int, student_width: int) -> None:
        """See `FeatureLoss.build`."""
        self.selection = projection(
            teacher_width, self.num_experts, name="selection"
        )
        self.experts = ExpertMixture(
            self.num_experts,
            (teacher_width + student_width) // 2,
            teacher_width,
        )
        self.experts.build(tf.TensorShape([None, student_width]))

    @property
    def trainable_layers(self) -> tuple[tf.keras.layers.Layer, ...]:
        """The selection network and the experts."""
        return (self.selection, self.experts)

    def per_row(self, inputs: LossInputs) -> tf.Tensor:
        """See `FeatureLoss.per_row`."""
        teacher, student = inputs[:2]
        weight = inputs.weight
        step = inputs.step
        alpha = tf.nn.log_softmax(self.selection(teacher))
        logits = alpha + gumbel(weight, self.num_experts, self.seed, step)
        temperature = self.temperature_at(step)
        soft = tf.nn.softmax(logits / tf.maximum(temperature, _HARDEST))
        hard = tf.one_hot(tf.argmax(logits, axis=1), self.num_experts)
        shares = tf.where(temperature < _HARDEST, hard, soft)
        mixed = self.experts(student, shares)
        return tf.reduce_sum(tf.square(teacher - mixed), axis=1)

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
