"""Losses with a weight for every query."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from kd_tfrs.distillation import schedules
from kd_tfrs.distillation.losses.base import (
    DistillationLoss,
    masked_log_softmax,
)
from kd_tfrs.distillation.losses.checks import check_number
from kd_tfrs.distillation.losses.inputs import LossInputs
from kd_tfrs.errors import UserError

AUTO = tf.keras.losses.Reduction.AUTO
_MEANS = (AUTO, tf.keras.losses.Reduction.SUM_OVER_BATCH_SIZE)
# Two queries whose importance differs by rounding alone should weigh the same.
_FLOOR = 1e-3


class _Weighted(DistillationLoss):
    """Another loss, with a weight for every query.

    Args:
        loss: the loss to weight; a dict is its serialized form.
        temperature: of the weights; the loss has its own.
        **options: `reduction` and `name`, see `WeightedLoss`.
    """

    def __init__(
        self,
        loss: DistillationLoss | dict,
        temperature: schedules.Scheduled = 1.0,
        **options: Any,
    ) -> None:
        super().__init__(temperature, **options)
        self.loss = _check_inner(loss)

    @property
    def uses_single_scores(self) -> bool:
        """See `DistillationLoss`; the weighted loss decides."""
        return self.loss.uses_single_scores

    @property
    def uses_rows(self) -> bool:
        """See `DistillationLoss`; the weighted loss decides."""
        return self.loss.uses_rows

    @property
    def layer_optimizer(self) -> tf.keras.optimizers.legacy.Optimizer | None:
        """That of the weighted loss."""
        return self.loss.layer_optimizer

    @property
    def trainable_layers(self) -> tuple[tf.keras.layers.Layer, ...]:
        """The layers of the weighted loss."""
        return self.loss.trainable_layers

    def importance(self, inputs: LossInputs) -> tf.Tensor:
        """The importance of each query, `[queries]`, between 0 and 1."""
        raise NotImplementedError

    def per_query(self, inputs: LossInputs) -> tf.Tensor:
        """See `DistillationLoss.per_query`."""
        counts = tf.reduce_any(inputs.mask, axis=1)
        if inputs.weight is not None:
            counts &= tf.cast(inputs.weight, tf.float32) > 0
        weights = _normalised(
            tf.stop_gradient(self.importance(inputs)) + _FLOOR, counts
        )
        inner = inputs._replace(
            temperature=schedules.value_at(self.loss.temperature, inputs.step)
        )
        return weights * self.loss.per_query(inner)


@tf.keras.utils.register_keras_serializable("kd_tfrs")
class ConfidenceWeighted(_Weighted):
    r"""Weights another loss by the confidence of the teacher.

    $$l'_i = \frac{a_i}{\frac{1}{B} \sum_k a_k} \, l_i, \quad
    a_i = 1 - \frac{H(\mathrm{softmax}(t_i / T))}{\log n_i}$$

    with $n_i$ the candidates that the mask leaves to query $i$ and the mean
    over the $B$ queries that have any and a weight above 0. The confidence
    $a_i$ is 0 where the teacher gives all candidates the same probability and
    1 where it gives a single candidate all of it. It is raised by 0.001, so
    that rounding does not decide between queries without any confidence.

    Args:
        loss: any `DistillationLoss` with its default reduction. Its layers
            are trained.
        temperature: $T$ of the confidence, at least 0.001; a number or a
            Keras schedule. The loss has a temperature of its own.
        **options: `reduction` and `name`, see `WeightedLoss`.

    Raises:
        UserError: `loss` is no DistillationLoss, or has another reduction.

    Example:
    >>> loss = ConfidenceWeighted(ScoreRegression(), reduction="none")
    >>> sure_and_unsure = [[9.0, 0.0], [0.0, 0.0]]
    >>> values = loss(sure_and_unsure, [[8.0, 0.0], [1.0, 0.0]])
    >>> [round(float(x), 2) for x in values]
    [1.0, 0.0]

    References:
        The form is ours. The idea of weights by how reliable an answer is
        stands in Zhang et al. 2022, "Confidence-Aware Multi-Teacher Knowledge
        Distillation", section 2, there between teachers and measured by the
        cross entropy with the labels.
    """

    def importance(self, inputs: LossInputs) -> tf.Tensor:
        """The teacher's confidence."""
        return 1.0 - normalised_entropy(
            masked_log_softmax(inputs.teacher, inputs.mask, inputs.temperature),
            inputs.mask,
        )


