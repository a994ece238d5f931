"""Soft targets from several teachers that a gate mixes for every query."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from kd_tfrs.distillation import schedules
from kd_tfrs.distillation.losses.base import (
    DistillationLoss,
    masked_log_softmax,
)
from kd_tfrs.distillation.losses.checks import check_count, check_number
from kd_tfrs.distillation.losses.inputs import LossInputs
from kd_tfrs.distillation.losses.targets import target_mask
from kd_tfrs.distillation.losses.weighting import normalised_entropy
from kd_tfrs.errors import UserError


@tf.keras.utils.register_keras_serializable("kd_tfrs")
class GatedSoftTargets(DistillationLoss):
    r"""KL to a mixture of teachers, mixed by a gate for every query.

    $$l_i = T^2 KL \big( m_i \| \mathrm{softmax}(s_i / T) \big), \quad
    m_i = \sum_k g_{ik} \, \mathrm{softmax}(t_{ik} / T), \quad
    g_i = \mathrm{softmax}(W x_i + b)$$

    $x_i$ has two features of every teacher: its entropy as a share of the
    greatest possible, and by how much its best candidate's probability leads
    the second's, both at $T = 1$.

    The gate is learned beside the student. Trained on the distillation loss
    alone it would come to trust the teacher that is easiest to imitate, and
    not the one that is right. Where the real event is among the candidates,
    the gate is therefore trained on the likelihood of that event under the
    mixture, and not on the student's loss,

    $$l^g_i = -\log \sum_k g_{ik} \, \mathrm{softmax}(t_{ik})_{y_i}
    + \eta \, KL(g_i \| \text{uniform})$$

    and elsewhere $l^g_i = l_i + \eta \, KL(g_i \| \text{uniform})$, in which
    $\eta$ holds it back. The loss has the gradient of $l + l^g$, each in its
    own parameters, and the value of $l$, which compares with `SoftTargets`.
    The gate starts with equal weights. The events are those of training: a
    teacher that has learned them by heart looks better than it is.

    Args:
        num_teachers: members of the `EnsembleTeacher`, at least 2.
        evenness: $\eta$, at least 0.
        temperature: $T$, at least 0.001; a number or a Keras schedule.
        **options: `reduction` and `name`, see `WeightedLoss`.

    Raises:
        UserError: an argument is out of range; or the teacher is no ensemble
            of so many.

    Example:
    >>> loss = GatedSoftTargets(num_teachers=2)
    >>> each = tf.constant([[[1.0, 0.0], [0.0, 1.0]]])  # opposite opinions
    >>> abs(round(float(loss([[0.5, 0.5]], [[0.0, 0.0]], each=each)), 4))
    0.0

    References:
        Zhu et al. 2020, "Ensembled CTR Prediction via Knowledge
        Distillation", section 3 (distillation from multiple teachers). Taken
        from there: a softmax gate with weights and biases over what all
        teachers answer, for each sample, learned with the student. Ours: the
        gate's two features in the place of a single click logit, the mixture
        of labels in the place of a weighted sum of losses (which has the same
        gradient in the student), training the gate on the real event, and the
        evenness.
    """

    def __init__(
        self,
        num_teachers: int,
        evenness: float = 0.1,
        temperature: schedules.Scheduled = 1.0,
        **options: Any,
    ) -> None:
        super().__init__(temperature, **options)
        self.num_teachers = check_count("num_teachers", num_teachers, 2)
        self.evenness = check_number("evenness", evenness, 0.0)
        self._gate = tf.keras.layers.Dense(
            self.num_teachers,
            kernel_initializer="zeros",
            dtype=tf.float32,
            name="teacher_gate",
        )
        self._gate.build([None, 2 * self.num_teachers])

    @property
    def trainable_layers(self) -> tuple[tf.keras.layers.Layer, ...]:
        """The gate."""
        return (self._gate,)

    def per_query(self, inputs: LossInputs) -> tf.Tensor:
        """See `DistillationLoss.per_query`."""
        each = tf.unstack(self._check(inputs.each), axis=2)
        log_gate = tf.nn.log_softmax(self._gate(_features(each, inputs.mask)))
        labels = _mixture(log_gate, each, inputs.mask, inputs.temperature)
        log_q = masked_log_softmax(
            inputs.student, inputs.mask, inputs.temperature
        )
        scale = tf.square(inputs.temperature)
        loss = scale * _divergence(tf.stop_gradient(labels), log_q, inputs.mask)
        gate_loss = self._gate_loss(
            scale * _divergence(labels, tf.stop_gradient(log_q), inputs.mask),
            log_gate,
            each,
            inputs,
        )
        # The gate's own loss adds its gradient and not its value.
        return loss + (gate_loss - tf.stop_gradient(gate_loss))

    def _gate_loss(
        self,
        imitation: tf.Tensor,
        log_gate: tf.Tensor,
        each: list[tf.Tensor],
        inputs: LossInputs,
    ) -> tf.Tensor:
        target = target_mask(inputs)
        log_labels = _mixture(log_gate, each, inputs.mask, 1.0)
        surprise = -tf.reduce_logsumexp(
            tf.where(target, log_labels, log_labels.dtype.min), axis=1
        )
        has_target = tf.reduce_any(target, axis=1)
        uneven = tf.reduce_sum(
            tf.exp(log_gate)
            * (log_gate + tf.math.log(float(self.num_teachers))),
            axis=1,
        )
        loss = (
            tf.where(has_target, surprise, imitation) + self.evenness * uneven
        )
        return tf.where(tf.reduce_any(inputs.mask, axis=1), loss, 0.0)

    def _check(self, each: tf.Tensor | None) -> tf.Tensor:
        count = None if each is None else each.shape[2]
        if count == self.num_teachers:
            return each
        raise UserError(
            "`num_teachers` should be the number of members of an "
            f"EnsembleTeacher. Received: `num_teachers` = {self.num_teachers} "
            f"and scores of {count or 'one teacher'}. Teach with an "
            "EnsembleTeacher of so many members."
        )


def _features(each: list[tf.Tensor], mask: tf.Tensor) -> tf.Tensor:
    """Inputs of the gate, `[queries, 2 * teachers]`, between 0 and 1."""
    features = []
    for scores in each:
        log_p = masked_log_softmax(scores, mask)
        p = tf.where(mask, tf.exp(log_p), 0.0)
        best = tf.reduce_max(p, axis=1)
        first = tf.one_hot(tf.argmax(p, axis=1), tf.shape(p)[1])
        second = tf.reduce_max(p * (1.0 - first), axis=1)
        features += [normalised_entropy(log_p, mask), best - second]
    return tf.stack(features, axis=1)


def _mixture(
    log_gate: tf.Tensor,
    each: list[tf.Tensor],
    mask: tf.Tensor,
    temperature: tf.Tensor | float,
) -> tf.Tensor:
    """Logarithms of the mixed soft labels, `[queries, n]`."""
    parts = [
        masked_log_softmax(scores, mask, temperature) + log_gate[:, k : k + 1]
        for k, scores in enumerate(each)
    ]
    return tf.reduce_logsumexp(tf.stack(parts), axis=0)


def _divergence(
    log_p: tf.Tensor, log_q: tf.Tensor, mask: tf.Tensor
) -> tf.Tensor:
    # A query without candidates has no labels that sum to exactly 1.
    terms = tf.where(mask, tf.exp(log_p) * (log_p - log_q), 0.0)
    return tf.reduce_sum(terms, axis=1)
