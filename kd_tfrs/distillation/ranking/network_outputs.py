"""Hidden outputs of both rankers, for losses between features."""

from __future__ import annotations

from collections.abc import Mapping

import tensorflow as tf

from kd_tfrs.distillation.losses import FeatureLoss, LossInputs
from kd_tfrs.distillation.ranking.selectors import (
    OutputSelector,
    no_output,
)
from kd_tfrs.distillation.ranking.teachers import (
    Outputs,
    RankingBatch,
    RankingTeacher,
)
from kd_tfrs.errors import UserError


class NetworkOutputs(OutputSelector):
    """Named outputs of both networks, for losses between features.

    Outputs of more than two axes, such as `embeddings`, are flattened. Rows
    have the weights of the batch.

    Args:
        teacher_output: such as "hidden_1", "interaction"; of one member of an
            ensemble, "teacher_0_hidden_1".
        student_output: such as "hidden_0".
        num_rows: how many of the batch's rows are compared, at least 2; they
            are the first, which is a random sample of shuffled batches.
            `None` for all. Losses between pairs cost its square.

    Raises:
        UserError: `num_rows` is too small.

    Example:
    ```python
    DistillationTerm(Hint(), NetworkOutputs("hidden_1", "hidden_0"))
    outputs = NetworkOutputs("interaction", "hidden_0")
    DistillationTerm(RelationalDistance(), outputs)
    ```

    References:
        Romero et al. 2015, "FitNets: Hints for Thin Deep Nets", section 2.2.
    """

    of_features = True

    def __init__(
        self,
        teacher_output: str,
        student_output: str,
        num_rows: int | None = None,
    ) -> None:
        if num_rows is not None and num_rows < 2:
            raise UserError(
                "`num_rows` should be at least 2, or None for all rows. "
                f"Received: `num_rows` = {num_rows}."
            )
        super().__init__(f"{teacher_output}_{student_output}")
        self.teacher_output = teacher_output
        self.student_output = student_output
        self.num_rows = num_rows

    def select(
        self, batch: RankingBatch, teacher: Outputs, student: Outputs
    ) -> LossInputs:
        """See `OutputSelector.select`."""
        features = _flat(teacher[self.teacher_output][: self.num_rows])
        mask = tf.reduce_all(tf.logical_not(tf.math.is_nan(features)), axis=1)
        return LossInputs(
            # A masked NaN would still be one in a product with 0.
            tf.where(mask[:, None], features, 0.0),
            _flat(student[self.student_output][: self.num_rows]),
            mask,
            weight=tf.where(mask, batch["weight"][: self.num_rows], 0.0),
        )

    def prepare(
        self,
        loss: FeatureLoss,
        teacher: RankingTeacher,
        student: tf.keras.Model,
        widths: Mapping[str, int],
    ) -> None:
        """See `OutputSelector.prepare`."""
        if self.student_output not in widths:
            raise no_output(self.student_output, widths)
        if loss.uses_rows:
            raise UserError(
                f"`{type(loss).__name__}` should receive the catalogue rows "
                "of its features, and the rows of a ranker are impressions. "
                f"Received: {self.name!r}. Take Hint."
            )
        loss.ensure_built(
            teacher.width(self.teacher_output), widths[self.student_output]
        )


def _flat(features: tf.Tensor) -> tf.Tensor:
    if features.shape.rank == 2:
        return features
    width = features.shape[1:].num_elements()
    return tf.reshape(features, [-1, width])
