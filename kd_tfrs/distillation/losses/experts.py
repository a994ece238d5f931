"""Distillation experts: hints through a mixture of projections."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from kd_tfrs.distillation.losses.annealed_choice import AnnealedChoice
from kd_tfrs.distillation.losses.checks import check_count
from kd_tfrs.distillation.losses.expert_mixture import ExpertMixture
from kd_tfrs.distillation.losses.inputs import LossInputs
from kd_tfrs.distillation.losses.projection import projection


@tf.keras.utils.register_keras_serializable("kd_tfrs")
class DistillationExperts(AnnealedChoice):
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
        super().__init__(
            annealing_steps,
            initial_temperature,
            final_temperature,
            seed,
            **options,
        )
        self.num_experts = check_count("num_experts", num_experts)

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
        shares = self.shares(
            self.selection(teacher), inputs.weight, inputs.step
        )
        mixed = self.experts(student, shares)
        return tf.reduce_sum(tf.square(teacher - mixed), axis=1)
