"""Relaxed ranking distillation: the order of a list, and no order below."""

from __future__ import annotations

import tensorflow as tf

from kd_tfrs.distillation.losses.inputs import LossInputs
from kd_tfrs.distillation.losses.list_base import (
    ListLoss,
    masked_logsumexp,
    relaxed_ranking,
)


@tf.keras.utils.register_keras_serializable("kd_tfrs")
class RelaxedRanking(ListLoss):
    r"""Likelihood of the teacher's order above candidates without order.

    $$l = -\log \prod_{k=1}^{K} \frac{e^{s_k}}{\sum_{j=k}^{K} e^{s_j} +
    \sum_{l=1}^{L} e^{s_l}}$$

    with the student's scores $s_1 \dots s_K$ of the teacher's list in the
    teacher's order, and of the $L$ candidates that the queries share: those
    have to stay below the list and may stand in any order. The loss reads
    the teacher's order and not its scores. It is a sum over the list, as in
    the paper: a list of 40 weighs like 40 softmax losses, so that loss
    weights are small.

    Over `RankSampled` it is the paper's RRD; over `ItemSide(RankSampled())`
    its item side; over `TeacherTopK(k)` without random candidates it is
    ListMLE of the teacher's top k, and with them ListMLE with a tail.

    Args:
        **options: `reduction` and `name`, see `WeightedLoss`.

    Raises:
        UserError: it is called on candidates without lists.

    Example:
    >>> loss = RelaxedRanking()
    >>> round(float(loss([[2.0, 1.0, 0.0]], [[0.0, 0.0, 0.0]], listed=2)), 4)
    1.7918

    References:
        Kang, Hwang, Kweon and Yu 2020, "DE-RRD: A Knowledge Distillation
        Framework for Recommender System", section on RRD, its loss.
        Kang, Lee, Kweon, Hwang and Yu 2022, "Item-side Ranking Regularized
        Distillation for Recommender System", for the item side.
    """

    def per_list(self, inputs: LossInputs) -> tf.Tensor:
        """See `ListLoss.per_list`."""
        listed = inputs.listed
        below = masked_logsumexp(
            inputs.student[:, listed:], inputs.mask[:, listed:]
        )
        return relaxed_ranking(
            inputs.student[:, :listed], inputs.mask[:, :listed], below
        )
