"""Unbiased distillation: the teacher's order among equally popular items."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from kd_tfrs.distillation.losses.base import Untempered
from kd_tfrs.distillation.losses.checks import check_count, check_number
from kd_tfrs.distillation.losses.inputs import LossInputs
from kd_tfrs.distillation.losses.ranks import uniform_draws
from kd_tfrs.errors import UserError

_SALT = 2023


def popularity_groups(item_events: np.ndarray, num_groups: int) -> np.ndarray:
    """Splits items into groups of about the same number of events.

    Args:
        item_events: `[num_items]` events of every item, at least 0.
        num_groups: how many groups, at least 1.

    Returns:
        `[num_items]` int32 groups: 0 for the most popular items, which are
        few, and so on.

    Raises:
        UserError: there are more groups than items.

    Example:
    >>> popularity_groups(np.array([1, 6, 2, 3]), 2).tolist()
    [1, 0, 1, 1]

    References:
        Chen et al. 2023, "Unbiased Knowledge Distillation for
        Recommendation", section on group partition.
    """
    check_count("num_groups", num_groups)
    if num_groups > len(item_events):
        raise UserError(
            "`num_groups` should not exceed the number of items. Received: "
            f"`num_groups` = {num_groups} of {len(item_events)} items. Lower "
            "`num_groups`."
        )
    order = np.argsort(-np.asarray(item_events), kind="stable")
    events = np.asarray(item_events, np.float64)[order]
    # An item belongs where its middle event falls.
    middle = np.cumsum(events) - events / 2
    groups = np.zeros(len(order), np.int32)
    total = max(events.sum(), 1.0)
    groups[order] = np.minimum(middle * num_groups // total, num_groups - 1)
    return groups


@tf.keras.utils.register_keras_serializable("kd_tfrs")
class UnbiasedPairs(Untempered):
    r"""Pairs in the teacher's order, of items that are equally popular.

    $$l = \frac{1}{G} \sum_{g=1}^{G} \frac{1}{|P_g|} \sum_{(i, j) \in P_g}
    -\log \sigma(s_i - s_j), \quad p(i) \propto e^{-\text{rank}_i / \mu}$$

    A pair is drawn within a group of items, both of its members by their
    rank in the teacher's order of that group; the better one is $i$. A
    teacher's scores grow with popularity, whatever the user likes: between
    items of a group they cannot.

    The paper draws from the ranking of all of a group's items that the user
    has not seen, once an epoch. Here ranks count among the compared
    candidates, at every step, so that these should be many and from all of
    the catalogue: `TeacherTopK` with a large `num_random`. Every group counts
    the same; a pair of one item with itself is left out, and so is a group
    without pairs. Draws depend on the step alone.

    Args:
        groups: group of every catalogue row, counted from 0, see
            `popularity_groups`.
        pairs_per_group: pairs drawn for a query and a group, at least 1. The
            authors draw 30 in all, which are 8 for each of 4 groups.
        rank_decay: $\mu$, in ranks, positive.
        **options: `reduction` and `name`, see `WeightedLoss`.

    Raises:
        UserError: a number is out of range, or the catalogue rows of the
            candidates are missing.

    Example:
    ```python
    groups = popularity_groups(catalogue.item_events, num_groups=4)
    DistillationTerm(UnbiasedPairs(groups), TeacherTopK(k=100, num_random=512))
    ```

    References:
        Chen, Chen, Feng, Zhou and He 2023, "Unbiased Knowledge Distillation
        for Recommendation", section 4 (UnKD).
    """

    uses_rows = True

    def __init__(
        self,
        groups: np.ndarray | Sequence[int],
        pairs_per_group: int = 8,
        rank_decay: float = 20.0,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.groups = _check_groups(groups)
        self.pairs_per_group = check_count("pairs_per_group", pairs_per_group)
        self.rank_decay = check_number("rank_decay", rank_decay, 1e-3)

    def per_query(self, inputs: LossInputs) -> tf.Tensor:
        """See `DistillationLoss.per_query`."""
        if inputs.rows is None:
            raise UserError(
                "`UnbiasedPairs` should receive the catalogue rows of the "
                "candidates. Received: none. Call it with `rows`, as the "
                "Distiller does."
            )
        order, weights = self._weights(inputs)
        places, drawn = self._draw(weights, inputs.step)
        # In the teacher's order the better one stands first.
        first, second = tf.unstack(tf.sort(places, axis=-1), axis=-1)
        student = tf.gather(inputs.student, order, batch_dims=1)
        better, worse = (
            tf.gather(student, at, batch_dims=1) for at in (first, second)
        )
        counts = tf.cast(drawn & (first != second), tf.float32)
        losses = tf.nn.softplus(worse - better) * counts
        pairs = tf.reduce_sum(counts, axis=2)
        of_group = tf.math.divide_no_nan(tf.reduce_sum(losses, axis=2), pairs)
        groups = tf.reduce_sum(tf.cast(pairs > 0, tf.float32), axis=1)
        return tf.math.divide_no_nan(tf.reduce_sum(of_group, axis=1), groups)

    def _weights(self, inputs: LossInputs) -> tuple[tf.Tensor, tf.Tensor]:
        """The teacher's order, and in it each candidate's weight by group.

        Returns:
            `[queries, n]` places and `[queries, groups, n]` weights.
        """
        shape = tf.shape(inputs.teacher)
        teacher = tf.where(
            inputs.mask, inputs.teacher, inputs.teacher.dtype.min
        )
        order = tf.argsort(teacher, axis=1, direction="DESCENDING")
        groups = tf.gather(tf.constant(self.groups), inputs.rows)
        groups = tf.where(inputs.mask, tf.broadcast_to(groups, shape), -1)
        groups = tf.gather(groups, order, batch_dims=1)
        ids = tf.range(self.groups.max() + 1)[:, tf.newaxis]
        member = tf.cast(groups[:, tf.newaxis, :] == ids, tf.float32)
        ranks = tf.cumsum(member, axis=2)
        return order, member * tf.exp((1.0 - ranks) / self.rank_decay)

    def _draw(
        self, weights: tf.Tensor, step: tf.Tensor | int
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Places by weight, and where there was one to draw.

        Returns:
            `[queries, groups, pairs, 2]` places and `[queries, groups, pairs]`
            bool.
        """
        chances = tf.cumsum(weights, axis=2)
        queries, groups, n = tf.unstack(tf.shape(weights))
        shape = [queries, groups, 2 * self.pairs_per_group]
        draws = uniform_draws(shape, _SALT, step) * chances[:, :, -1:]
        places = tf.searchsorted(chances, draws, side="right")
        # Rounding may draw past the last member, as an empty group does.
        places = tf.minimum(places, n - 1)
        there = tf.gather(weights, places, batch_dims=2) > 0
        pairs = [queries, groups, self.pairs_per_group, 2]
        return (
            tf.reshape(places, pairs),
            tf.reduce_all(tf.reshape(there, pairs), axis=3),
        )


def _check_groups(groups: np.ndarray | Sequence[int]) -> np.ndarray:
    array = np.asarray(groups)
    good = array.ndim == 1 and array.size and array.dtype.kind in "iu"
    if not good or array.min() < 0:
        raise UserError(
            "`groups` should be a group of every catalogue row, whole numbers "
            f"from 0. Received: an array of {array.dtype} and shape "
            f"{array.shape}. Make them with `popularity_groups`."
        )
    return array.astype(np.int32)
