"""What the distillation terms of a retrieval step compare."""

from __future__ import annotations

import tensorflow as tf

from kd_tfrs.data.retrieval.batches import Batch
from kd_tfrs.distillation.losses import FeatureLoss
from kd_tfrs.distillation.retrieval.batch_scores import EmbeddingScores
from kd_tfrs.distillation.retrieval.teachers import Teacher
from kd_tfrs.distillation.terms import DistillationTerm
from kd_tfrs.errors import UserError


def build_features(term: DistillationTerm, student: tf.keras.Model) -> None:
    """Builds the layers of a loss between features before training starts.

    Args:
        term: any; one between scores has nothing to build.
        student: its towers say how wide its outputs are.

    Raises:
        UserError: one of the two has no such output.
    """
    if not isinstance(term.loss, FeatureLoss):
        return
    candidates = term.candidates
    tower = getattr(student, f"{candidates.side}_tower")
    outputs = tower.output
    if candidates.student_output not in outputs:
        raise UserError(
            f"The student's {candidates.side} tower should have the output "
            f"{candidates.student_output!r}. Received: a tower with "
            f"{sorted(outputs)}."
        )
    width = int(outputs[candidates.student_output].shape[-1])
    term.loss.ensure_built(
        term.teacher.width(candidates.side, candidates.teacher_output), width
    )


class RetrievalStepInputs:
    """Inputs of the terms of one step; equal candidates are scored once.

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
        self._heard: dict[str, tuple] = {}
        self._teachers: dict[int, object] = {}

    def loss(self, term: DistillationTerm) -> tf.Tensor:
        """The value of a term.

        Args:
            term: see `as_terms`.

        Returns:
            A scalar.
        """
        if isinstance(term.loss, FeatureLoss):
            teacher, student, selection = self._features(term)
            # A loss that knows a graph has to know who is who.
            uses_rows = getattr(term.loss, "uses_rows", False)
            return term.loss(
                teacher,
                student,
                selection.weight,
                mask=selection.mask,
                step=self._step,
                **({"rows": selection.rows} if uses_rows else {}),
            )
        teacher, student, each, selection = self._scores(term)
        return term.loss(
            teacher,
            student,
            selection.weight,
            mask=selection.mask,
            step=self._step,
            listed=selection.num_listed(),
            target=selection.target,
            rows=selection.candidate_rows(self._batch),
            each=each,
        )

    def adversary_loss(self, term: DistillationTerm) -> tf.Tensor:
        """What the opponents of a term minimise.

        Args:
            term: one whose loss has opponents.

        Returns:
            A scalar.
        """
        teacher, student, selection = self._features(term)
        weight = tf.where(selection.mask, selection.weight, 0.0)
        return term.loss.adversary_loss(
            *term.loss.features(teacher, tf.stop_gradient(student)),
            weight,
            self._step,
        )

    def _features(self, term: DistillationTerm) -> tuple:
        candidates = term.candidates
        if candidates.name not in self._heard:
            selection = candidates.select(self._batch)
            student = self._outputs[candidates.side][candidates.student_output]
            self._heard[candidates.name] = (
                term.teacher.features(
                    candidates.side, selection.rows, candidates.teacher_output
                ),
                student[: tf.shape(selection.rows)[0]],
                selection,
            )
        return self._heard[candidates.name]

    def _scores(self, term: DistillationTerm) -> tuple:
        name = term.candidates.name
        if name not in self._heard:
            selection = term.candidates.select(self._batch)
            teacher = self._batch_scores(term.teacher)
            of_each = getattr(teacher, "scores_of_each", None)
            self._heard[name] = (
                teacher.scores(selection),
                self._student.scores(selection),
                of_each and of_each(selection),
                selection,
            )
        return self._heard[name]

    def _batch_scores(self, teacher: Teacher) -> object:
        if id(teacher) not in self._teachers:
            self._teachers[id(teacher)] = teacher.batch_scores(self._batch)
        return self._teachers[id(teacher)]