@tf.keras.utils.register_keras_serializable("kd_tfrs")
class GapWeighted(_Weighted):
    r"""Weights another loss by the gap between student and teacher.

    $$l'_i = \frac{a_i}{\frac{1}{B} \sum_k a_k} \, l_i, \quad
    a_i = \big( 1 - e^{-KL_i} \big)^\phi, \quad
    KL_i = KL(\mathrm{softmax}(t_i / T) \| \mathrm{softmax}(s_i / T))$$

    with the mean over the $B$ queries that have candidates. No gradient flows
    through the weights. They are bounded before the mean is taken, so that a
    single query never takes the whole step; 0.001 is added, so that rounding
    does not decide between queries without a gap.

    Args:
        loss: any `DistillationLoss` with its default reduction. Its layers
            are trained.
        focus: $\phi$, at least 0; 0 weighs all the same.
        temperature: $T$ of the gap, at least 0.001; a number or a Keras
            schedule. The loss has a temperature of its own.
        **options: `reduction` and `name`, see `WeightedLoss`.

    Raises:
        UserError: an argument is out of range, or `loss` is no
            DistillationLoss or has another reduction.

    Example:
    >>> loss = GapWeighted(SoftTargets(), focus=2.0)
    >>> float(loss([[1.0, 0.0]], [[1.0, 0.0]]))
    0.0

    References:
        Lin et al. 2017, "Focal Loss for Dense Object Detection", eq. 4, with
        exp(-KL), 1 where the student agrees, in the place of the probability
        of the true class. The normalisation is ours.
    """

    def __init__(
        self,
        loss: DistillationLoss | dict,
        focus: float = 1.0,
        temperature: schedules.Scheduled = 1.0,
        **options: Any,
    ) -> None:
        super().__init__(loss, temperature, **options)
        self.focus = check_number("focus", focus, 0.0)

    def importance(self, inputs: LossInputs) -> tf.Tensor:
        """The divergence of the student from the teacher, below 1."""
        log_p, log_q = (
            masked_log_softmax(scores, inputs.mask, inputs.temperature)
            for scores in (inputs.teacher, inputs.student)
        )
        gap = tf.reduce_sum(tf.exp(log_p) * (log_p - log_q), axis=1)
        return (-tf.math.expm1(-tf.maximum(gap, 0.0))) ** self.focus


def normalised_entropy(log_p: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
    """Entropy as a share of the most that the mask allows.

    Args:
        log_p: `[queries, n]` log probabilities, see `masked_log_softmax`.
        mask: `[queries, n]` bool.

    Returns:
        `[queries]`, 0 to 1; 0 where at most one candidate is left.
    """
    terms = tf.where(mask, tf.exp(log_p) * log_p, 0.0)
    count = tf.reduce_sum(tf.cast(mask, tf.float32), axis=1)
    share = tf.math.divide_no_nan(
        -tf.reduce_sum(terms, axis=1), tf.math.log(tf.maximum(count, 1.0))
    )
    return tf.clip_by_value(share, 0.0, 1.0)


def _normalised(importance: tf.Tensor, counts: tf.Tensor) -> tf.Tensor:
    """Weights of mean 1 over the queries that count, 0 elsewhere."""
    kept = tf.where(counts, importance, 0.0)
    number = tf.reduce_sum(tf.cast(counts, tf.float32))
    return tf.math.divide_no_nan(kept * number, tf.reduce_sum(kept))


def _check_inner(loss: DistillationLoss | dict) -> DistillationLoss:
    if isinstance(loss, dict):
        loss = tf.keras.losses.deserialize(loss)
    if not isinstance(loss, DistillationLoss):
        raise UserError(
            "`loss` should be a DistillationLoss. Received: "
            f"{type(loss).__name__}. Give for instance SoftTargets()."
        )
    if loss.reduction not in _MEANS:
        raise UserError(
            "`loss` should have its default reduction. Received: "
            f"{loss.reduction!r}. Give the reduction to the loss around it."
        )
    return loss
