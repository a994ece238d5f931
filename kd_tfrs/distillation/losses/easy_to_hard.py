"""Easy to hard: first the members of the list, then their order."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from kd_tfrs.distillation.losses.checks import check_count
from kd_tfrs.distillation.losses.inputs import LossInputs
from kd_tfrs.distillation.losses.list_base import (
    ListLoss,
    masked_logsumexp,
    relaxed_ranking,
)


@tf.keras.utils.register_keras_serializable("kd_tfrs")
class EasyToHard(ListLoss):
    r"""First the list above the unlisted candidates, later its order as well.

    $$l_\text{easy} = -\sum_{k=1}^{K} \log \frac{e^{s_k}}{e^{s_k} +
    \sum_{l=1}^{L} e^{s_l}}, \quad
    l_\text{hard} = -\sum_{k=1}^{K} \log \frac{e^{s_k}}{\sum_{j=k}^{K}
    e^{s_j} + \sum_{l=1}^{L} e^{s_l}}$$

    The first loss ranks every listed item above the candidates that the
    queries share, with no order among the listed. The second loss is
    `RelaxedRanking`.

    The paper compares with all unlisted items, changes over when the
    student has reached the last of the teachers' training checkpoints, and
    ranks observed and unobserved items apart. Here the unlisted candidates
    are a sample and the change comes at a given step; `TrajectoryTeacher`
    provides the checkpoints.

    Args:
        hard_from_step: the first training step of the second loss.
        **options: `reduction` and `name`, see `WeightedLoss`.

    Raises:
        UserError: `hard_from_step` is negative, or it is called on candidates
            without lists.

    Example:
    >>> loss = EasyToHard(hard_from_step=10)
    >>> scores = [[2.0, 1.0, 0.0]], [[0.0, 0.0, 0.0]]
    >>> round(float(loss(*scores, listed=2, step=0)), 4)  # 2 log 2
    1.3863
    >>> round(float(loss(*scores, listed=2, step=10)), 4)  # log 6
    1.7918

    References:
        Kang, Kweon, Lee, Lian, Xie and Yu 2023, "Distillation from
        Heterogeneous Models for Top-K Recommendation" (HetComp), section on
        adaptive knowledge transfer.
    """

    def __init__(self, hard_from_step: int = 2000, **options: Any) -> None:
        super().__init__(**options)
        self.hard_from_step = check_count("hard_from_step", hard_from_step, 0)

    def per_list(self, inputs: LossInputs) -> tf.Tensor:
        """See `ListLoss.per_list`."""
        listed = inputs.listed
        scores, mask = inputs.student[:, :listed], inputs.mask[:, :listed]
        below = masked_logsumexp(
            inputs.student[:, listed:], inputs.mask[:, listed:]
        )

        def easy() -> tf.Tensor:
            losses = tf.nn.softplus(below - scores)
            return tf.reduce_sum(tf.where(mask, losses, 0.0), axis=1)

        return tf.cond(
            tf.cast(inputs.step, tf.int32) < self.hard_from_step,
            easy,
            lambda: relaxed_ranking(scores, mask, below),
        )
