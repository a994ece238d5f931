"""Every method that a ranking run's `--distillation_losses` can name."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from kd_tfrs import distillation as kd
from kd_tfrs.distillation import ranking
from kd_tfrs.errors import UserError
from kd_tfrs.workflow import methods
from kd_tfrs.workflow.methods import Build, Method, of_kind
from kd_tfrs.workflow.naming import Named, parse_method
from kd_tfrs.workflow.ranking.options import RankingDistillationOptions

if TYPE_CHECKING:
    from kd_tfrs.distillation import (
        DistillationLoss,
        DistillationTerm,
        FeatureLoss,
    )
    from kd_tfrs.distillation.ranking import (
        NetworkOutputs,
        RankingTeacher,
        TaskLogits,
    )
    from kd_tfrs.models.ranking import RankingTask

_INTERACTION = "interaction"
_TEMPERATURES = {"temperature": (1.0, 2.0, 4.0)}
_SOFT = "binary_soft_targets"
_SMALL_WEIGHT = {"weight": 0.1}


@dataclasses.dataclass(frozen=True)
class RankingSetting(methods.Setting):
    """The ranking run for which a method makes its terms.

    Args:
        options: `RankingDistillationOptions`.
        num_steps: training steps in all.
        tasks: the student's.
        teacher: the teacher of the outputs.
        student_outputs: names of the outputs of the student's network.
        max_length: rows of a session's list at most.
        teacher_offset: see `TaskLogits`; of the first task.
        only: name of the one task that is distilled; all of them if empty.
    """

    tasks: Sequence[RankingTask]
    teacher: RankingTeacher
    student_outputs: Sequence[str] = ()
    max_length: int = 20
    teacher_offset: float = 0.0
    only: str = ""

    @property
    def inputs(self) -> list[RankingTask]:
        """The tasks that are distilled."""
        return [t for t in self.tasks if self.only in ("", t.name)]

    def soft_targets(self, task: RankingTask) -> DistillationLoss:
        """The loss on a single logit that fits a task."""
        if task.kind == "rating":
            return kd.ScoreRegression()
        return kd.BinarySoftTargets(self.temperature())

    def logits(self, task: RankingTask, auxiliary: bool = False) -> TaskLogits:
        """The logits of a task."""
        first = task.name == self.tasks[0].name
        offset = self.teacher_offset if first else 0.0
        return ranking.TaskLogits(task.name, auxiliary=auxiliary, offset=offset)

    def outputs(self, teacher: str, student: str) -> NetworkOutputs:
        """Outputs of both networks; of an ensemble, the first member's."""
        widths = self.teacher.widths
        if teacher not in widths:
            members = [x for x in widths if x.endswith(f"_{teacher}")]
            teacher = next(iter(members), teacher)
        return ranking.NetworkOutputs(teacher, student, self.options.num_rows)


def _logits(
    make: Callable[[RankingSetting, RankingTask], DistillationLoss],
    auxiliary: bool = False,
) -> Build:
    """A loss on the logits of each task."""
    return lambda s: [
        kd.DistillationTerm(make(s, task), s.logits(task, auxiliary))
        for task in s.inputs
    ]


def _student_adapter(setting: RankingSetting) -> list[DistillationTerm]:
    if all(task.kind != "binary" for task in setting.inputs):
        raise UserError(
            "`student_adapter` should have a binary task. Received: "
            f"{[t.name for t in setting.inputs]}. Take auxiliary_head."
        )

    def make(s: RankingSetting, task: RankingTask) -> DistillationLoss:
        if task.kind == "binary":
            return ranking.AdaptedSoftTargets(s.temperature())
        return s.soft_targets(task)

    return _logits(make, auxiliary=True)(setting)


def _features(make: Callable[[], FeatureLoss]) -> Build:
    """A loss on hidden outputs of both networks."""
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
    """A loss on the list of each session."""
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


_RESPONSE = {
    _SOFT: Method(
        "cross entropy of the sigmoids; squared difference for ratings",
        "Hinton, Vinyals and Dean 2015; Zhu et al. 2020",
        _logits(lambda s, task: s.soft_targets(task)),
        "the default choice for clicks and likes",
        tunes=_TEMPERATURES,
    ),
    "score_regression": Method(
        "squared difference of the logits, or of the ratings",
        "Ba and Caruana 2014",
        _logits(lambda s, task: kd.ScoreRegression()),
        "ratings, and logits that have to agree",
    ),
    "auxiliary_head": Method(
        "soft targets for a further head that is not served",
        "Khani et al. 2024",
        _logits(lambda s, task: s.soft_targets(task), auxiliary=True),
        "a biased teacher, with the full weight of the student's own loss",
        {"student_loss_weight": 1.0},
        _TEMPERATURES,
        auxiliary=True,
    ),
    "student_adapter": Method(
        "auxiliary_head, with the teacher of binary tasks corrected by labels",
        "Liang et al. 2025 (ExFM)",
        _student_adapter,
        "a teacher of other or older data; no gain for one of the same",
        {"student_loss_weight": 1.0},
        _TEMPERATURES,
        auxiliary=True,
    ),
}

