"""Attention transfer: agreement of attention maps."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from kd_tfrs.distillation.losses.checks import check_number
from kd_tfrs.distillation.losses.feature_base import FeatureLoss
from kd_tfrs.distillation.losses.inputs import LossInputs
from kd_tfrs.distillation.losses.projection import unit_length
from kd_tfrs.errors import UserError

KINDS = ("activations", "weights")


@tf.keras.utils.register_keras_serializable("kd_tfrs")
class AttentionTransfer(FeatureLoss):
    r"""Squared difference of normalised attention maps.

    $$l_i = \Big\| \frac{q^t_i}{\|q^t_i\|} - \frac{q^s_i}{\|q^s_i\|}
    \Big\|^2, \quad q_i = \sum_c |a_{ic}|^p$$

    For "activations", $a$ is `[rows, positions, width]`, an encoder's output
    for every position, and the sum goes over its width: a position counts by
    how strongly units respond. For "weights", $a$ is `[rows, heads, queries,
    keys]`, what self or cross attention gives, and the sum goes over heads.
    Widths and numbers of heads may differ, positions may not. Padding that
    holds zeros on both sides changes nothing.

    The paper does not square the norm in eq. 2, but its code does. Use one
    loss a layer for several layers.

    Args:
        kind: "activations" or "weights".
        power: $p$, at least 1; 2 is the paper's choice.
        **options: `reduction` and `name`, see `WeightedLoss`.

    Raises:
        UserError: an argument is out of range, or the features have another
            number of axes.

    Example:
    >>> loss = AttentionTransfer()
    >>> float(loss(tf.ones([2, 4, 8]), 3.0 * tf.ones([2, 4, 2]))) < 1e-9
    True

    References:
        Zagoruyko and Komodakis 2017, "Paying More Attention to Attention",
        section 3.1, eq. 1 and 2.
    """

    def __init__(
        self, kind: str = "activations", power: float = 2.0, **options: Any
    ) -> None:
        super().__init__(**options)
        if kind not in KINDS:
            raise UserError(
                f"`kind` should be one of {KINDS}. Received: `kind` = {kind!r}."
            )
        self.kind = kind
        self.power = check_number("power", power, 1.0)

    def features(
        self, y_true: tf.Tensor, y_pred: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """The maps of teacher and student, the teacher's without gradient.

        Args:
            y_true: `[rows, ...]`, see above.
            y_pred: `[rows, ...]`.

        Returns:
            Two `[rows, positions]`.

        Raises:
            UserError: the features have another number of axes.
        """
        teacher, student = self._maps(y_true), self._maps(y_pred)
        if not teacher.shape[1:].is_compatible_with(student.shape[1:]):
            raise UserError(
                "Teacher and student should have the same positions. "
                f"Received: {teacher.shape[1]} and {student.shape[1]}. Choose "
                "layers of one length, or pool the longer one."
            )
        return tf.stop_gradient(teacher), student

    def per_row(self, inputs: LossInputs) -> tf.Tensor:
        """See `FeatureLoss.per_row`; both are `[rows, positions]` here."""
        teacher, student = (unit_length(maps) for maps in inputs[:2])
        difference = teacher - student
        return tf.reduce_sum(tf.square(difference), axis=1)

    def ensure_built(self, teacher_width: int, student_width: int) -> None:
        """There is nothing to build, and widths may be any."""
        del teacher_width, student_width

    def _maps(self, attention: tf.Tensor) -> tf.Tensor:
        attention = tf.cast(attention, tf.float32)
        axes, candidates = (3, 2) if self.kind == "activations" else (4, 1)
        if attention.shape.rank != axes:
            raise UserError(
                f"Features for `kind` = {self.kind!r} should have {axes} axes. "
                f"Received: shape {attention.shape}."
            )
        size = tf.abs(attention)
        size = tf.square(size) if self.power == 2 else size**self.power
        maps = tf.reduce_sum(size, axis=candidates)
        return tf.reshape(maps, [tf.shape(maps)[0], -1])
