"""Every method that a ranking run's `--distillation_losses` can name."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from kd_tfrs import distillation as kd
from kd_tfrs.distillation import ranking
from kd_tfrs.errors import UserError
from kd_tfrs.workflow.naming import Named, parse_method
from kd_tfrs.workflow.ranking.method_base import (
    Build,
    RankingMethod,
    RankingSetting,
)

if TYPE_CHECKING:
    from kd_tfrs.distillation import (
        DistillationLoss,
        DistillationTerm,
        FeatureLoss,
    )

_USUAL = ("binary_soft_targets", "hint")
_INTERACTION = "interaction"


def _soft_targets(auxiliary: bool) -> Build:
    return lambda s: [
        kd.DistillationTerm(s.soft_targets(task), s.logits(task, auxiliary))
        for task in s.inputs
    ]


def _regression(setting: RankingSetting) -> list[DistillationTerm]:
    return [
        kd.DistillationTerm(kd.ScoreRegression(), setting.logits(t))
        for t in setting.inputs
    ]


def _features(make: Callable[[], FeatureLoss]) -> Build:
    return lambda s: [
        kd.DistillationTerm(
            make(),
            s.outputs(s.options.teacher_output, s.options.student_output),
        )
    ]


def _interaction_hint(setting: RankingSetting) -> list[DistillationTerm]:
    has_own = _INTERACTION in setting.student_outputs
    student = _INTERACTION if has_own else setting.options.student_output
    return [
        kd.DistillationTerm(kd.Hint(), setting.outputs(_INTERACTION, student))
    ]


def _sessions(make: Callable[[RankingSetting], DistillationLoss]) -> Build:
    return lambda s: [
        kd.DistillationTerm(
            make(s), ranking.SessionLists(task.name, s.max_length)
        )
        for task in s.inputs
    ]


def _cross_task(setting: RankingSetting) -> list[DistillationTerm]:
    terms = [
        kd.DistillationTerm(
            ranking.CalibratedSoftTargets(
                setting.temperature(), task.initial_logit - other.initial_logit
            ),
            ranking.TaskLogits(task.name, other.name),
        )
        for task in setting.inputs
        for other in setting.tasks
        if task.kind == "binary" and other.name != task.name
    ]
    if not terms:
        raise UserError(
            "`cross_task` should have a binary task and another one beside "
            f"it. Received: {[t.name for t in setting.tasks]}. Add a task."
        )
    return terms


_TEMPERATURES = {"temperature": (1.0, 2.0, 4.0)}
_SOFT = "binary_soft_targets"
_QUIET = {"weight": 0.1}

RANKING_METHODS: dict[str, RankingMethod] = {
    "binary_soft_targets": RankingMethod(
        "response",
        "cross entropy of the sigmoids; squared difference for ratings",
        "Hinton, Vinyals and Dean 2015; Zhu et al. 2020",
        _soft_targets(False),
        "the plain choice for clicks and likes",
        tunes=_TEMPERATURES,
    ),
    "score_regression": RankingMethod(
        "response",
        "squared difference of the logits, or of the ratings",
        "Ba and Caruana 2014",
        _regression,
        "ratings, and logits that have to agree",
    ),
    "hint": RankingMethod(
        "features",
        "squared distance of hidden layers after a learned projection",
        "Romero et al. 2015 (FitNets)",
        _features(lambda: kd.Hint()),
        "beside a loss on logits",
        defaults=_QUIET,
        beside=_SOFT,
    ),
    "interaction_hint": RankingMethod(
        "features",
        "a hint from the layer in which the teacher's fields meet",
        "Zhu et al. 2020; Romero et al. 2015",
        _interaction_hint,
        "beside a loss on logits; the teacher needs such a layer",
        defaults=_QUIET,
        beside=_SOFT,
    ),
    "rkd_distance": RankingMethod(
        "relations",
        "distances between pairs of rows",
        "Park et al. 2019 (RKD-D)",
        _features(lambda: kd.RelationalDistance()),
        "beside a loss on logits; set num_rows for large batches",
        defaults=_QUIET,
        beside=_SOFT,
    ),
    "rkd_angle": RankingMethod(
        "relations",
        "angles in triples of rows",
        "Park et al. 2019 (RKD-A)",
        _features(lambda: kd.RelationalAngle()),
        "beside a loss on logits",
        defaults=_QUIET,
        beside=_SOFT,
    ),
    "session_list": RankingMethod(
        "ranking",
        "likelihood of the teacher's order within a session (ListMLE)",
        "Xia et al. 2008, in the teacher's order",
        _sessions(lambda s: kd.RelaxedRanking()),
        "the order in a session is what counts; it is a sum over the list, "
        "so that its weight is small",
        sessions=True,
    ),
    "session_soft_targets": RankingMethod(
        "ranking",
        "KL between the softmaxes over a session",
        "Cao et al. 2007 (ListNet), to the teacher's scores",
        _sessions(lambda s: kd.SoftTargets(s.temperature())),
        "as session_list; the size of score differences counts too",
        sessions=True,
        tunes=_TEMPERATURES,
        defaults={"student_loss_weight": 0.5},
    ),
    "auxiliary_head": RankingMethod(
        "response",
        "a head that is not served learns the teacher's soft targets",
        "Khani et al. 2024",
        _soft_targets(True),
        "a biased teacher; leave the student's own loss its full weight",
        auxiliary=True,
        tunes=_TEMPERATURES,
        defaults={"student_loss_weight": 1.0},
    ),
    "cross_task": RankingMethod(
        "tasks",
        "soft targets from the teacher's other tasks, calibrated by labels",
        "Yang et al. 2022 (CrossDistil), its calibrated distillation",
        _cross_task,
        "several tasks, beside binary_soft_targets",
        tunes=_TEMPERATURES,
        defaults=_QUIET,
        beside=_SOFT,
    ),
}


def parse_ranking_method(text: str) -> Named:
    """Reads `name[@task][:weight]`.

    Args:
        text: such as "binary_soft_targets@liked:0.8"; all tasks and weight 1
            where left out.

    Returns:
        Its parts; the task stands as `teacher`.

    Raises:
        UserError: the name is unknown, the weight no positive number, or a
            task is named to a method without a choice of teacher.

    Example:
    >>> parse_ranking_method("hint:0.1").weight
    0.1
    """
    named = parse_method(text, RANKING_METHODS, _USUAL, teachers=None)
    if "@" in text and not RANKING_METHODS[named.method].by_task:
        raise UserError(
            f"`--distillation_losses` should name no task for {named.method}, "
            "which compares hidden layers; nor a teacher: `--teacher_networks` "
            f"does. Received: {text!r}. Leave out what follows the @."
        )
    return named


def build_ranking_terms(
    names: Sequence[str], setting: RankingSetting
) -> tuple[list[DistillationTerm], list[float]]:
    """Terms and weights for the `RankingDistiller`.

    Args:
        names: as on the command line, `name[@task][:weight]`.
        setting: see `RankingSetting`.

    Returns:
        Terms and weights. A method of several terms shares its weight.

    Raises:
        UserError: a method is unknown, its weight is no number, or it does
            not fit the tasks.

    Example:
    ```python
    terms, weights = build_ranking_terms(["hint:0.1"], setting)
    ```
    """
    terms: list[DistillationTerm] = []
    weights: list[float] = []
    for text in names:
        named = parse_ranking_method(text)
        only = check_method(text, [task.name for task in setting.tasks])
        own = dataclasses.replace(setting, only=only)
        made = RANKING_METHODS[named.method].terms(own)
        terms += made
        weights += [named.weight / len(made)] * len(made)
    return terms, weights


def needs_auxiliary_head(names: Sequence[str]) -> bool:
    """Whether the student has to be built by `with_auxiliary_head`.

    Args:
        names: see `build_ranking_terms`.

    Returns:
        Whether one of the methods compares it.
    """
    return any(_method(name).auxiliary for name in names)


def needs_sessions(names: Sequence[str]) -> bool:
    """Whether the batches have to be `SessionBatches`.

    Args:
        names: see `build_ranking_terms`.

    Returns:
        Whether one of the methods needs lists.
    """
    return any(_method(name).sessions for name in names)


def kept_outputs(
    names: Sequence[str], setting: RankingSetting
) -> tuple[str, ...]:
    """What a cache of the teacher has to keep.

    Args:
        names: see `build_ranking_terms`.
        setting: with the live teacher.

    Returns:
        Names of outputs, each once.
    """
    terms, _ = build_ranking_terms(names, setting)
    return tuple(
        dict.fromkeys(term.candidates.teacher_output for term in terms)
    )


def check_method(text: str, tasks: Sequence[str] | None) -> str:
    """Reads a method, and the task that it is to distil.

    Args:
        text: see `parse_ranking_method`.
        tasks: names of the tasks; `None` where they are not known yet.

    Returns:
        Name of the task, or empty for all.

    Raises:
        UserError: see `parse_ranking_method`; or there is no such task.
    """
    named = parse_ranking_method(text)
    if "@" in text and tasks is not None and named.teacher not in tasks:
        raise UserError(
            f"`--distillation_losses` should name one of {', '.join(tasks)} "
            f"after the @, the task to distil. Received: {text!r}. Who "
            "teaches is said by `--teacher_networks`."
        )
    return named.teacher


def _method(text: str) -> RankingMethod:
    return RANKING_METHODS[parse_ranking_method(text).method]
