"""The distiller of any `tfrs.Model`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import tensorflow as tf
import tensorflow_recommenders as tfrs

from kd_tfrs.distillation import schedules
from kd_tfrs.distillation.base_distiller import BaseDistiller
from kd_tfrs.distillation.losses import (
    DistillationLoss,
    FeatureLoss,
    LossInputs,
)
from kd_tfrs.distillation.step_inputs import OutputStepInputs
from kd_tfrs.distillation.terms import DistillationTerm, as_terms
from kd_tfrs.distillation.tfrs_models.outputs import (
    TaskOutputs,
    outputs_of_calls,
    predicted_by,
)
from kd_tfrs.distillation.tfrs_models.selectors import (
    TaskScores,
    TaskSelector,
    check_term,
)
from kd_tfrs.distillation.tfrs_models.task_calls import record_tasks
from kd_tfrs.distillation.tfrs_models.teachers import (
    ModelTeacher,
    PredictionTeacher,
    TfrsTeacher,
    task_kinds,
)
from kd_tfrs.distillation.trial import first_rows, trial_call
from kd_tfrs.errors import UserError

Outputs = Mapping[str, TaskOutputs]


class ModelDistiller(BaseDistiller):
    r"""Trains any `tfrs.Model` on its own loss and on a teacher's outputs.

    $$L = \lambda L_\text{student} + \sum_i w_i s_i L_i(\text{teacher},
    \text{student})$$

    with the student's own `compute_loss` as $L_\text{student}$. $s_i$ is 1,
    and the number of rows of the batch where the loss of the task is a sum,
    as that of `tfrs.tasks.Retrieval` is by default, so that the weights have
    the same meaning for both. Teacher and student run forward once a step, on
    the same batch of the student's dataset. Neither is changed but by the
    student's training.

    Args:
        teacher: a `tfrs.Model`, or a `ModelTeacher`.
        student: a `tfrs.Model`.
        distillation_losses: a `DistillationLoss` or a `DistillationTerm`, or
            a sequence of them. A bare loss compares the only task that fits
            it: a loss between scores that of retrieval, `BinarySoftTargets`
            and `ScoreRegression` that of ranking.
        distillation_loss_weights: $w_i$, one for each loss; numbers or Keras
            schedules. When `None`, they share `1 - student_loss_weight`,
            which then has to be positive.
        student_loss_weight: $\lambda$, a number of at least 0 or a schedule.
        name: name of the model.

    Raises:
        UserError: an argument does not fit; see the message.

    Example:
    ```python
    distiller = ModelDistiller(teacher, student, SoftTargets(temperature=2.0))
    distiller.compile(optimizer=tf.keras.optimizers.legacy.Adagrad(0.1))
    distiller.fit(dataset, epochs=3)
    ```
    """

    def __init__(
        self,
        teacher: tf.keras.Model | ModelTeacher,
        student: tf.keras.Model,
        distillation_losses: DistillationLoss
        | DistillationTerm
        | Sequence[DistillationLoss | FeatureLoss | DistillationTerm]
        | None = None,
        distillation_loss_weights: schedules.Scheduled
        | Sequence[schedules.Scheduled]
        | None = None,
        student_loss_weight: schedules.Scheduled = 0.5,
        name: str = "distiller",
    ) -> None:
        kinds = self.student_kinds(student)
        made = {}
        terms = []
        for term in as_terms(distillation_losses, teacher, _default):
            own = made.setdefault(id(term.teacher), as_teacher(term.teacher))
            candidates = term.candidates.resolve(term.loss, kinds, own.kinds)
            terms.append(DistillationTerm(term.loss, candidates, own))
        teacher = made.get(id(teacher)) or as_teacher(teacher)
        super().__init__(
            teacher,
            student,
            terms,
            distillation_loss_weights,
            student_loss_weight,
            name=name,
        )

    @staticmethod
    def student_kinds(student: tf.keras.Model) -> Mapping[str, str]:
        """The kinds of the student's tasks by name, see `task_kinds`."""
        return task_kinds("student", student)

    @classmethod
    def takes(cls, student: object) -> bool:
        """See `BaseDistiller.takes`."""
        own = hasattr(student, "task_loss")
        return isinstance(student, tfrs.Model) and not own

    @property
    def metrics(self) -> list[tf.keras.metrics.Metric]:
        """Epoch means of the losses, and the student's own metrics."""
        return [*super().metrics, *self.student.metrics]

    def check(self, batch: Any) -> None:
        """Runs both models on two rows, and builds the layers of the losses.

        Args:
            batch: of the student's features.

        Raises:
            UserError: the models do not take the features, or their outputs
                do not fit.
        """
        rows = first_rows(batch)
        with trial_call("student"):
            student = self.student_outputs(rows)
        for term in self._terms.value:
            with trial_call("teacher"):
                term.teacher.check_ids(batch)
                teacher = term.teacher.outputs(rows)
            check_term(term, teacher, student)
        self.track_layers()

    def predict(self, *args: Any, **options: Any) -> Any:
        """The student's predictions, see `tf.keras.Model.predict`.

        Raises:
            UserError: the student has no `call`, as many a `tfrs.Model`.
        """
        if type(self.student).call is tf.keras.Model.call:
            raise UserError(
                "`student` should have a `call` to predict. Received: "
                f"{type(self.student).__name__} with `compute_loss` alone. "
                "Call its towers, as after its own training."
            )
        return super().predict(*args, **options)

    def student_outputs(self, batch: Any) -> Outputs:
        """The outputs of the student without its losses.

        Args:
            batch: of the student's features.

        Returns:
            Outputs by task.
        """
        with record_tasks(self.student, compute_losses=False) as calls:
            self.student.compute_loss(batch, training=False)
        return outputs_of_calls(calls)

    def forward(self, batch: Any, training: bool) -> tuple[Outputs, tf.Tensor]:
        """See `BaseDistiller.forward`."""
        with record_tasks(self.student) as calls:
            loss = self.student.compute_loss(batch, training=training)
        return outputs_of_calls(calls), loss

    def step_inputs(self, batch: Any, outputs: Outputs) -> ModelStepInputs:
        """See `BaseDistiller.step_inputs`."""
        return ModelStepInputs(batch, outputs, self._step())

    def batch_weight(self, batch: Any) -> tf.Tensor:
        """Number of rows of the batch."""
        return tf.cast(tf.shape(tf.nest.flatten(batch)[0])[0], tf.float32)

    def metric_inputs(self, batch: Any, outputs: Outputs) -> tuple:
        """Labels and predictions by task.

        Args:
            batch: of the student's dataset.
            outputs: of the student for it.

        Returns:
            Of a ranking task, `[batch, 1]` labels and predictions; of a
            retrieval task, `[batch, candidates]` one-hot labels and scores.
        """
        del batch
        parts: tuple[dict, dict, dict] = ({}, {}, {})
        for name, output in outputs.items():
            columns = output.metric_inputs()
            for part, column in zip(parts, columns, strict=True):
                part[name] = column
        return parts

    def term_scales(self, outputs: Outputs) -> list[tf.Tensor | float]:
        """See the class."""
        return [
            outputs[task].num_rows if outputs[task].is_sum else 1.0
            for task in (t.candidates.task for t in self._terms.value)
        ]


