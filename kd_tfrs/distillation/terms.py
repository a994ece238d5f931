"""A distillation loss, where it listens, and to whom."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING

import tensorflow as tf

from kd_tfrs.data.pipelines import Batch
from kd_tfrs.distillation.knowledge import EmbeddingKnowledge
from kd_tfrs.distillation.listeners import InBatch, Listener
from kd_tfrs.distillation.losses import DistillationLoss, FeatureLoss
from kd_tfrs.distillation.teachers import Teacher
from kd_tfrs.errors import UserError

if TYPE_CHECKING:
    from kd_tfrs.distillation.ranking import RankingListener, RankingTeacher


@dataclasses.dataclass(frozen=True)
class Term:
    """A distillation loss, where it listens, and to whom.

    Args:
        loss: compares teacher and student.
        over: the candidates they are compared on, the batch's by default;
            for a loss between features, `Features`. A `RankingDistiller`
            has listeners of its own.
        teacher: a teacher of its own, or `None` for the Distiller's. Several
            kinds of teachers may teach at once.

    Raises:
        UserError: loss and listener do not go together.

    Example:
    ```python
    Term(SoftTargets(), TeacherTopK(k=200), teacher=linear_item_model)
    ```
    """

    loss: DistillationLoss | FeatureLoss
    over: Listener | RankingListener = dataclasses.field(
        default_factory=InBatch
    )
    teacher: Teacher | RankingTeacher | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.loss, (DistillationLoss, FeatureLoss)):
            raise UserError(
                "`distillation_losses` should hold DistillationLoss or "
                f"FeatureLoss objects. Received: {type(self.loss).__name__}."
            )
        if isinstance(self.loss, FeatureLoss) != self.over.of_features:
            raise UserError(
                "A loss between features should listen to `Features`, in a "
                "ranker to `NetworkOutputs`, and no other to these. "
                f"Received: {type(self.loss).__name__} over "
                f"{type(self.over).__name__}."
            )


def as_terms(
    losses: object, teacher: Teacher | RankingTeacher
) -> tuple[Term, ...]:
    """Terms from what a user gives, each with its teacher.

    Args:
        losses: a loss or a `Term`, or a sequence of them.
        teacher: of the terms that have none.

    Returns:
        Terms. Equal listeners of different teachers get names of their own.

    Raises:
        UserError: there is none, or one is no loss.
    """
    if not isinstance(losses, Sequence):
        losses = (losses,)
    if not losses:
        raise UserError(
            "`distillation_losses` should have at least one loss. Received: "
            "none. To train on labels alone, fit the student itself."
        )
    terms, teachers = [], [teacher]
    for given in losses:
        term = given if isinstance(given, Term) else Term(given)
        own = term.teacher or teacher
        if own not in teachers:
            teachers.append(own)
        over = term.over
        if own is not teacher:
            over = copy.copy(over)
            over.name = f"{over.name}_teacher_{teachers.index(own)}"
        terms.append(Term(term.loss, over, own))
    return tuple(terms)


def term_names(terms: Sequence[Term], taken: Sequence[str]) -> list[str]:
    """A name for each term in the logs.

    Args:
        terms: see `as_terms`.
        taken: names that are in use already.

    Returns:
        Different names.
    """
    names: list[str] = []
    for term in terms:
        name = term.loss.name or type(term.loss).__name__
        if name in (*taken, *names):
            name = f"{name}_{term.over.name}"
        if name in names:
            name = f"{name}_{len(names)}"
        names.append(name)
    return names


def build_features(term: Term, student: tf.keras.Model) -> None:
    """Builds the layers of a loss between features before training starts.

    Args:
        term: any; one between scores has nothing to build.
        student: its towers say how wide its outputs are.

    Raises:
        UserError: one of the two has no such output.
    """
    if not isinstance(term.loss, FeatureLoss):
        return
    over = term.over
    tower = getattr(student, f"{over.side}_tower")
    outputs = tower.output
    if over.student_output not in outputs:
        raise UserError(
            f"The student's {over.side} tower should have the output "
            f"{over.student_output!r}. Received: a tower with "
            f"{sorted(outputs)}."
        )
    width = int(outputs[over.student_output].shape[-1])
    term.loss.ensure_built(
        term.teacher.width(over.side, over.teacher_output), width
    )


class Hearing:
    """What the terms of one step hear; equal listeners hear once.

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
        self._student = EmbeddingKnowledge.of_student(outputs, temperature)
        self._step = step
        self._heard: dict[str, tuple] = {}
        self._teachers: dict[int, object] = {}

    def loss(self, term: Term) -> tf.Tensor:
        """The value of a term.

        Args:
            term: see `as_terms`.

        Returns:
            A scalar.
        """
        if isinstance(term.loss, FeatureLoss):
            teacher, student, selection = self._features(term)
            # A loss that knows a graph has to know who is who.
            hears_rows = getattr(term.loss, "hears_rows", False)
            return term.loss(
                teacher,
                student,
                selection.weight,
                mask=selection.mask,
                step=self._step,
                **({"rows": selection.rows} if hears_rows else {}),
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

    def opponent_loss(self, term: Term) -> tf.Tensor:
        """What the opponents of a term minimise.

        Args:
            term: one whose loss has opponents.

        Returns:
            A scalar.
        """
        teacher, student, selection = self._features(term)
        weight = tf.where(selection.mask, selection.weight, 0.0)
        return term.loss.opponent_loss(
            *term.loss.features(teacher, tf.stop_gradient(student)),
            weight,
            self._step,
        )

    def _features(self, term: Term) -> tuple:
        over = term.over
        if over.name not in self._heard:
            selection = over.select(self._batch)
            student = self._outputs[over.side][over.student_output]
            self._heard[over.name] = (
                term.teacher.features(
                    over.side, selection.rows, over.teacher_output
                ),
                student[: tf.shape(selection.rows)[0]],
                selection,
            )
        return self._heard[over.name]

    def _scores(self, term: Term) -> tuple:
        name = term.over.name
        if name not in self._heard:
            selection = term.over.select(self._batch)
            teacher = self._knowledge(term.teacher)
            of_each = getattr(teacher, "scores_of_each", None)
            self._heard[name] = (
                teacher.scores(selection),
                self._student.scores(selection),
                of_each and of_each(selection),
                selection,
            )
        return self._heard[name]

    def _knowledge(self, teacher: Teacher) -> object:
        if id(teacher) not in self._teachers:
            self._teachers[id(teacher)] = teacher.knowledge(self._batch)
        return self._teachers[id(teacher)]
