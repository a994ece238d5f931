"""Base of the losses between features: weights and learned layers."""

from __future__ import annotations

import tensorflow as tf

from kd_tfrs.distillation.losses.inputs import LossInputs
from kd_tfrs.errors import UserError


class FeatureLoss(tf.keras.losses.Loss):
    r"""Base of the losses between a teacher's and a student's features.

    $$L = \sum_i w_i \, l(h^t_i, h^s_i) / \sum_i w_i$$

    over the users or items $i$ of a batch. The two may differ in width. A
    subclass overrides `per_row`, and `build` and `learned` where it brings
    layers of its own, which the `Distiller` trains with the student.

    Attributes:
        uses_labels: always false: features are compared without labels.
        uses_rows: whether the loss reads `LossInputs.rows`, the catalogue
            rows of the features.
        adversaries: layers that are trained against the student at every
            step. A loss with adversaries defines `adversary_loss` and has an
            `adversary_optimizer`.

    Args:
        reduction: a `tf.keras.losses.Reduction`; `NONE` gives the weighted
            loss of every row, `SUM` their sum, all else the weighted mean.
        name: name of the loss in the logs.

    Example:
    ```python
    class SameLength(FeatureLoss):
        def per_row(self, teacher, student, weight, step):
            return (tf.norm(teacher, axis=1) - tf.norm(student, axis=1)) ** 2
    ```
    """

    uses_labels = False
    uses_rows = False
    adversaries: tuple[tf.keras.layers.Layer, ...] = ()

    def __init__(
        self,
        reduction: str = tf.keras.losses.Reduction.AUTO,
        name: str | None = None,
    ) -> None:
        super().__init__(reduction=reduction, name=name)
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
        teacher, student = self.features(inputs.teacher, inputs.student)
        weight = row_weights(student, inputs.weight, inputs.mask)
        losses = weight * self.per_row(teacher, student, weight, inputs.step)
        if self.reduction == tf.keras.losses.Reduction.NONE:
            return losses
        total = tf.reduce_sum(losses)
        if self.reduction == tf.keras.losses.Reduction.SUM:
            return total
        return tf.math.divide_no_nan(total, tf.reduce_sum(weight))

    def call(self, y_true: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
        """The loss of every row, `[rows]`, without mask or weights."""
        teacher, student = self.features(y_true, y_pred)
        weight = row_weights(student, None, None)
        return self.per_row(teacher, student, weight, 0)

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

    @property
    def trainable_layers(self) -> tuple[tf.keras.layers.Layer, ...]:
        """Layers of its own that are trained with the student."""
        return ()

    def compute_adversary(self, inputs: LossInputs) -> tf.Tensor:
        """Computes the loss that the adversaries minimise.

        Args:
            inputs: see `compute`; no gradient flows into the student.

        Returns:
            A scalar.
        """
        teacher, student = self.features(
            inputs.teacher, tf.stop_gradient(inputs.student)
        )
        weight = row_weights(student, inputs.weight, inputs.mask)
        return self.adversary_loss(teacher, student, weight, inputs.step)

    def adversary_loss(
        self,
        teacher: tf.Tensor,
        student: tf.Tensor,
        weight: tf.Tensor,
        step: tf.Tensor | int,
    ) -> tf.Tensor:
        """The loss that the adversaries minimise.

        Args:
            teacher: `[rows, teacher_width]`.
            student: `[rows, student_width]`, without gradient.
            weight: `[rows]`.
            step: training step.

        Returns:
            A scalar.
        """
        raise NotImplementedError(
            f"`{type(self).__name__}` should define `adversary_loss`."
        )

    def per_row(
        self,
        teacher: tf.Tensor,
        student: tf.Tensor,
        weight: tf.Tensor,
        step: tf.Tensor | int,
    ) -> tf.Tensor:
        """The loss of every row, which is all that most losses define.

        Args:
            teacher: `[rows, teacher_width]` float32.
            student: `[rows, student_width]` float32.
            weight: `[rows]` float32; 0 where a row does not count. A loss
                between pairs gives a row its mean over partners that count.
            step: training step.

        Returns:
            `[rows]` float32.
        """
        raise NotImplementedError(
            f"`{type(self).__name__}` should define `per_row`."
        )


def row_weights(
    features: tf.Tensor,
    sample_weight: tf.Tensor | None,
    mask: tf.Tensor | None,
) -> tf.Tensor:
    """Weights of rows, 0 where masked.

    Args:
        features: `[rows, width]`.
        sample_weight: `[rows]`, or `None` for 1.
        mask: `[rows]` bool, or `None`.

    Returns:
        `[rows]` float32.
    """
    if sample_weight is None:
        weight = tf.ones_like(features[:, 0])
    else:
        weight = tf.cast(sample_weight, tf.float32)
    if mask is None:
        return weight
    return tf.where(mask, weight, 0.0)