class ModelStepInputs(OutputStepInputs):
    """The same for selectors that need no more than the outputs."""

    def select(self, term: DistillationTerm, teacher: Outputs) -> LossInputs:
        """See `OutputStepInputs.select`."""
        return term.candidates.select(teacher, self._outputs)


def as_teacher(teacher: tf.keras.Model | ModelTeacher) -> ModelTeacher:
    """A teacher of TFRS models.

    Args:
        teacher: a `tfrs.Model`, a compiled Keras model of one output, or a
            `ModelTeacher`.

    Returns:
        A `ModelTeacher`.

    Raises:
        UserError: it is none of them.
    """
    if isinstance(teacher, ModelTeacher):
        return teacher
    if isinstance(teacher, tfrs.Model):
        return TfrsTeacher(teacher)
    loss = getattr(teacher, "loss", None)
    if isinstance(teacher, tf.keras.Model) and loss is not None:
        predicts = predicted_by(tf.keras.losses.get(loss))
        return PredictionTeacher(teacher, predicts)
    raise UserError(
        "`teacher` should be a tfrs.Model or a ModelTeacher. Received: "
        f"{_described(teacher)}. Load a file by load_model_file, and wrap "
        "what predicts a value in PredictionTeacher(model, predicts=...)."
    )


def _described(teacher: object) -> str:
    name = type(teacher).__name__
    return f"{name} {teacher!r}" if isinstance(teacher, str) else name


def _default(loss: DistillationLoss | FeatureLoss) -> TaskSelector:
    if isinstance(loss, FeatureLoss):
        raise UserError(
            "A loss between features should name the embeddings that it "
            f"compares. Received: {type(loss).__name__} alone. Write "
            "DistillationTerm(loss, TaskEmbeddings('query'))."
        )
    return TaskScores()
