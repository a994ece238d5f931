"""Soft targets with a bounded, two-sided divergence."""

from __future__ import annotations

import math
from typing import Any

import tensorflow as tf

from kd_tfrs.distillation.losses.base import (
    DistillationLoss,
    masked_log_softmax,
)
from kd_tfrs.distillation.losses.checks import check_number
from kd_tfrs.distillation.losses.inputs import LossInputs
from kd_tfrs.distillation.schedules import Scheduled

_LEAST_SHARE = 1e-3


@tf.keras.utils.register_keras_serializable("kd_tfrs")
class JensenShannon(DistillationLoss):
    r"""Generalised Jensen-Shannon divergence of the softmaxes.

    $$l = T^2 \big( \beta \, KL(p \| m) + (1 - \beta) \, KL(q \| m) \big),
    \quad m = \beta p + (1 - \beta) q$$

    with $p = \mathrm{softmax}(t / T)$ and $q = \mathrm{softmax}(s / T)$. It
    never exceeds $T^2 \log 2$, so that a query on which teacher and
    student disagree widely does not take over the step. For close
    distributions it is about $\beta (1 - \beta)$ times `SoftTargets`, so
    that it wants a larger weight.

    Args:
        beta: $\beta$, the teacher's share of the middle, 0.001 to 0.999.
            Divided by its distance from the nearer of 0 and 1, the loss tends
            to `SoftTargets` near 0 and to the reverse, KL(q || p), near 1.
        temperature: $T$, at least 0.001; a number or a Keras schedule.
        **options: `reduction` and `name`, see `WeightedLoss`.

    Raises:
        UserError: an argument is out of range.

    Example:
    >>> loss = JensenShannon()
    >>> round(float(loss([[99.0, 0.0]], [[0.0, 99.0]])), 4)
    0.6931

    References:
        Lin 1991, "Divergence Measures Based on the Shannon Entropy",
        section 4; for distillation, Agarwal et al. 2024, "On-Policy
        Distillation of Language Models", section 2. The factor T^2 is that of
        Hinton, Vinyals and Dean 2015.
    """

    def __init__(
        self, beta: float = 0.5, temperature: Scheduled = 1.0, **options: Any
    ) -> None:
        super().__init__(temperature, **options)
        self.beta = check_number("beta", beta, _LEAST_SHARE, 1 - _LEAST_SHARE)

    def per_query(self, inputs: LossInputs) -> tf.Tensor:
        """See `DistillationLoss.per_query`."""
        teacher, student, mask, temperature = inputs[:4]
        log_p = masked_log_softmax(teacher, mask, temperature)
        log_q = masked_log_softmax(student, mask, temperature)
        log_m = tf.where(
            mask,
            tf.reduce_logsumexp(
                tf.stack(
                    [
                        log_p + math.log(self.beta),
                        log_q + math.log(1.0 - self.beta),
                    ]
                ),
                axis=0,
            ),
            0.0,
        )
        terms = self.beta * tf.exp(log_p) * (log_p - log_m)
        terms += (1.0 - self.beta) * tf.exp(log_q) * (log_q - log_m)
        # Where a query has nothing left its log_p is not hugely negative.
        divergence = tf.reduce_sum(tf.where(mask, terms, 0.0), axis=1)
        return tf.square(temperature) * divergence
