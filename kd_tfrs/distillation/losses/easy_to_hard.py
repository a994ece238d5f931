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
    \sum_{l=K+1}^{K+L} e^{s_l}}, \quad
    l_\text{hard} = \frac{1}{2} \sum_{M \in \{K/2, K/10\}} -\sum_{k=1}^{M}
    \log \frac{e^{s_k}}{\sum_{j=k}^{K+L} e^{s_j}}$$

    The first loss ranks every listed item above the candidates that the
    queries share, with no order among the listed. The second one is
    `RelaxedRanking` of the first half of the list above all others, and of
    its first tenth above all others, which counts the very best twice: so it
    is in the authors' code. $M$ is rounded down and at least 1.

    The paper compares with all unlisted items, changes over when the
    student has reached the last of the teachers' training checkpoints, and
    ranks observed and unobserved items apart. Here the unlisted candidates
    are a sample, the change comes at a given step, and observed items are
    left to the student's own loss; `TrajectoryTeacher` provides the
    checkpoints. The authors halve the weight of the second loss.

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
    >>> round(float(loss(*scores, listed=2, step=10)), 4)  # log 3
    1.0986

    References:
        Kang, Kweon, Lee, Lian, Xie and Yu 2023, "Distillation from
        Heterogeneous Models for Top-K Recommendation" (HetComp), section on
        adaptive knowledge transfer; the second loss is that of the authors'
        code.
    """

    def __init__(self, hard_from_step: int = 2000, **options: Any) -> None:
        super().__init__(**options)
        self.hard_from_step = check_count("hard_from_step", hard_from_step, 0)

    def per_list(self, inputs: LossInputs) -> tf.Tensor:
        """See `ListLoss.per_list`."""
        return tf.cond(
            tf.cast(inputs.step, tf.int32) < self.hard_from_step,
            lambda: _members(inputs),
            lambda: 0.5 * (_first(inputs, 2) + _first(inputs, 10)),
        )


def _members(inputs: LossInputs) -> tf.Tensor:
    """Every listed item above the unlisted ones."""
    listed = inputs.listed
    below = masked_logsumexp(
        inputs.student[:, listed:], inputs.mask[:, listed:]
    )
    losses = tf.nn.softplus(below - inputs.student[:, :listed])
    kept = tf.where(inputs.mask[:, :listed], losses, 0.0)
    return tf.reduce_sum(kept, axis=1)


def _first(inputs: LossInputs, divisor: int) -> tf.Tensor:
    """The order of the first part of the list above everything else."""
    count = max(1, inputs.listed // divisor)
    scores, mask = inputs.student, inputs.mask
    return relaxed_ranking(
        scores[:, :count],
        mask[:, :count],
        masked_logsumexp(scores[:, count:], mask[:, count:]),
    )
