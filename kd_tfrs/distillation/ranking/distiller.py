"""The Distiller of rankers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import tensorflow as tf

from kd_tfrs.distillation import schedules
from kd_tfrs.distillation.balance import GradientNormBalance
from kd_tfrs.distillation.base_distiller import BaseDistiller
from kd_tfrs.distillation.losses import (
    DistillationLoss,
    FeatureLoss,
)
from kd_tfrs.distillation.ranking.selectors import (
    OutputSelector,
    TaskLogits,
)
from kd_tfrs.distillation.ranking.teachers import (
    Outputs,
    RankingBatch,
    RankingTeacher,
    output_widths,
)
from kd_tfrs.distillation.step_inputs import OutputStepInputs
from kd_tfrs.distillation.terms import DistillationTerm, as_terms
from kd_tfrs.errors import UserError

Losses = (
    DistillationLoss
    | DistillationTerm
    | Sequence[DistillationLoss | FeatureLoss | DistillationTerm]
)


class RankingDistiller(BaseDistiller):
    r"""Trains a ranker on real labels and on the outputs of a teacher.

    $$L = \lambda L_\text{student} + \sum_i w_i L_i(\text{teacher},
    \text{student})$$

    with the sum over the student's own tasks as $L_\text{student}$. The
    student runs forward once a step, and so does every teacher. Training
    changes the student and never a teacher.

    Args:
        teacher: see `RankingTeacher`.
        student: a `RankingModel`, or any model with its `network`, `tasks`
            and `task_loss`.
        distillation_losses: a `DistillationLoss` or a `DistillationTerm`, or a
            sequence of them; a bare loss compares the logits of the only
            task. With several tasks, name a `TaskLogits` for each. Layers
            of a loss are trained with the student.
        distillation_loss_weights: $w_i$, one for each loss; numbers or Keras
            schedules. When `None`, they share `1 - student_loss_weight`,
            which then has to be positive.
        student_loss_weight: $\lambda$, a number of at least 0 or a schedule.
        balance: multiplies the $w_i$ so that gradients keep a proportion, or
            `None`.
        name: name of the model.

    Raises:
        UserError: an argument does not fit; see the message.

    Example:
    ```python
    distiller = RankingDistiller(
        NetworkTeacher(teacher), student, BinarySoftTargets(temperature=2.0)
    )
    distiller.compile(optimizer=LazyAdam(0.003))
    distiller.fit(batches.dataset(epochs=10))
    distiller.student.network  # trained
    ```

    References:
        Hinton, Vinyals and Dean 2015, "Distilling the Knowledge in a Neural
        Network", section 2; Zhu et al. 2020, "Ensembled CTR Prediction via
        Knowledge Distillation".
    """

    def __init__(
        self,
        teacher: RankingTeacher,
        student: tf.keras.Model,
        distillation_losses: Losses | None = None,
        distillation_loss_weights: schedules.Scheduled
        | Sequence[schedules.Scheduled]
        | None = None,
        student_loss_weight: schedules.Scheduled = 0.5,
        balance: GradientNormBalance | None = None,
        name: str = "ranking_distiller",
    ) -> None:
        _check_models(teacher, student)
        terms = as_terms(
            distillation_losses,
            teacher,
            lambda loss: _only_logits(loss, student),
        )
        widths = output_widths(student.network)
        for term in terms:
            _check_term(term)
            term.candidates.prepare(term.loss, term.teacher, student, widths)
        super().__init__(
            teacher,
            student,
            terms,
            distillation_loss_weights,
            student_loss_weight,
            balance,
            name,
        )
        self.track_layers()

    @classmethod
    def takes(cls, student: object) -> bool:
        """See `BaseDistiller.takes`."""
        names = ("network", "tasks", "task_loss")
        return all(hasattr(student, name) for name in names)

    def step_inputs(
        self, batch: RankingBatch, outputs: Outputs
    ) -> OutputStepInputs:
        """See `BaseDistiller.step_inputs`."""
        return OutputStepInputs(batch, outputs, self._step())

    def check(self, batch: RankingBatch) -> None:
        """Runs teacher and student on a batch.

        Args:
            batch: see `RankingBatches`.

        Raises:
            UserError: see `BaseDistiller.check`.
        """
        needed = ("features", "labels", "weight")
        if not isinstance(batch, Mapping) or not {*needed} <= {*batch}:
            kind = (
                f"a dict with {', '.join(sorted(batch))}"
                if isinstance(batch, Mapping)
                else type(batch).__name__
            )
            raise UserError(
                "`x` should be batches of RankingBatches, with features, "
                f"labels and weight. Received: {kind}. Write "
                "RankingBatches(features, labels).dataset(epochs)."
            )
        super().check(batch)

    def metric_inputs(self, batch: RankingBatch, outputs: Outputs) -> tuple:
        """The labels and predictions of every task, where labels are known.

        Args:
            batch: see `RankingBatches`.
            outputs: of the student for it.

        Returns:
            `[rows, 1]` labels, predictions and weights by task.
        """
        parts: tuple[dict, dict, dict] = ({}, {}, {})
        for name, predicted in self.student.predictions(outputs).items():
            labels = batch["labels"][name]
            known = tf.logical_not(tf.math.is_nan(labels))
            columns = (labels, tf.cast(predicted, tf.float32), batch["weight"])
            for part, column in zip(parts, columns, strict=True):
                part[name] = tf.boolean_mask(column, known)[:, None]
        return parts

    def batch_weight(self, batch: RankingBatch) -> tf.Tensor:
        """Sum of the rows' weights."""
        return tf.reduce_sum(batch["weight"])


def _check_models(teacher: RankingTeacher, student: tf.keras.Model) -> None:
    if not isinstance(teacher, RankingTeacher):
        raise UserError(
            "`teacher` should be a RankingTeacher. Received: "
            f"{type(teacher).__name__}. Wrap a RankingModel in NetworkTeacher."
        )
    needed = ("network", "tasks", "task_loss")
    missing = [name for name in needed if not hasattr(student, name)]
    if missing:
        raise UserError(
            "`student` should be a RankingModel. Received: "
            f"{type(student).__name__} without {missing}."
        )


def _only_logits(loss: DistillationLoss, student: tf.keras.Model) -> TaskLogits:
    """The logits of the only task, for a loss without a term."""
    if len(student.tasks) > 1:
        raise UserError(
            "`distillation_losses` should be DistillationTerm objects where "
            "the student has several tasks. Received: "
            f"{type(loss).__name__} for "
            f"{[task.name for task in student.tasks]}. Name a TaskLogits for "
            "each distilled task."
        )
    return TaskLogits(student.tasks[0].name)


def _check_term(term: DistillationTerm) -> None:
    if not isinstance(term.teacher, RankingTeacher):
        raise UserError(
            "The teacher of a DistillationTerm should be a RankingTeacher. "
            f"Received: {type(term.teacher).__name__}. Wrap a RankingModel in "
            "NetworkTeacher."
        )
    if not isinstance(term.candidates, OutputSelector):
        raise UserError(
            "A term of a RankingDistiller should have TaskLogits, "
            "SessionLists or NetworkOutputs as its `candidates`. Received: "
            f"{type(term.loss).__name__} over "
            f"{type(term.candidates).__name__}, which is for retrieval."
        )
