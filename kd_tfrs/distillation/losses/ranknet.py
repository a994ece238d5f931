"""Preferences between pairs of candidates."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from kd_tfrs.distillation import schedules
from kd_tfrs.distillation.losses.base import (
    DistillationLoss,
    masked_mean,
)
from kd_tfrs.distillation.losses.checks import check_count
from kd_tfrs.distillation.losses.inputs import LossInputs


@tf.keras.utils.register_keras_serializable("kd_tfrs")
class RankNetDistillation(DistillationLoss):
    r"""Cross entropy of the student's with the teacher's pair preferences.

    $$l = -\frac{T^2}{|P|} \sum_{(j, k) \in P} p_{jk} \log q_{jk}
    + (1 - p_{jk}) \log (1 - q_{jk}), \quad
    p_{jk} = \sigma((t_j - t_k) / T), \; q_{jk} = \sigma((s_j - s_k) / T)$$

    $P$ is a sample of the pairs of a query's candidates: each candidate
    against those `num_partners` times another distance further on, around the
    end. The distances are drawn anew at each step, alike for all queries, so
    that the mean over steps is the mean over all pairs, at a cost linear in
    the candidates. The least value is the entropy of the teacher's
    preferences, a constant without gradient, and not 0.

    Args:
        num_partners: partners of each candidate in a step, at least 1.
        temperature: $T$, at least 0.001; a number or a Keras schedule.
        seed: of the distances, together with the step.
        **options: `reduction` and `name`, see `WeightedLoss`.

    Raises:
        UserError: an argument is out of range.

    Example:
    >>> loss = RankNetDistillation()
    >>> round(float(loss([[0.0, 0.0]], [[0.0, 0.0]])), 4)
    0.6931

    References:
        Burges et al. 2005, "Learning to Rank using Gradient Descent", eq. 1
        to 3, whose target probability of a pair is here the teacher's. The
        sampling of pairs and the factor T^2 are ours.
    """

    default_name = "ranknet_distillation"

    def __init__(
        self,
        num_partners: int = 4,
        temperature: schedules.Scheduled = 1.0,
        seed: int = 0,
        **options: Any,
    ) -> None:
        super().__init__(temperature, **options)
        self.num_partners = check_count("num_partners", num_partners)
        self.seed = check_count("seed", seed, 0)

    def per_query(self, inputs: LossInputs) -> tf.Tensor:
        """See `DistillationLoss.per_query`."""
        totals = [
            self._against(inputs, distance)
            for distance in tf.unstack(self._distances(inputs))
        ]
        pairs, counts = (tf.add_n(list(x)) for x in zip(*totals, strict=True))
        return tf.square(inputs.temperature) * tf.math.divide_no_nan(
            pairs, counts
        )

    def _distances(self, inputs: LossInputs) -> tf.Tensor:
        """From 1 to n - 1; 0, which pairs nothing, where n is 1."""
        width = tf.shape(inputs.student)[1]
        drawn = tf.random.stateless_uniform(
            [self.num_partners],
            seed=tf.stack([self.seed, tf.cast(inputs.step, tf.int32)]),
            minval=0,
            maxval=tf.maximum(width - 1, 1),
            dtype=tf.int32,
        )
        return tf.minimum(drawn + 1, width - 1)

    def _against(
        self, inputs: LossInputs, distance: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Sum over the pairs at one distance, and how many there are."""

        def lead(scores: tf.Tensor) -> tf.Tensor:
            return scores - tf.roll(scores, distance, axis=1)

        both = tf.logical_and(
            inputs.mask, tf.roll(inputs.mask, distance, axis=1)
        )
        both = tf.logical_and(both, distance > 0)
        entropies = tf.nn.sigmoid_cross_entropy_with_logits(
            labels=tf.sigmoid(lead(inputs.teacher) / inputs.temperature),
            logits=lead(inputs.student) / inputs.temperature,
        )
        count = tf.reduce_sum(tf.cast(both, tf.float32), axis=1)
        return masked_mean(entropies, both) * count, count
