"""Dual correction: under-estimated items above over-estimated ones."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from kd_tfrs.distillation.losses.checks import check_count, check_number
from kd_tfrs.distillation.losses.inputs import LossInputs
from kd_tfrs.distillation.losses.list_base import (
    ListLoss,
    masked_logsumexp,
    relaxed_ranking,
)
from kd_tfrs.distillation.losses.ranks import (
    gumbel_noise,
    largest,
    list_ranks,
    share_above,
)

_SALT = 2021


@tf.keras.utils.register_keras_serializable("kd_tfrs")
class DualCorrection(ListLoss):
    r"""Relaxed ranking of under-estimated items above over-estimated ones.

    $$l = -\log \prod_{k \in U} \frac{e^{s_k}}{\sum_{j \in U, j \ge k}
    e^{s_j} + \sum_{l \in O} e^{s_l}}$$

    $U$ and $O$ are drawn from the teacher's list without replacement, with
    the weights

    $$\tanh(\max(\epsilon (r^s - r^t), 0)) \; \text{for } U, \quad
    \tanh(\max(\epsilon (r^t - r^s), 0)) \; \text{for } O$$

    of the ranks that student and teacher give an item; $U$ keeps the
    teacher's order. So the teacher corrects what the student gets wrong now.
    It stands beside a `RelaxedRanking` term, on both sides: a second term
    over `ItemSide` corrects the users of an item.

    The paper ranks the whole catalogue once an epoch. Here the student's rank
    is taken anew at every step: its place in the list, and beyond that the
    share of the random candidates above the item times the number of
    candidates that are not in the list. An item of equal ranks is in neither
    set. Draws depend on the step alone.

    Args:
        num_candidates: items of the catalogue (users on the item side).
        num_corrected: size of $U$ and of $O$ at most, at least 1.
        sharpness: $\epsilon$ of a rank's difference, positive.
        **options: `reduction` and `name`, see `WeightedLoss`.

    Raises:
        UserError: a number is out of range, or it is called on candidates
            without lists.

    Example:
    ```python
    DistillationTerm(
        DualCorrection(num_candidates=25_181),
        TeacherTopK(k=100, num_random=100),
    )
    ```

    References:
        Lee and Kim 2021, "Dual Correction Strategy for Ranking Distillation
        in Top-N Recommender System", section 3.
    """

    def __init__(
        self,
        num_candidates: int,
        num_corrected: int = 40,
        sharpness: float = 0.1,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.num_candidates = check_count("num_candidates", num_candidates)
        self.num_corrected = check_count("num_corrected", num_corrected)
        self.sharpness = check_number("sharpness", sharpness, 1e-6)

    def per_list(self, inputs: LossInputs) -> tf.Tensor:
        """See `ListLoss.per_list`."""
        scores, mask = (
            x[:, : inputs.listed] for x in (inputs.student, inputs.mask)
        )
        gap = tf.stop_gradient(self._rank_gap(inputs, scores, mask))
        # An item is in one of the sets at most: one noise serves both.
        keys = tf.math.log(
            tf.tanh(self.sharpness * tf.abs(gap))
        ) + gumbel_noise(tf.shape(gap), _SALT, inputs.step)
        under = largest(keys, mask & (gap > 0), self.num_corrected)
        candidates = largest(keys, mask & (gap < 0), self.num_corrected)
        return relaxed_ranking(
            scores, under, masked_logsumexp(scores, candidates)
        )

    def _rank_gap(
        self, inputs: LossInputs, scores: tf.Tensor, mask: tf.Tensor
    ) -> tf.Tensor:
        """The student's rank minus the teacher's."""
        teacher = tf.range(inputs.listed, dtype=tf.float32)
        unlisted = max(self.num_candidates - inputs.listed, 0)
        student = list_ranks(scores, mask) + share_above(inputs) * unlisted
        return student - teacher
