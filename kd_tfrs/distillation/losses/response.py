"""Response-based losses: the teacher's scores over candidates."""

from __future__ import annotations

import tensorflow as tf

from kd_tfrs.distillation.losses.base import (
    DistillationLoss,
    Untempered,
    masked_log_softmax,
    masked_mean,
)
from kd_tfrs.distillation.losses.inputs import LossInputs


@tf.keras.utils.register_keras_serializable("kd_tfrs")
class SoftTargets(DistillationLoss):
    r"""Temperature-scaled KL from the teacher's to the student's softmax.

    $$l = T^2 \sum_j p_j (\log p_j - \log q_j), \quad
    p = \mathrm{softmax}(t / T), \; q = \mathrm{softmax}(s / T)$$

    The factor $T^2$ keeps the gradient's size when $T$ changes; for large
    $T$ the loss tends to half the mean squared difference of the centred
    scores.

    Args:
        temperature: $T$, at least 0.001; a number or a Keras schedule.
        **options: `reduction` and `name`, see `WeightedLoss`.

    Raises:
        UserError: `temperature` is out of range.

    Example:
    >>> loss = SoftTargets(temperature=2.0)
    >>> float(loss([[1.0, 0.0]], [[1.0, 0.0]]))
    0.0

    References:
        Hinton, Vinyals and Dean 2015, "Distilling the Knowledge in a Neural
        Network", section 2, eq. 1 and 4.
    """

    def per_query(self, inputs: LossInputs) -> tf.Tensor:
        """See `DistillationLoss.per_query`."""
        teacher, student, mask, temperature = inputs[:4]
        log_p = masked_log_softmax(teacher, mask, temperature)
        log_q = masked_log_softmax(student, mask, temperature)
        # Where everything is masked both are uniform, and the sum is 0.
        divergence = tf.reduce_sum(tf.exp(log_p) * (log_p - log_q), axis=1)
        return tf.square(temperature) * divergence


@tf.keras.utils.register_keras_serializable("kd_tfrs")
class SoftLabelLikelihood(Untempered):
    r"""Log likelihood of the teacher's soft labels under the student.

    $$l = -\sum_j \mathrm{softmax}(t)_j \log \mathrm{softmax}(s)_j$$

    It differs from `SoftTargets` at $T = 1$ by the teacher's entropy, which
    has no gradient.

    Args:
        **options: `reduction` and `name`, see `WeightedLoss`.

    Example:
    >>> loss = SoftLabelLikelihood()
    >>> round(float(loss([[0.0, 0.0]], [[0.0, 0.0]])), 4)
    0.6931

    References:
        Hinton, Vinyals and Dean 2015, section 2, at T = 1.
    """

    def per_query(self, inputs: LossInputs) -> tf.Tensor:
        """See `DistillationLoss.per_query`."""
        teacher, student, mask, temperature = inputs[:4]
        p = tf.exp(masked_log_softmax(teacher, mask, temperature))
        log_q = masked_log_softmax(student, mask, temperature)
        return -tf.reduce_sum(tf.where(mask, p * log_q, 0.0), axis=1)


@tf.keras.utils.register_keras_serializable("kd_tfrs")
class TeacherHardLabel(Untempered):
    r"""Cross entropy with the candidate of the highest teacher score.

    $$l = -\log \mathrm{softmax}(s)_{\arg\max_j t_j}$$

    The first of equal scores wins.

    Args:
        **options: `reduction` and `name`, see `WeightedLoss`.

    Example:
    >>> loss = TeacherHardLabel()
    >>> round(float(loss([[3.0, 1.0]], [[0.0, 0.0]])), 4)
    0.6931

    References:
        Hinton, Vinyals and Dean 2015, section 2: the limit T -> 0 of the
        teacher's distribution.
    """

    def per_query(self, inputs: LossInputs) -> tf.Tensor:
        """See `DistillationLoss.per_query`."""
        teacher, student, mask, temperature = inputs[:4]
        best = tf.argmax(tf.where(mask, teacher, teacher.dtype.min), axis=1)
        log_q = masked_log_softmax(student, mask, temperature)
        chosen = tf.gather(log_q, best, batch_dims=1)
        return tf.where(tf.reduce_any(mask, axis=1), -chosen, 0.0)


@tf.keras.utils.register_keras_serializable("kd_tfrs")
class ScoreRegression(Untempered):
    r"""Mean squared difference of the scores.

    $$l = \frac{1}{|C|} \sum_{j \in C} (t_j - s_j)^2$$

    Args:
        **options: `reduction` and `name`, see `WeightedLoss`.

    Example:
    >>> loss = ScoreRegression()
    >>> float(loss([[1.0, 2.0]], [[1.0, 0.0]]))
    2.0

    References:
        Ba and Caruana 2014, "Do Deep Nets Really Need to be Deep?", eq. 1,
        without its factor 1/2.
    """

    uses_single_scores = True

    def per_query(self, inputs: LossInputs) -> tf.Tensor:
        """See `DistillationLoss.per_query`."""
        teacher, student, mask = inputs[:3]
        return masked_mean(tf.square(teacher - student), mask)
