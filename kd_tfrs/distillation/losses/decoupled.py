"""Decoupled soft targets: the target candidate and all others."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from kd_tfrs.distillation import schedules
from kd_tfrs.distillation.losses.base import (
    MASKED_LOGIT,
    DistillationLoss,
    masked_log_softmax,
)
from kd_tfrs.distillation.losses.checks import check_number
from kd_tfrs.distillation.losses.inputs import LossInputs
from kd_tfrs.distillation.losses.targets import targets_or_best


@tf.keras.utils.register_keras_serializable("kd_tfrs")
class DecoupledSoftTargets(DistillationLoss):
    r"""KL of the target and KL among the others, with separate weights.

    $$l = T^2 \left( \alpha \, KL(b^t \| b^s)
    + \beta \, KL(\hat p \| \hat q) \right)$$

    with $b = (m, 1 - m)$, $m$ the mass that $\mathrm{softmax}(\cdot / T)$
    gives to the target, and $\hat p$, $\hat q$ the softmax over all other
    candidates. `SoftTargets` is the same sum with 1 in the place of $\alpha$
    and the teacher's $1 - m$ in the place of $\beta$, so that there a sure
    teacher teaches nothing about the others.

    The paper's target is the sample's class. Here it is the query's real
    event. Where that is not among the candidates, as in a teacher's list, the
    teacher's best candidate is the target. Should several candidates be real
    events, they count as one target with their joint mass.

    Args:
        alpha: $\alpha$, at least 0.
        beta: $\beta$, at least 0. The paper tunes it with the teacher: the
            surer the teacher, the larger.
        temperature: $T$, at least 0.001; a number or a Keras schedule.
        **options: `reduction` and `name`, see `WeightedLoss`.

    Raises:
        UserError: an argument is out of range.

    Example:
    >>> loss = DecoupledSoftTargets(temperature=1.0)
    >>> float(loss([[2.0, 1.0, 0.0]], [[2.0, 1.0, 0.0]]))
    0.0

    References:
        Zhao et al. 2022, "Decoupled Knowledge Distillation", eq. 7. Defaults
        are those of the authors' code for CIFAR-100; for ImageNet they take
        beta = 0.5 and T = 1. Their warm-up of the loss over the first epochs
        is a schedule of the term's weight.
    """

    def __init__(
        self,
        alpha: float = 1.0,
        beta: float = 8.0,
        temperature: schedules.Scheduled = 4.0,
        **options: Any,
    ) -> None:
        super().__init__(temperature, **options)
        self.alpha = check_number("alpha", alpha, 0.0)
        self.beta = check_number("beta", beta, 0.0)

    def per_query(self, inputs: LossInputs) -> tf.Tensor:
        """See `DistillationLoss.per_query`."""
        target = targets_or_best(inputs)
        others = tf.logical_and(inputs.mask, tf.logical_not(target))
        about_target = _divergence(
            _log_masses(inputs.teacher, target, others, inputs.temperature),
            _log_masses(inputs.student, target, others, inputs.temperature),
        )
        among_others = _divergence(
            masked_log_softmax(inputs.teacher, others, inputs.temperature),
            masked_log_softmax(inputs.student, others, inputs.temperature),
        )
        total = self.alpha * about_target + self.beta * among_others
        return tf.square(inputs.temperature) * total


def _log_masses(
    scores: tf.Tensor,
    target: tf.Tensor,
    others: tf.Tensor,
    temperature: tf.Tensor,
) -> tf.Tensor:
    """Logarithms of the mass of the target and of the rest, `[queries, 2]`."""
    sums = [
        tf.reduce_logsumexp(
            tf.where(part, scores / temperature, MASKED_LOGIT), axis=1
        )
        for part in (target, others)
    ]
    return tf.nn.log_softmax(tf.stack(sums, axis=1))


def _divergence(log_p: tf.Tensor, log_q: tf.Tensor) -> tf.Tensor:
    return tf.reduce_sum(tf.exp(log_p) * (log_p - log_q), axis=1)
