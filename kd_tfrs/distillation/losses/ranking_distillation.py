"""Ranking distillation: the teacher's best candidates as positives."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from kd_tfrs.distillation.losses.checks import check_count, check_number
from kd_tfrs.distillation.losses.inputs import LossInputs
from kd_tfrs.distillation.losses.list_base import ListLoss, require_lists
from kd_tfrs.distillation.losses.ranks import share_above


@tf.keras.utils.register_keras_serializable("kd_tfrs")
class RankingDistillation(ListLoss):
    r"""Log loss on the teacher's best, by position and rank discrepancy.

    $$l = -\sum_{r=1}^{K} w_r \log \sigma(s_r), \quad
    w_r = \frac{w^a_r w^b_r}{\sum_i w^a_i w^b_i}$$

    $$w^a_r \propto e^{-r / \lambda}, \quad
    w^b_r = \tanh(\max(\mu (\hat r_r - r), 0)), \quad
    \hat r_r = \lfloor n_r (N - 1) / \epsilon \rfloor + 1$$

    $n_r$ counts those of the query's $\epsilon$ random candidates that the
    student scores above item $r$: an estimate of its rank among all $N$.
    Before `warm_up_steps` the position weight $w^a$ stands alone, as the
    ranks of an untrained student are random. No gradient flows through
    weights. The paper normalises them; its code does not.

    Args:
        num_candidates: $N$, items of the catalogue (users on the item side).
        rank_decay: $\lambda$, in ranks, positive.
        sharpness: $\mu$ of a rank's difference, at least 0.
        warm_up_steps: training steps with position weights alone.
        renormalize: the weights of a query sum to 1, as in the paper.
        **options: `reduction` and `name`, see `WeightedLoss`.

    Raises:
        UserError: a number is out of range, or it is called on candidates
            without lists or without random ones.

    Example:
    ```python
    DistillationTerm(
        RankingDistillation(num_candidates=25_181),
        TeacherTopK(k=10, num_random=100),
    )
    ```

    References:
        Tang and Wang 2018, "Ranking Distillation: Learning Compact Ranking
        Models With High Performance for Recommender System", section 4, eq.
        8 and 9 for the weights.
    """

    def __init__(
        self,
        num_candidates: int,
        rank_decay: float = 1.0,
        sharpness: float = 0.1,
        warm_up_steps: int = 1000,
        renormalize: bool = True,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.num_candidates = check_count("num_candidates", num_candidates)
        self.rank_decay = check_number("rank_decay", rank_decay, 1e-3)
        self.sharpness = check_number("sharpness", sharpness, 0.0)
        self.warm_up_steps = check_count("warm_up_steps", warm_up_steps, 0)
        self.renormalize = bool(renormalize)

    def per_list(self, inputs: LossInputs) -> tf.Tensor:
        """See `ListLoss.per_list`."""
        require_lists(self, inputs, unlisted=True)
        ranks = tf.range(1, inputs.listed + 1, dtype=tf.float32)
        mask = inputs.mask[:, : inputs.listed]
        # From the best rank on, where the exponential cannot vanish.
        by_position = _normalized(
            tf.where(mask, tf.exp((1.0 - ranks) / self.rank_decay), 0.0)
        )
        student_ranks = 1.0 + tf.floor(
            share_above(inputs) * (self.num_candidates - 1.0)
        )
        missing = tf.tanh(
            tf.maximum(self.sharpness * (student_ranks - ranks), 0.0)
        )
        hybrid = by_position * missing
        if self.renormalize:
            hybrid = _normalized(hybrid)
        warming_up = tf.cast(inputs.step, tf.int32) < self.warm_up_steps
        weights = tf.where(warming_up, by_position, hybrid)
        losses = tf.nn.softplus(-inputs.student[:, : inputs.listed])
        return tf.reduce_sum(tf.stop_gradient(weights) * losses, axis=1)


def _normalized(weights: tf.Tensor) -> tf.Tensor:
    total = tf.reduce_sum(weights, axis=1, keepdims=True)
    return tf.math.divide_no_nan(weights, total)
