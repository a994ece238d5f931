"""Soft targets with noise that makes them as hard as they may be."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from kd_tfrs.distillation.losses.base import (
    DistillationLoss,
    masked_log_softmax,
)
from kd_tfrs.distillation.losses.checks import check_number
from kd_tfrs.distillation.losses.inputs import LossInputs
from kd_tfrs.distillation.schedules import Scheduled

_ROUNDING = 1e-6


@tf.keras.utils.register_keras_serializable("kd_tfrs")
class AdversarialSoftTargets(DistillationLoss):
    r"""KL to soft labels that an adversary has moved against the student.

    $$l = T^2 KL(p' \| q), \quad
    p' = \mathrm{softmax}((t + \epsilon \, \mathrm{sign}(g)) / T), \quad
    q = \mathrm{softmax}(s / T)$$

    $$g_j = \frac{\partial \, KL(p \| q)}{\partial t_j}
    \propto p_j \big( r_j - \textstyle\sum_k p_k r_k \big), \quad
    r_j = \log p_j - \log q_j, \quad p = \mathrm{softmax}(t / T)$$

    The noise is the step of size $\epsilon$ in the teacher's scores that
    raises the student's loss fastest. It never lowers it: along the noise the
    loss grows by the covariance of the noise with $\log p' - \log q$, both of
    which rise with $r$. The labels stay a distribution, in which the ratio of
    two candidates changes by a factor of at most $e^{2 \epsilon / T}$. Where
    teacher and student agree there is no direction, and no noise. No gradient
    flows through the noise.

    Args:
        epsilon: $\epsilon$, the most that a teacher's score changes, in the
            unit of the scores, at least 0; 0 gives `SoftTargets`.
        temperature: $T$, at least 0.001; a number or a Keras schedule.
        **options: `reduction` and `name`, see `WeightedLoss`.

    Raises:
        UserError: an argument is out of range.

    Example:
    >>> loss = AdversarialSoftTargets(epsilon=0.5)
    >>> bool(loss([[2.0, 0.0]], [[1.0, 0.0]])
    ...      > SoftTargets()([[2.0, 0.0]], [[1.0, 0.0]]))
    True

    References:
        Goodfellow, Shlens and Szegedy 2015, "Explaining and Harnessing
        Adversarial Examples", section 4, for the sign of the gradient as the
        worst noise of a bounded size, here in the teacher's scores instead of
        in the inputs. Wang et al. 2018, "KDGAN: Knowledge Distillation with
        Generative Adversarial Networks", for distillation as a game against
        an adversary; their discriminator and their training of the teacher
        are not here. The default of `epsilon` is ours.
    """

    def __init__(
        self, epsilon: float = 0.1, temperature: Scheduled = 1.0, **options: Any
    ) -> None:
        super().__init__(temperature, **options)
        self.epsilon = check_number("epsilon", epsilon, 0.0)

    def per_query(self, inputs: LossInputs) -> tf.Tensor:
        """See `DistillationLoss.per_query`."""
        teacher, student, mask, temperature = inputs[:4]
        log_q = masked_log_softmax(student, mask, temperature)
        noise = self.epsilon * _direction(
            masked_log_softmax(teacher, mask, temperature),
            tf.stop_gradient(log_q),
            mask,
        )
        log_p = masked_log_softmax(teacher + noise, mask, temperature)
        divergence = tf.reduce_sum(tf.exp(log_p) * (log_p - log_q), axis=1)
        return tf.square(temperature) * divergence


def _direction(
    log_p: tf.Tensor, log_q: tf.Tensor, mask: tf.Tensor
) -> tf.Tensor:
    """Signs of the gradient of KL(p || q) by the teacher's scores."""
    ratio = tf.where(mask, log_p - log_q, 0.0)
    mean = tf.reduce_sum(tf.exp(log_p) * ratio, axis=1, keepdims=True)
    # p_j > 0 does not change the sign, and must not: it may underflow.
    apart = ratio - mean
    size = 1.0 + tf.abs(log_p) + tf.abs(log_q)
    # What rounding leaves of equal distributions has no direction.
    counts = mask & (tf.abs(apart) > _ROUNDING * size)
    return tf.where(counts, tf.sign(apart), 0.0)