_FEATURES = {
    "hint": Method(
        "squared distance of hidden layers after a learned projection",
        "Romero et al. 2015 (FitNets)",
        _features(lambda: kd.Hint()),
        "beside a loss on logits",
        _SMALL_WEIGHT,
        beside=_SOFT,
    ),
    "vkd": Method(
        "smooth L1 distance after a learned orthogonal projection",
        "Miles et al. 2024 (VkD)",
        _features(lambda: kd.OrthogonalHint()),
        "beside a loss on logits",
        _SMALL_WEIGHT,
        beside=_SOFT,
    ),
    "interaction_hint": Method(
        "a hint from the layer in which the teacher's fields interact",
        "Zhu et al. 2020; Romero et al. 2015",
        _interaction_hint,
        "beside a loss on logits; the teacher needs such a layer",
        _SMALL_WEIGHT,
        beside=_SOFT,
    ),
}

_RELATIONS = {
    "rkd_distance": Method(
        "distances between pairs of rows",
        "Park et al. 2019 (RKD-D)",
        _features(lambda: kd.RelationalDistance()),
        "beside a loss on logits; set num_rows for large batches",
        _SMALL_WEIGHT,
        beside=_SOFT,
    ),
    "rkd_angle": Method(
        "angles in triples of rows",
        "Park et al. 2019 (RKD-A)",
        _features(lambda: kd.RelationalAngle()),
        "beside a loss on logits",
        _SMALL_WEIGHT,
        beside=_SOFT,
    ),
}

_RANKING = {
    "session_list": Method(
        "likelihood of the teacher's order within a session (ListMLE)",
        "Xia et al. 2008, in the teacher's order",
        _sessions(lambda s: kd.RelaxedRanking()),
        "the order in a session matters; a small weight, since the loss is a "
        "sum over the list",
        sessions=True,
    ),
    "session_soft_targets": Method(
        "KL between the softmaxes over a session",
        "Cao et al. 2007 (ListNet), to the teacher's scores",
        _sessions(lambda s: kd.SoftTargets(s.temperature())),
        "as session_list, where differences of the scores matter too",
        {"student_loss_weight": 0.5},
        _TEMPERATURES,
        sessions=True,
    ),
}

_TASKS = {
    "cross_task": Method(
        "soft targets from the teacher's other tasks, calibrated by labels",
        "Yang et al. 2022 (CrossDistil), its calibrated distillation",
        _cross_task,
        "several tasks, beside binary_soft_targets",
        _SMALL_WEIGHT,
        _TEMPERATURES,
        beside=_SOFT,
    ),
}

RANKING_METHODS: dict[str, Method] = {
    **of_kind("response", _RESPONSE),
    **of_kind("features", _FEATURES),
    **of_kind("relations", _RELATIONS),
    **of_kind("list-wise", _RANKING),
    **of_kind("tasks", _TASKS),
}


def parse_ranking_method(
    text: str, tasks: Sequence[str] | None = None
) -> Named:
    """Reads `name[@task][:weight]`.

    Args:
        text: such as "binary_soft_targets@liked:0.8"; all tasks and weight 1
            where left out.
        tasks: names of the tasks; `None` where they are not known yet.

    Returns:
        Its parts; `teacher` is the name of the task.

    Raises:
        UserError: the name or the task is unknown, the weight no positive
            number, or a task is named to a method without a choice of task.

    Example:
    >>> parse_ranking_method("hint:0.1").weight
    0.1
    """
    named = parse_method(text, RANKING_METHODS, (_SOFT, "hint"), teachers=None)
    if "@" in text and not RANKING_METHODS[named.method].by_task:
        raise UserError(
            f"`--distillation_losses` should name no task for {named.method}, "
            "which compares hidden layers; nor a teacher: `--teacher_networks` "
            f"does. Received: {text!r}. Leave out what follows the @."
        )
    if "@" in text and tasks is not None and named.teacher not in tasks:
        raise UserError(
            f"`--distillation_losses` should name one of {', '.join(tasks)} "
            f"after the @, the task to distil. Received: {text!r}. The "
            "teachers are those of `--teacher_networks`."
        )
    return named


def build_ranking_terms(
    names: Sequence[str], setting: RankingSetting
) -> tuple[list[DistillationTerm], list[float]]:
    """Terms and weights for the `RankingDistiller`.

    Raises:
        UserError: a method is unknown, its weight is no number, or it does
            not fit the tasks.

    Example:
    ```python
    terms, weights = build_ranking_terms(["hint:0.1"], setting)
    ```
    """
    tasks = [task.name for task in setting.tasks]
    return methods.build_terms(
        names,
        lambda text: parse_ranking_method(text, tasks),
        RANKING_METHODS,
        lambda named: RANKING_METHODS[named.method].terms(
            dataclasses.replace(setting, only=named.teacher)
        ),
    )


def kept_outputs(
    names: Sequence[str], setting: RankingSetting
) -> tuple[str, ...]:
    """What a cache of the teacher has to keep."""
    terms, _ = build_ranking_terms(names, setting)
    return tuple(
        dict.fromkeys(term.candidates.teacher_output for term in terms)
    )


def documented_terms(name: str) -> list[DistillationTerm]:
    """The terms of a method with its own defaults, for a table of them."""
    from kd_tfrs.models.ranking import RankingTask

    tasks = RankingTask("liked"), RankingTask("rating", "rating")
    teacher = ranking.NetworkTeacher(lambda features: {})
    setting = RankingSetting(RankingDistillationOptions(), 1000, tasks, teacher)
    return RANKING_METHODS[name].terms(setting)
