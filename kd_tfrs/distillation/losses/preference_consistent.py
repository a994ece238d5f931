"""Preference-consistent hints: projections that keep a query's order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from kd_tfrs.distillation.losses.base import (
    masked_log_softmax,
    masked_mean,
)
from kd_tfrs.distillation.losses.checks import check_number
from kd_tfrs.distillation.losses.feature_base import FeatureLoss
from kd_tfrs.distillation.losses.inputs import LossInputs
from kd_tfrs.distillation.losses.projection import check_units, projection
from kd_tfrs.errors import UserError

KINDS = ("list", "pair")


@tf.keras.utils.register_keras_serializable("kd_tfrs")
class PreferenceConsistentHint(FeatureLoss):
    r"""Hints whose projections keep the student's preferences (PCKD).

    $$l_u = e_u + \frac{1}{2} \Big( \frac{1}{n} \sum_i e_i +
    \frac{1}{m} \sum_j e_j \Big) + \alpha R_u, \quad
    e_u = \| r(h^s_u) - h^t_u \|^2, \;
    e_i = \| r'(h^s_i) - h^t_i \|^2$$

    over queries $u$, $n$ candidates $i$ of the list of each and $m$ random
    candidates $j$, or the list alone where there are none, with projections
    $r$ of queries and $r'$ of candidates. What a hint teaches reaches the
    student only if the projections do not undo it. With the scores before,
    $a_i = h^s_u \cdot h^s_i$, and after them, $b_i = r(h^s_u) \cdot
    r'(h^s_i)$,

    $$R_u = - \sum_i p_i \log q_i, \quad p = \mathrm{softmax}(a / \tau), \;
    q = \mathrm{softmax}(b / \tau)$$

    over the list, or, by `kind="pair"`, the mean of
    $- \log \sigma((a_i - a_j)(b_i - b_j))$ over its pairs. $R$ trains the
    projections alone: no gradient of it reaches the student.

    In the authors' code the projections are distillation experts, of which
    this is one, and the hint is on the users, positive items and random items
    of a batch; here the list, which the authors draw by rank, has the place
    of the positive items.

    Args:
        alpha: $\alpha$, at least 0.
        kind: "list" or "pair".
        temperature: $\tau$ of the lists, at least 0.001.
        hidden_units: widths of ReLU layers of both projections; one of the
            mean of both models' widths, as the authors' experts have, when
            `None`, and none with ().
        **options: `reduction` and `name`, see `WeightedLoss`.

    Raises:
        UserError: an argument is out of range.

    Example:
    ```python
    lists = ListFeatures(RankSampled(5, k=100, num_random=256))
    DistillationTerm(PreferenceConsistentHint(), lists)
    ```

    References:
        Zhu and Zhang 2025, "Preference-Consistent Knowledge Distillation for
        Recommender System", and the authors' code; defaults are its settings
        for CiteULike.
    """

    uses_lists = True

    def __init__(
        self,
        alpha: float = 0.1,
        kind: str = "list",
        temperature: float = 0.1,
        hidden_units: Sequence[int] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.alpha = check_number("alpha", alpha, 0.0)
        if kind not in KINDS:
            raise UserError(
                f"`kind` should be one of {KINDS}. Received: `kind` = {kind!r}."
            )
        self.kind = kind
        self.temperature = check_number("temperature", temperature, 1e-3)
        self.hidden_units = (
            None
            if hidden_units is None
            else check_units("hidden_units", hidden_units)
        )

    def build(self, teacher_width: int, student_width: int) -> None:
        """See `FeatureLoss.build`."""
        units = self.hidden_units
        if units is None:
            units = ((teacher_width + student_width) // 2,)
        self.query_projection, self.candidate_projection = (
            projection(student_width, teacher_width, units, name=f"{side}_hint")
            for side in ("query", "candidate")
        )

    @property
    def trainable_layers(self) -> tuple[tf.keras.layers.Layer, ...]:
        """The projections of queries and of candidates."""
        return (self.query_projection, self.candidate_projection)

    def per_row(self, inputs: LossInputs) -> tf.Tensor:
        """The loss of every query.

        Args:
            inputs: `[queries, 1 + n + m, width]` features, the query's own
                first, then those of its list and of random candidates; a mask
                `[queries, 1 + n + m]`, weights, and `listed`, which is $n$;
                0 where all candidates are the list.

        Returns:
            `[queries]` float32, 0 where no candidate of the list counts.
        """
        teacher, student, mask = inputs[:3]
        stop = 1 + inputs.listed if inputs.listed else None
        own, drawn = slice(1, stop), slice(stop, None)
        errors = tf.square(self._projected(student) - teacher)
        errors = tf.reduce_sum(errors, axis=2)
        items = masked_mean(errors[:, own], mask[:, own])
        if stop is not None:
            items += masked_mean(errors[:, drawn], mask[:, drawn])
            items *= 0.5
        # The projections alone are to agree with the student.
        fixed = tf.stop_gradient(student[:, :stop])
        regularize = self._of_lists if self.kind == "list" else self._of_pairs
        consistency = regularize(
            _scores(fixed), _scores(self._projected(fixed)), mask[:, own]
        )
        counts = tf.reduce_any(mask[:, own], axis=1)
        total = errors[:, 0] + items + self.alpha * consistency
        return tf.where(counts, total, 0.0)

    def _projected(self, student: tf.Tensor) -> tf.Tensor:
        query = self.query_projection(student[:, 0])
        items, width = student[:, 1:], student.shape[-1]
        # A projection takes one row a vector.
        rows = self.candidate_projection(tf.reshape(items, [-1, width]))
        shape = [*tf.unstack(tf.shape(items)[:2]), rows.shape[-1]]
        return tf.concat([query[:, None], tf.reshape(rows, shape)], axis=1)

    def _of_lists(
        self, before: tf.Tensor, after: tf.Tensor, mask: tf.Tensor
    ) -> tf.Tensor:
        log_p, log_q = (
            masked_log_softmax(scores, mask, self.temperature)
            for scores in (before, after)
        )
        terms = tf.where(mask, tf.exp(log_p) * log_q, 0.0)
        return -tf.reduce_sum(terms, axis=1)

    @staticmethod
    def _of_pairs(
        before: tf.Tensor, after: tf.Tensor, mask: tf.Tensor
    ) -> tf.Tensor:
        agreement = _differences(before) * _differences(after)
        first = tf.linalg.band_part(tf.ones_like(agreement), 0, -1)
        first -= tf.linalg.band_part(tf.ones_like(agreement), 0, 0)
        pairs = mask[:, :, None] & mask[:, None, :] & (first > 0.0)
        values = tf.nn.softplus(-agreement)
        size = tf.size(mask[0])
        flat = [tf.shape(mask)[0], size * size]
        return masked_mean(tf.reshape(values, flat), tf.reshape(pairs, flat))

    def features(
        self, y_true: tf.Tensor, y_pred: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """See `FeatureLoss.features`; both have three axes here."""
        shapes = [tf.convert_to_tensor(x).shape for x in (y_true, y_pred)]
        if any(shape.rank != 3 for shape in shapes):
            raise UserError(
                "`PreferenceConsistentHint` should compare a query with its "
                "candidates, [queries, 1 + n, width]. Received: shapes "
                f"{shapes[0]} and {shapes[1]}. Give its DistillationTerm "
                "`candidates=ListFeatures(RankSampled(5, num_random=0))`."
            )
        return super().features(y_true, y_pred)

    def _prepare(self, inputs: LossInputs) -> LossInputs:
        teacher, student = self.features(inputs.teacher, inputs.student)
        weight, mask = inputs.weight, inputs.mask
        if weight is None:
            weight = tf.ones_like(student[:, 0, 0])
        weight = tf.cast(weight, tf.float32)
        if mask is None:
            mask = tf.ones_like(student[:, :, 0], tf.bool)
        weight = tf.where(mask[:, 0], weight, 0.0)
        # NaN where nothing counts has no effect.
        kept = mask[:, :, None]
        return inputs._replace(
            teacher=tf.where(kept, teacher, 0.0),
            student=tf.where(kept, student, 0.0),
            mask=mask & mask[:, :1],
            weight=weight,
        )


def _scores(features: tf.Tensor) -> tf.Tensor:
    """Dot products of a query with its candidates, `[queries, n]`."""
    return tf.einsum("qd,qnd->qn", features[:, 0], features[:, 1:])


def _differences(scores: tf.Tensor) -> tf.Tensor:
    return scores[:, :, None] - scores[:, None, :]
