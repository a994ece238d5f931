"""Regression of the margins between the target and all others."""

from __future__ import annotations

import tensorflow as tf

from kd_tfrs.distillation.losses.base import (
    Untempered,
    masked_mean,
)
from kd_tfrs.distillation.losses.inputs import LossInputs
from kd_tfrs.distillation.losses.targets import targets_or_best


@tf.keras.utils.register_keras_serializable("kd_tfrs")
class MarginMSE(Untempered):
    r"""Mean squared difference of the margins of the target.

    $$l = \frac{1}{|N|} \sum_{j \in N}
    \big( (t_y - t_j) - (s_y - s_j) \big)^2$$

    with $y$ the query's real event and $N$ its other candidates. Where the
    event is not among the candidates, as in a teacher's list, the teacher's
    best candidate is $y$. Should several be real events, $t_y$ and $s_y$ are
    their means. Unlike `ScoreRegression`, it leaves each query's scores a
    constant of their own.

    The paper has one negative for each positive; here every other candidate
    is a negative, and the mean is over them.

    Args:
        **options: `reduction` and `name`, see `WeightedLoss`.

    Example:
    >>> loss = MarginMSE()
    >>> float(loss([[3.0, 1.0, 0.0]], [[0.0, 0.0, 0.0]]))
    6.5

    References:
        Hofstaetter et al. 2020, "Improving Efficient Neural Ranking Models
        with Cross-Architecture Knowledge Distillation", section 3, the
        Margin-MSE loss.
    """

    def per_query(self, inputs: LossInputs) -> tf.Tensor:
        """See `DistillationLoss.per_query`."""
        target = targets_or_best(inputs)
        difference = inputs.teacher - inputs.student
        at_target = masked_mean(difference, target)[:, None]
        return masked_mean(
            tf.square(at_target - difference),
            tf.logical_and(inputs.mask, tf.logical_not(target)),
        )
