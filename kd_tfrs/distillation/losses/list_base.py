"""Base of the losses over the teacher's own lists."""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf

from kd_tfrs.distillation.losses.base import (
    MASKED_LOGIT,
    Untempered,
)
from kd_tfrs.distillation.losses.inputs import LossInputs
from kd_tfrs.errors import UserError


class ListLoss(Untempered):
    """Base of the losses that need the teacher's list of every query.

    The first `LossInputs.listed` candidates are the list, in the teacher's
    order; all queries share the others. A subclass overrides `per_list`.

    Args:
        **options: `reduction` and `name`, see `WeightedLoss`.
    """

    def per_list(self, inputs: LossInputs) -> tf.Tensor:
        """The loss of every query.

        Args:
            inputs: prepared inputs with `listed` of at least 1.

        Returns:
            `[queries]` float32, 0 where the mask leaves nothing of a list.
        """
        raise NotImplementedError(
            f"`{type(self).__name__}` should define `per_list`."
        )

    def per_query(self, inputs: LossInputs) -> tf.Tensor:
        """See `DistillationLoss.per_query`."""
        require_lists(self, inputs)
        return self.per_list(inputs)


def require_lists(
    loss: tf.keras.losses.Loss, inputs: LossInputs, unlisted: bool = False
) -> None:
    """Checks that a loss over lists receives lists.

    Args:
        loss: for its name.
        inputs: the inputs of the loss.
        unlisted: whether the loss needs unlisted candidates as well.

    Raises:
        UserError: there is no list, or nothing beside it.
    """
    name = type(loss).__name__
    if inputs.listed < 1:
        raise UserError(
            f"`{name}` should receive the teacher's lists. Received: "
            "candidates without lists. Give its DistillationTerm "
            "`candidates=RankSampled()` or `candidates=TeacherTopK()`."
        )
    if unlisted and inputs.student.shape[1] == inputs.listed:
        raise UserError(
            f"`{name}` should receive random candidates beside the lists. "
            "Received: lists alone. Give its candidate sampler a "
            "`num_random`."
        )


def masked_logsumexp(scores: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
    """Log of the sum of the exponentials that the mask leaves.

    Args:
        scores: `[queries, n]`; n may be 0.
        mask: `[queries, n]` bool.

    Returns:
        `[queries, 1]`; hugely negative, and finite, where nothing is left.
    """
    floor = tf.fill([tf.shape(scores)[0], 1], MASKED_LOGIT)
    kept = tf.where(mask, scores, MASKED_LOGIT)
    return tf.reduce_logsumexp(
        tf.concat([kept, floor], axis=1), axis=1, keepdims=True
    )


def relaxed_ranking(
    ordered: tf.Tensor, ordered_mask: tf.Tensor, below: tf.Tensor
) -> tf.Tensor:
    r"""Negative log likelihood of an order above unlisted candidates.

    $$l = \sum_k \Big( \log \big( \sum_{j \ge k} e^{s_j} + e^b \big) - s_k
    \Big)$$

    One pass over the list and one back, at any size of the scores.

    Args:
        ordered: `[queries, K]` scores, the best first.
        ordered_mask: `[queries, K]` bool, false where an item does not count.
        below: `[queries, 1]` log of the summed exponentials of the unlisted
            candidates, $b$.

    Returns:
        `[queries]`.

    References:
        Xia et al. 2008, "Listwise Approach to Learning to Rank: Theory and
        Algorithm", for the likelihood of an order (ListMLE); Kang et al.
        2020, "DE-RRD", for the unlisted candidates.
    """
    logits = tf.where(ordered_mask, ordered, MASKED_LOGIT)
    return _order_likelihood(
        tf.concat([logits, below], axis=1),
        tf.cast(ordered_mask, tf.float32),
    )


@tf.custom_gradient
def _order_likelihood(
    logits: tf.Tensor, counts: tf.Tensor
) -> tuple[tf.Tensor, Callable]:
    """Of all but the last logit, which has no place of its own."""
    rest = tf.math.cumulative_logsumexp(logits, axis=1, reverse=True)[:, :-1]
    values = tf.where(counts > 0, rest - logits[:, :-1], 0.0)

    def gradient(upstream: tf.Tensor) -> tuple[tf.Tensor, None]:
        # d log(rest_k) / d s_i = exp(s_i - rest_k) for k <= i: a sum over k
        # that is again cumulative. TensorFlow's own gradient makes two.
        inverse = tf.where(counts > 0, -rest, MASKED_LOGIT)
        through = tf.math.cumulative_logsumexp(inverse, axis=1)
        through = tf.concat([through, through[:, -1:]], axis=1)
        # Above 0 by rounding alone in a place, never in their product.
        share = tf.exp(logits + through)
        own = tf.pad(counts, [[0, 0], [0, 1]])
        return upstream[:, None] * (share - own), None

    return tf.reduce_sum(values, axis=1), gradient
