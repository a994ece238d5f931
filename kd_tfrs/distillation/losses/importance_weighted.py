"""Importance-aware ranking distillation: position, confidence, consistency."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from kd_tfrs.distillation.losses.base import MASKED_LOGIT, masked_mean
from kd_tfrs.distillation.losses.checks import check_count, check_number
from kd_tfrs.distillation.losses.inputs import LossInputs
from kd_tfrs.distillation.losses.list_base import ListLoss, require_lists
from kd_tfrs.distillation.losses.ranks import count_above, share_above
from kd_tfrs.errors import UserError


@tf.keras.utils.register_keras_serializable("kd_tfrs")
class ImportanceWeightedRanking(ListLoss):
    r"""Log loss on the teacher's best, by how far each can be trusted.

    $$l = -\sum_{r=1}^{K} w_r \log \sigma(s_r) -
    \frac{1}{\epsilon} \sum_j \log (1 - \sigma(s_j)), \quad
    w_r = \frac{a_r}{\sum_i a_i}$$

    $$a_r = \gamma_p \frac{e^{-r / \lambda}}{\sum_i e^{-i / \lambda}} +
    \gamma_c \frac{e^{t_r}}{\sum_i e^{t_i}} + \gamma_o \, [\hat r_r \le K]$$

    over the teacher's list of $K$ items and $\epsilon$ random ones: a place
    near the top, the teacher's confidence, and whether the student has the
    item among its own $K$ best too. The student's rank among all $N$
    candidates is estimated from the random ones,

    $$\hat r_r = 1 + n_r + m_r (N - K) / \epsilon$$

    with the $n_r$ listed and $m_r$ random items that it scores above item
    $r$; it is exact where all unlisted candidates take part. No gradient
    flows through the weights.

    The authors' teacher is a language model, whose confidence is $e^{-d}$
    with the distance $d$ between the item and the text that it generated. A
    teacher's scores $t$ take the place of $-d$. A weight of 0 leaves one of
    the three out. Differences from the authors' code: it draws one unlisted
    item a query in the place of the mean, and takes $\log \sigma(1 - s_j)$ of
    it where the loss on labels has $\log (1 - \sigma(s_j))$, as here. The
    robust loss (DROS) of its recommenders is not part of the method.

    Args:
        num_candidates: $N$, items of the catalogue (users on the item side).
        position_weight: $\gamma_p$, at least 0.
        confidence_weight: $\gamma_c$, at least 0.
        consistency_weight: $\gamma_o$, at least 0.
        rank_decay: $\lambda$, in ranks, positive.
        **options: `reduction` and `name`, see `WeightedLoss`.

    Raises:
        UserError: a number is out of range, position and confidence weight
            are both 0, or it is called on candidates without lists or without
            random ones.

    Example:
    ```python
    DistillationTerm(
        ImportanceWeightedRanking(num_candidates=25_181),
        TeacherTopK(k=10, num_random=100),
    )
    ```

    References:
        Cui et al. 2024, "Distillation Matters: Empowering Sequential
        Recommenders to Match the Performance of Large Language Models"
        (DLLM2Rec), importance-aware ranking distillation. Defaults are those
        of the authors' code.
    """

    def __init__(
        self,
        num_candidates: int,
        position_weight: float = 0.3,
        confidence_weight: float = 0.5,
        consistency_weight: float = 0.1,
        rank_decay: float = 1.0,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.num_candidates = check_count("num_candidates", num_candidates)
        self.position_weight = check_number(
            "position_weight", position_weight, 0.0
        )
        self.confidence_weight = check_number(
            "confidence_weight", confidence_weight, 0.0
        )
        self.consistency_weight = check_number(
            "consistency_weight", consistency_weight, 0.0
        )
        self.rank_decay = check_number("rank_decay", rank_decay, 1e-3)
        if self.position_weight + self.confidence_weight == 0.0:
            # Consistency alone has no weight for a query whose student and
            # teacher share no item.
            raise UserError(
                "`position_weight` or `confidence_weight` should be positive. "
                "Received: 0 and 0. Raise one of them."
            )

    def per_list(self, inputs: LossInputs) -> tf.Tensor:
        """See `ListLoss.per_list`."""
        require_lists(self, inputs, unlisted=True)
        listed, unlisted = tf.split(inputs.student, [inputs.listed, -1], axis=1)
        mask, unlisted_mask = tf.split(inputs.mask, [inputs.listed, -1], axis=1)
        weights = tf.stop_gradient(self.weights(inputs))
        positive = tf.reduce_sum(weights * tf.nn.softplus(-listed), axis=1)
        negative = masked_mean(tf.nn.softplus(unlisted), unlisted_mask)
        return positive + tf.where(tf.reduce_any(mask, axis=1), negative, 0.0)

    def weights(self, inputs: LossInputs) -> tf.Tensor:
        """The weights of the listed candidates.

        Args:
            inputs: prepared inputs of the loss.

        Returns:
            `[queries, listed]`, of sum 1 in a query; 0 where masked, and
            everywhere in a query whose list is empty.
        """
        mask = inputs.mask[:, : inputs.listed]
        ranks = tf.range(1, inputs.listed + 1, dtype=tf.float32)
        importance = (
            self.position_weight * _softmax(-ranks / self.rank_decay, mask)
            + self.confidence_weight
            * _softmax(inputs.teacher[:, : inputs.listed], mask)
            + self.consistency_weight * self._consistent(inputs)
        )
        importance = tf.where(mask, importance, 0.0)
        total = tf.reduce_sum(importance, axis=1, keepdims=True)
        return tf.math.divide_no_nan(importance, total)

    def _consistent(self, inputs: LossInputs) -> tf.Tensor:
        """1 for a listed candidate among the student's own best, else 0."""
        count = inputs.listed
        listed = inputs.student[:, :count]
        above = count_above(listed, listed, inputs.mask[:, :count])
        others = max(0, self.num_candidates - count)
        # Rounded: a share such as 3/40 has no exact float.
        above += tf.round(share_above(inputs) * others)
        return tf.cast(above < count, tf.float32)


def _softmax(scores: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
    return tf.nn.softmax(tf.where(mask, scores, MASKED_LOGIT))
