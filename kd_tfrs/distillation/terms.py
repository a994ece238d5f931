"""Distillation terms: a loss, the outputs it compares, and a teacher."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Sequence
from typing import Protocol

from kd_tfrs.distillation.losses import DistillationLoss, FeatureLoss
from kd_tfrs.errors import UserError


class TermInputs(Protocol):
    """The place that a term compares: candidates, outputs, logits.

    Attributes:
        name: distinguishes terms with the same loss in the logs.
        of_features: whether the place is for losses between features,
            rather than between scores.
    """

    name: str
    of_features: bool


@dataclasses.dataclass(frozen=True)
class DistillationTerm:
    """A distillation loss, the outputs that it compares, and its teacher.

    Args:
        loss: compares teacher and student.
        candidates: a candidate sampler or, for a loss between features, a
            `FeaturePair`. A `RankingDistiller` takes output selectors.
            `None` for the default of the distiller.
        teacher: a teacher of its own, or `None` for the teacher of the
            distiller. Terms may have different kinds of teachers.

    Raises:
        UserError: the loss does not fit the candidates.

    Example:
    ```python
    DistillationTerm(SoftTargets(), TeacherTopK(k=200), teacher=ease)
    ```
    """

    loss: DistillationLoss | FeatureLoss
    candidates: TermInputs | None = None
    teacher: object = None

    def __post_init__(self) -> None:
        if not isinstance(self.loss, (DistillationLoss, FeatureLoss)):
            raise UserError(
                "`distillation_losses` should hold DistillationLoss or "
                f"FeatureLoss objects. Received: {type(self.loss).__name__}. "
                "Give for example SoftTargets(temperature=2.0)."
            )
        if self.candidates is None:
            return
        if isinstance(self.loss, FeatureLoss) != self.candidates.of_features:
            raise UserError(
                "A loss between features should have `FeaturePair` as its "
                "`candidates`, in a ranker `NetworkOutputs`, and a loss "
                "between scores neither. "
                f"Received: {type(self.loss).__name__} over "
                f"{type(self.candidates).__name__}."
            )


def as_terms(
    losses: object,
    teacher: object,
    default: Callable[[DistillationLoss | FeatureLoss], TermInputs],
) -> tuple[DistillationTerm, ...]:
    """Makes terms of the given losses, each with its teacher.

    Args:
        losses: a loss or a `DistillationTerm`, or a sequence of them.
        teacher: the teacher of the terms without one of their own.
        default: gives the candidates of a loss whose term names none.

    Returns:
        Terms. Equal candidates of different teachers have different names.

    Raises:
        UserError: there is no loss, or an object is no loss.
    """
    if losses is None:
        losses = ()
    if isinstance(losses, str) or not isinstance(losses, Sequence):
        losses = (losses,)
    if not losses:
        raise UserError(
            "`distillation_losses` should have at least one loss. Received: "
            "none. Write Distiller(teacher, student, SoftTargets("
            "temperature=2.0)), or fit the student itself on labels alone."
        )
    terms, teachers = [], [teacher]
    for given in losses:
        term = (
            given
            if isinstance(given, DistillationTerm)
            else DistillationTerm(given)
        )
        own = term.teacher or teacher
        if own not in teachers:
            teachers.append(own)
        candidates = term.candidates or default(term.loss)
        if own is not teacher:
            candidates = copy.copy(candidates)
            candidates.name = f"{candidates.name}_teacher_{teachers.index(own)}"
        terms.append(DistillationTerm(term.loss, candidates, own))
    return tuple(terms)


def term_names(
    terms: Sequence[DistillationTerm], taken: Sequence[str]
) -> list[str]:
    """A name for each term in the logs."""
    names: list[str] = []
    for term in terms:
        name = term.loss.name or type(term.loss).__name__
        if name in (*taken, *names):
            name = f"{name}_{term.candidates.name}"
        if name in names:
            name = f"{name}_{len(names)}"
        names.append(name)
    return names
