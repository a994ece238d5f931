"""Contrastive distillation of the features of users or items."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from kd_tfrs.distillation.losses.base import MASKED_LOGIT
from kd_tfrs.distillation.losses.checks import check_count, check_number
from kd_tfrs.distillation.losses.feature_base import FeatureLoss
from kd_tfrs.distillation.losses.inputs import LossInputs
from kd_tfrs.distillation.losses.projection import projection, unit_length


@tf.keras.utils.register_keras_serializable("kd_tfrs")
class ContrastiveRepresentation(FeatureLoss):
    r"""InfoNCE between the teacher's and the student's features (CRD).

    $$l_i = -\frac{1}{2} \Big( \log \frac{e^{a_{ii}}}{\sum_j e^{a_{ij}}} +
    \log \frac{e^{a_{ii}}}{\sum_j e^{a_{ji}}} \Big), \quad
    a_{ij} = \cos(g^t(h^t_i), g^s(h^s_j)) / \tau$$

    with learned linear heads $g$ on both sides. Each side is once the anchor,
    as in the authors' code. The paper draws thousands of negatives from a
    memory bank; here they are the other rows of the batch, which is the
    in-batch form of the same bound and needs no memory of stale features.

    Args:
        width: of the space in which features meet.
        temperature: $\tau$, at least 0.001.
        **options: `reduction` and `name`, see `WeightedLoss`.

    Raises:
        UserError: an argument is out of range.

    Example:
    >>> loss = ContrastiveRepresentation(width=8)
    >>> float(loss([[1.0, 2.0, 3.0]], [[1.0, 2.0]]))
    0.0

    References:
        Tian, Krishnan and Isola 2020, "Contrastive Representation
        Distillation", section 3.1; van den Oord et al. 2018,
        "Representation Learning with Contrastive Predictive Coding", eq. 4.
    """

    def __init__(
        self, width: int = 128, temperature: float = 0.07, **options: Any
    ) -> None:
        super().__init__(**options)
        self.width = check_count("width", width)
        self.temperature = check_number("temperature", temperature, 1e-3)

    def build(self, teacher_width: int, student_width: int) -> None:
        """See `FeatureLoss.build`."""
        self.teacher_head = projection(
            teacher_width, self.width, name="teacher_head"
        )
        self.student_head = projection(
            student_width, self.width, name="student_head"
        )

    @property
    def trainable_layers(self) -> tuple[tf.keras.layers.Layer, ...]:
        """The heads of both sides."""
        return (self.teacher_head, self.student_head)

    def per_row(self, inputs: LossInputs) -> tf.Tensor:
        """See `FeatureLoss.per_row`."""
        teacher, student = inputs[:2]
        weight = inputs.weight
        logits = tf.matmul(
            unit_length(self.teacher_head(teacher)),
            unit_length(self.student_head(student)),
            transpose_b=True,
        )
        logits /= self.temperature
        own = tf.linalg.diag_part(logits)
        counts = weight > 0
        away = tf.where(counts, 0.0, MASKED_LOGIT)
        of_teachers = tf.reduce_logsumexp(logits + away, axis=1)
        of_students = tf.reduce_logsumexp(logits + away[:, tf.newaxis], axis=0)
        losses = 0.5 * (of_teachers + of_students) - own
        return tf.where(counts, losses, 0.0)
