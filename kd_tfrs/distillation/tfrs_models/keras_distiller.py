"""The distiller of a plain Keras model that ranks rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import tensorflow as tf
import tensorflow_recommenders as tfrs

from kd_tfrs.distillation.base_distiller import BaseDistiller
from kd_tfrs.distillation.tfrs_models.distiller import ModelDistiller, Outputs
from kd_tfrs.distillation.tfrs_models.outputs import (
    RANKING,
    RankingOutputs,
    predicted_by,
)
from kd_tfrs.errors import UserError

_TASK = "task"


class KerasDistiller(ModelDistiller, BaseDistiller):
    r"""Trains a Keras model of one output on labels and a teacher's outputs.

    As `ModelDistiller`, with the loss of the student's `compile` as its own
    loss. The dataset has `(features, labels)`, or these and sample weights,
    as for the student's own `fit`.

    Args:
        teacher: see `ModelDistiller`; its features are those of the dataset.
        student: a compiled Keras model with one value a row: a logit where
            its loss is `BinaryCrossentropy(from_logits=True)`, a probability
            where that is without logits, else the predicted value.
        **options: see `ModelDistiller`.

    Raises:
        UserError: an argument does not fit; see the message.

    Example:
    ```python
    student.compile(loss=tf.keras.losses.BinaryCrossentropy(from_logits=True))
    distiller = Distiller(teacher, student, BinarySoftTargets(2.0))
    distiller.compile(optimizer="adam")
    distiller.fit(dataset)  # of (features, labels)
    ```
    """

    @classmethod
    def takes(cls, student: object) -> bool:
        """See `BaseDistiller.takes`."""
        return (
            isinstance(student, tf.keras.Model)
            and not isinstance(student, tfrs.Model)
            and not hasattr(student, "task_loss")
        )

    @staticmethod
    def student_kinds(student: tf.keras.Model) -> Mapping[str, str]:
        """The only task of a Keras model; checks its loss."""
        loss = getattr(student, "loss", None)
        if loss is None or isinstance(loss, (list, tuple, dict)):
            raise UserError(
                "`student` should be compiled with the loss on the labels. "
                f"Received: {type(student).__name__} with `loss` = {loss!r}. "
                "Write student.compile(loss=tf.keras.losses."
                "BinaryCrossentropy(from_logits=True))."
            )
        return {_TASK: RANKING}

    @property
    def metrics(self) -> list[tf.keras.metrics.Metric]:
        """Epoch means of the losses, and the metrics of both `compile`s."""
        own = self.student.compiled_metrics
        return [*BaseDistiller.metrics.fget(self), *own.metrics]

    def student_outputs(self, batch: Any) -> Outputs:
        """See `ModelDistiller.student_outputs`."""
        x, y, weight = _parts(batch)
        predicted = self.student(x, training=False)
        outputs = self._outputs(predicted, y, weight)
        _check_range(outputs[_TASK], self._predicts)
        return outputs

    def forward(self, batch: Any, training: bool) -> tuple[Outputs, tf.Tensor]:
        """See `BaseDistiller.forward`."""
        x, y, weight = _parts(batch)
        predicted = self.student(x, training=training)
        loss = self.student.compute_loss(x, y, predicted, weight)
        if self.student.losses:
            # Keras adds them; the total of a distiller has them already.
            loss -= tf.add_n(self.student.losses)
        self.student.compute_metrics(x, y, predicted, weight)
        return self._outputs(predicted, y, weight), loss

    def call(self, batch: Any, training: bool = False) -> tf.Tensor:
        """The predictions of the student."""
        return self.student(batch, training=training)

    @property
    def _predicts(self) -> str:
        return predicted_by(tf.keras.losses.get(self.student.loss))

    def _outputs(
        self, predicted: Any, y: tf.Tensor, weight: tf.Tensor | None
    ) -> Outputs:
        shapes = [x.shape for x in tf.nest.flatten(predicted)]
        if len(shapes) != 1 or shapes[0][1:].as_list() not in ([], [1]):
            raise UserError(
                f"`student` should have one value a row. Received: {shapes}. "
                "Make it a tfrs.Model with a task for each output."
            )
        if weight is not None:
            weight = tf.reshape(tf.cast(weight, tf.float32), [-1])
        outputs = RankingOutputs.of_predictions(
            predicted,
            self._predicts,
            labels=tf.reshape(tf.cast(y, tf.float32), [-1, 1]),
            weight=weight,
        )
        return {_TASK: outputs}


def _check_range(outputs: RankingOutputs, predicts: str) -> None:
    values = outputs.predictions
    if predicts == "probabilities" and not bool(
        tf.reduce_all((values >= 0) & (values <= 1))
    ):
        raise UserError(
            "`student` should predict probabilities for a binary cross "
            f"entropy without logits. Received: {float(values[0, 0]):.3g}. "
            "Compile it with BinaryCrossentropy(from_logits=True)."
        )


def _parts(batch: Any) -> tuple[Any, tf.Tensor, tf.Tensor | None]:
    x, y, weight = tf.keras.utils.unpack_x_y_sample_weight(batch)
    if y is None:
        raise UserError(
            "`x` should be a dataset of (features, labels) for a Keras "
            f"student. Received: {type(batch).__name__} without labels. Write "
            "tf.data.Dataset.from_tensor_slices((features, labels)).batch(n)."
        )
    return x, y, weight
