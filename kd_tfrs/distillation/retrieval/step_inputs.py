"""The inputs of the distillation terms of a retrieval step."""

from __future__ import annotations

import tensorflow as tf

from kd_tfrs.data.retrieval.batches import Batch
from kd_tfrs.distillation.losses import FeatureLoss, LossInputs
from kd_tfrs.distillation.retrieval.batch_scores import (
    BatchScores,
    EmbeddingScores,
)
from kd_tfrs.distillation.retrieval.candidates.base import FeatureSampler
from kd_tfrs.distillation.retrieval.teachers import Teacher
from kd_tfrs.distillation.terms import DistillationTerm
from kd_tfrs.errors import UserError


def build_features(term: DistillationTerm, student: tf.keras.Model) -> None:
    """Builds the layers of a loss between features before training starts.

    Args:
        term: any term; a loss between scores has nothing to build.
        student: a model with towers, which give the widths of its outputs.

    Raises:
        UserError: teacher or student has no such output, or the features are
            not those that the loss compares.
    """
    if not isinstance(term.loss, FeatureLoss):
        return
    if term.loss.uses_lists != term.candidates.of_lists:
        raise UserError(
            "A loss that compares queries with their candidates should have "
            "ListFeatures as its `candidates`, and any other loss between "
            f"features FeaturePair. Received: {type(term.loss).__name__} over "
            f"{type(term.candidates).__name__}."
        )
    for side in term.candidates.sides:
        width = _student_width(term.candidates, student, side)
        term.loss.ensure_built(
            term.teacher.width(side, term.candidates.teacher_output), width
        )


def _student_width(
    candidates: FeatureSampler, student: tf.keras.Model, side: str
) -> int:
    outputs = getattr(student, f"{side}_tower").output
    if candidates.student_output not in outputs:
        raise UserError(
            f"The student's {side} tower should have the output "
            f"{candidates.student_output!r}. Received: a tower with "
            f"{sorted(outputs)}."
        )
    return int(outputs[candidates.student_output].shape[-1])


class RetrievalStepInputs:
    """The inputs of the terms of one step.

    Terms with equal candidates and the same teacher share their inputs, which
    are computed once.

    Args:
        batch: of `RetrievalBatches`.
        outputs: of the student for it.
        temperature: the student's own.
        step: training step.
    """

    def __init__(
        self,
        batch: Batch,
        outputs: dict,
        temperature: float,
        step: tf.Tensor | int,
    ) -> None:
        self._batch = batch
        self._outputs = outputs
        self._student = EmbeddingScores.of_student(outputs, temperature)
        self._step = step
        self._inputs: dict[str, LossInputs] = {}
        self._teachers: dict[int, BatchScores] = {}

    def loss_inputs(self, term: DistillationTerm) -> LossInputs:
        """The inputs of the loss of a term.

        Args:
            term: see `as_terms`.

        Returns:
            Features for a `FeatureLoss`, scores for all other losses.
        """
        name = term.candidates.name
        if name not in self._inputs:
            select = (
                self._features
                if isinstance(term.loss, FeatureLoss)
                else self._scores
            )
            self._inputs[name] = select(term)
        return self._inputs[name]

    def _features(self, term: DistillationTerm) -> LossInputs:
        inputs = term.candidates.features(
            self._batch, self._outputs, term.teacher
        )
        return inputs._replace(step=self._step)

    def _scores(self, term: DistillationTerm) -> LossInputs:
        selection = term.candidates.select(self._batch)
        teacher = self._teacher_scores(term.teacher)
        return LossInputs(
            teacher.scores(selection),
            self._student.scores(selection),
            selection.mask,
            listed=selection.num_listed(),
            target=selection.target,
            rows=selection.candidate_rows(self._batch),
            each=teacher.scores_of_each(selection),
            weight=selection.weight,
            step=self._step,
        )

    def _teacher_scores(self, teacher: Teacher) -> BatchScores:
        if id(teacher) not in self._teachers:
            self._teachers[id(teacher)] = teacher.batch_scores(self._batch)
        return self._teachers[id(teacher)]
