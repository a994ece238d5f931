"""The outputs of two TFRS models that a distillation term compares."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np
import tensorflow as tf

from kd_tfrs.distillation.losses import (
    BinarySoftTargets,
    DistillationLoss,
    FeatureLoss,
    LossInputs,
)
from kd_tfrs.distillation.terms import DistillationTerm
from kd_tfrs.distillation.tfrs_models.outputs import (
    RANKING,
    RETRIEVAL,
    RankingOutputs,
    RetrievalOutputs,
    TaskOutputs,
)
from kd_tfrs.distillation.trial import trial_call
from kd_tfrs.errors import UserError

Outputs = Mapping[str, TaskOutputs]
Kinds = Mapping[str, str]


class TaskSelector:
    """Base of the selectors of the outputs of one task.

    Args:
        task: name of the student's task, the attribute that holds it. `None`
            for the only task that fits the loss.
        teacher_task: name of the teacher's task; `task` when `None`, or the
            only one of its kind.

    Attributes:
        of_features: whether the selector is for losses between features,
            rather than between scores.
    """

    of_features = False

    def __init__(
        self, task: str | None = None, teacher_task: str | None = None
    ) -> None:
        self.task = task
        self.teacher_task = teacher_task
        self.name = task or "task"

    def resolve(
        self,
        loss: DistillationLoss | FeatureLoss,
        student: Kinds,
        teacher: Kinds,
    ) -> TaskSelector:
        """The selector with the names of both tasks.

        Args:
            loss: the loss of the term.
            student: kinds of the student's tasks by name.
            teacher: kinds of the teacher's tasks by name.

        Returns:
            A new selector.

        Raises:
            UserError: a task does not exist, or several fit.
        """
        task = _chosen("student", self.task, student, self._kinds(loss))
        of_kind = {n: k for n, k in teacher.items() if k == student[task]}
        given = self.teacher_task
        if given is None and task in of_kind:
            given = task
        other = _chosen("teacher", given, of_kind, (student[task],))
        return self._named(task, other)

    def select(self, teacher: Outputs, student: Outputs) -> LossInputs:
        """Selects the outputs that are compared.

        Args:
            teacher: outputs by task.
            student: outputs by task.

        Returns:
            The inputs of the loss.
        """
        raise NotImplementedError

    def _kinds(self, loss: DistillationLoss | FeatureLoss) -> tuple[str, ...]:
        """The kinds of tasks that a loss fits, the preferred kind first."""
        raise NotImplementedError

    def _named(self, task: str, teacher_task: str) -> TaskSelector:
        return type(self)(task, teacher_task)


class TaskScores(TaskSelector):
    """The scores of one task of both models.

    Of a retrieval task, `[batch, candidates]` scores of the candidates of the
    batch; of a ranking task, `[batch, 1]` logits. A candidate that appears
    twice counts once where the model gives the task `candidate_ids`.

    Args:
        task: see `TaskSelector`.
        teacher_task: see `TaskSelector`.

    Example:
    ```python
    DistillationTerm(BinarySoftTargets(2.0), TaskScores("rating_task"))
    ```
    """

    def select(self, teacher: Outputs, student: Outputs) -> LossInputs:
        """See `TaskSelector.select`."""
        mine, its = student[self.task], teacher[self.teacher_task]
        if isinstance(mine, RetrievalOutputs):
            return _retrieval_inputs(mine, its)
        return _ranking_inputs(self, mine, its)

    def _kinds(self, loss: DistillationLoss | FeatureLoss) -> tuple[str, ...]:
        if loss.uses_single_scores:
            return (RANKING, RETRIEVAL)
        return (RETRIEVAL,)


class TaskEmbeddings(TaskSelector):
    """The embeddings of a retrieval task of both models.

    Args:
        side: "query" or "candidate".
        task: see `TaskSelector`.
        teacher_task: see `TaskSelector`.

    Example:
    ```python
    DistillationTerm(Hint(), TaskEmbeddings("query"))
    ```
    """

    of_features = True

    def __init__(
        self,
        side: Literal["query", "candidate"],
        task: str | None = None,
        teacher_task: str | None = None,
    ) -> None:
        if side not in ("query", "candidate"):
            raise UserError(
                "`side` should be query or candidate. Received: `side` = "
                f"{side!r}."
            )
        super().__init__(task, teacher_task)
        self.side = side
        self.name = f"{side}_embedding"

    def select(self, teacher: Outputs, student: Outputs) -> LossInputs:
        """See `TaskSelector.select`."""
        mine = getattr(student[self.task], self.side)
        its = getattr(teacher[self.teacher_task], self.side)
        if its is None:
            raise UserError(
                "A teacher of a loss between embeddings should have towers. "
                "Received: a teacher with scores alone. Take a loss between "
                "scores."
            )
        return LossInputs(its, mine)

    def _kinds(self, loss: DistillationLoss | FeatureLoss) -> tuple[str, ...]:
        return (RETRIEVAL,)

    def _named(self, task: str, teacher_task: str) -> TaskSelector:
        return TaskEmbeddings(self.side, task, teacher_task)


def _chosen(
    who: str, given: str | None, kinds: Kinds, wanted: tuple[str, ...]
) -> str:
    if given is not None:
        if given not in kinds:
            raise UserError(
                f"A term should name a task of the {who}: "
                f"{', '.join(kinds) or 'none'}. Received: {given!r}. Take the "
                "name of the attribute that holds the task."
            )
        if kinds[given] not in wanted:
            raise UserError(
                f"The loss of a term should fit its task. Received: a loss "
                f"for {' or '.join(wanted)}, and the task {given!r} of "
                f"{kinds[given]}. Take BinarySoftTargets or ScoreRegression "
                "for ranking."
            )
        return given
    for kind in wanted:
        found = [name for name, its in kinds.items() if its == kind]
        if len(found) == 1:
            return found[0]
        if found:
            raise UserError(
                f"A term should name one of the {who}'s tasks: "
                f"{', '.join(found)}. Received: a loss without a task. Write "
                f"DistillationTerm(loss, TaskScores({found[0]!r}))."
            )
    described = ", ".join(f"{n} ({k})" for n, k in kinds.items()) or "none"
    raise UserError(
        f"The {who} should have a task of {' or '.join(wanted)} for the loss. "
        f"Received: the tasks {described}. Take a loss that fits: SoftTargets "
        "for retrieval, BinarySoftTargets or ScoreRegression for ranking."
    )


def _retrieval_inputs(
    mine: RetrievalOutputs, its: RetrievalOutputs
) -> LossInputs:
    scores = mine.scores
    mask = tf.ones_like(scores, tf.bool) if mine.mask is None else mine.mask
    if mine.ids is not None:
        mask &= _first_of_id(mine.ids)[None, :]
    target = tf.cast(tf.eye(tf.shape(scores)[0], tf.shape(scores)[1]), tf.bool)
    known = True if its.known is None else its.known
    return LossInputs(
        its.scores,
        scores,
        (mask | target) & known,
        target=target,
        weight=mine.weight,
    )


def _first_of_id(ids: tf.Tensor) -> tf.Tensor:
    _, places = tf.unique(ids)
    count = tf.shape(places)[0]
    first = tf.math.unsorted_segment_min(tf.range(count), places, count)
    return tf.gather(first, places) == tf.range(count)


def _ranking_inputs(
    term: TaskScores, mine: RankingOutputs, its: RankingOutputs
) -> LossInputs:
    if mine.is_binary != its.is_binary:
        raise UserError(
            "Teacher and student should predict the same kind of value. "
            f"Received: {_kind(its)} of the teacher's {term.teacher_task!r} "
            f"and {_kind(mine)} of the student's {term.task!r}."
        )
    return LossInputs(
        its.logits,
        mine.logits,
        its.known,
        labels=mine.labels,
        weight=mine.weight,
    )


def _kind(outputs: RankingOutputs) -> str:
    return "logits" if outputs.is_binary else "values"


def check_term(
    term: DistillationTerm, teacher: Outputs, student: Outputs
) -> None:
    """Checks the outputs that a term compares, and builds its layers.

    Args:
        term: with the names of its tasks.
        teacher: outputs for a batch.
        student: outputs for the same batch.

    Raises:
        UserError: the outputs do not fit the loss, or the teacher's are not
            finite.
    """
    selector, loss = term.candidates, term.loss
    for who, outputs, task in (
        ("student", student, selector.task),
        ("teacher", teacher, selector.teacher_task),
    ):
        if task not in outputs:
            raise UserError(
                f"The {who} should call its task `{task}` in `compute_loss`. "
                f"Received: calls of {', '.join(outputs) or 'none'}."
            )
    mine = student[selector.task]
    values = isinstance(mine, RankingOutputs) and not mine.is_binary
    if values and isinstance(loss, BinarySoftTargets):
        raise UserError(
            f"`{type(loss).__name__}` should compare logits of a binary "
            f"label. Received: the task `{selector.task}`, whose loss is not "
            "binary cross entropy. Take ScoreRegression."
        )
    with trial_call("teacher", "the candidates of the student"):
        inputs = selector.select(teacher, student)
    if (
        not selector.of_features
        and inputs.teacher.shape != inputs.student.shape
    ):
        raise UserError(
            "Teacher and student should score the same candidates. Received: "
            f"{inputs.teacher.shape} scores of the teacher's task "
            f"`{selector.teacher_task}` and {inputs.student.shape} of the "
            f"student's `{selector.task}`."
        )
    compared = inputs.teacher.numpy()
    if inputs.mask is not None:
        compared = compared[inputs.mask.numpy()]
    if not np.isfinite(compared).all():
        raise UserError(
            "The teacher's outputs should be finite. Received: NaN or "
            f"infinity from its task `{selector.teacher_task}`. Load the "
            "weights of a trained teacher."
        )
    if isinstance(loss, FeatureLoss):
        loss.ensure_built(
            int(inputs.teacher.shape[-1]), int(inputs.student.shape[-1])
        )
    with trial_call(type(loss).__name__, "both outputs"):
        loss.compute(inputs)
