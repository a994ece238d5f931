"""Base of the losses between features: weights and learned layers."""

from __future__ import annotations

import tensorflow as tf

from kd_tfrs.distillation.losses.base import WeightedLoss
from kd_tfrs.distillation.losses.inputs import LossInputs
from kd_tfrs.errors import UserError


class FeatureLoss(WeightedLoss):
    r"""Base of the losses between a teacher's and a student's features.

    $$L = \sum_i w_i \, l(h^t_i, h^s_i) / \sum_i w_i$$

    over the users or items $i$ of a batch. The two may differ in width. A
    subclass overrides `per_row`, and `build` and `trainable_layers` if it has
    layers of its own.

    Attributes:
        uses_lists: whether the loss compares a query with its candidates,
            `[queries, 1 + n, width]`, see `ListFeatures`, and not rows.

    Args:
        reduction: see `WeightedLoss`.
        name: see `WeightedLoss`.

    Example:
    ```python
    class SameLength(FeatureLoss):
        def per_row(self, inputs):
            lengths = (tf.norm(x, axis=1) for x in inputs[:2])
            return tf.math.squared_difference(*lengths)
    ```
    """

    uses_lists = False

    def __init__(
        self,
        reduction: str = tf.keras.losses.Reduction.AUTO,
        name: str | None = None,
    ) -> None:
        super().__init__(reduction, name)
        self._widths: tuple[int, int] | None = None

    def __call__(
        self,
        y_true: tf.Tensor,
        y_pred: tf.Tensor,
        sample_weight: tf.Tensor | None = None,
        *,
        mask: tf.Tensor | None = None,
        step: tf.Tensor | int = 0,
        rows: tf.Tensor | None = None,
    ) -> tf.Tensor:
        """Computes the loss, in the calling convention of Keras.

        Args:
            y_true: `[rows, teacher_width]` features; no gradient flows.
            y_pred: `[rows, student_width]` features.
            sample_weight: `[rows]` non-negative weights; 1 when `None`.
            mask: `[rows]` bool; a row that does not count weighs 0.
            step: training step, for schedules.
            rows: `[rows]` catalogue rows, for a loss that `uses_rows`.

        Returns:
            A scalar, or `[rows]` with `Reduction.NONE`.
        """
        return self.compute(
            LossInputs(
                y_true,
                y_pred,
                mask,
                rows=rows,
                weight=sample_weight,
                step=step,
            )
        )

    def compute(self, inputs: LossInputs) -> tf.Tensor:
        """Computes the loss.

        Args:
            inputs: the features, with their mask, weight and step.

        Returns:
            A scalar, or `[rows]` with `Reduction.NONE`.
        """
        inputs = self._prepare(inputs)
        return self.weighted_mean(self.per_row(inputs), inputs.weight)

    def call(self, y_true: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
        """The loss of every row, `[rows]`, without mask or weights."""
        return self.per_row(self._prepare(LossInputs(y_true, y_pred)))

    def features(
        self, y_true: tf.Tensor, y_pred: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Both as float32, the teacher's without gradient; builds once.

        Args:
            y_true: `[rows, teacher_width]`.
            y_pred: `[rows, student_width]`.

        Returns:
            The two.

        Raises:
            UserError: the loss was built for other widths.
        """
        teacher = tf.stop_gradient(tf.cast(y_true, tf.float32))
        student = tf.cast(y_pred, tf.float32)
        self.ensure_built(int(teacher.shape[-1]), int(student.shape[-1]))
        return teacher, student

    @property
    def is_built(self) -> bool:
        """Whether the widths of teacher and student are known."""
        return self._widths is not None

    def ensure_built(self, teacher_width: int, student_width: int) -> None:
        """Builds the layers if that is not done yet.

        Args:
            teacher_width: width of the teacher's features.
            student_width: width of the student's.

        Raises:
            UserError: the loss was built for other widths.
        """
        widths = (teacher_width, student_width)
        if self._widths is None:
            self.build(*widths)
            self._widths = widths
        elif self._widths != widths:
            raise UserError(
                f"`{type(self).__name__}` is built for widths {self._widths} "
                f"of teacher and student. Received: {widths}. Make one loss "
                "object for each pair of outputs that it compares."
            )

    def build(self, teacher_width: int, student_width: int) -> None:
        """Creates layers of its own; the default has none.

        Args:
            teacher_width: width of the teacher's features.
            student_width: width of the student's.
        """
        del teacher_width, student_width

    def compute_adversary(self, inputs: LossInputs) -> tf.Tensor:
        """Computes the loss that the adversaries minimise.

        Args:
            inputs: see `compute`; no gradient flows into the student.

        Returns:
            A scalar.
        """
        student = tf.stop_gradient(inputs.student)
        return self.adversary_loss(
            self._prepare(inputs._replace(student=student))
        )

    def adversary_loss(self, inputs: LossInputs) -> tf.Tensor:
        """The loss that the adversaries minimise.

        Args:
            inputs: see `per_row`; no gradient flows into the features.

        Returns:
            A scalar.
        """
        raise NotImplementedError(
            f"`{type(self).__name__}` should define `adversary_loss`."
        )

    def per_row(self, inputs: LossInputs) -> tf.Tensor:
        """The loss of every row, which is all that most losses define.

        Args:
            inputs: `[rows, teacher_width]` and `[rows, student_width]`
                float32 features, `[rows]` float32 weights, 0 where a row does
                not count, and the step. A loss between pairs gives a row its
                mean over partners that count.

        Returns:
            `[rows]` float32.
        """
        raise NotImplementedError(
            f"`{type(self).__name__}` should define `per_row`."
        )

    def _prepare(self, inputs: LossInputs) -> LossInputs:
        teacher, student = self.features(inputs.teacher, inputs.student)
        weight = inputs.weight
        if weight is None:
            weight = tf.ones_like(student[:, 0])
        weight = tf.cast(weight, tf.float32)
        if inputs.mask is not None:
            weight = tf.where(inputs.mask, weight, 0.0)
            # NaN in a row that does not count has no effect.
            teacher = tf.where(inputs.mask[:, None], teacher, 0.0)
            student = tf.where(inputs.mask[:, None], student, 0.0)
        return inputs._replace(teacher=teacher, student=student, weight=weight)
