"""What a method between rankers is, and what it may build on."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from kd_tfrs import distillation as kd
from kd_tfrs.distillation import ranking

if TYPE_CHECKING:
    from kd_tfrs.distillation import DistillationLoss, DistillationTerm
    from kd_tfrs.distillation.ranking import (
        NetworkOutputs,
        RankingTeacher,
        TaskLogits,
    )
    from kd_tfrs.distillation.schedules import Scheduled
    from kd_tfrs.models.ranking import RankingTask
    from kd_tfrs.workflow.ranking.options import RankingDistillationOptions


@dataclasses.dataclass(frozen=True)
class RankingSetting:
    """What a method may look at when it makes its terms.

    Args:
        options: what was asked for.
        num_steps: training steps in all.
        tasks: the student's.
        teacher: who teaches.
        student_outputs: names of the outputs of the student's network.
        max_length: rows of a session's list at most.
        teacher_offset: see `TaskLogits`; of the first task.
        only: name of the one task that is distilled; all of them if empty.
    """

    options: RankingDistillationOptions
    num_steps: int
    tasks: Sequence[RankingTask]
    teacher: RankingTeacher
    student_outputs: Sequence[str] = ()
    max_length: int = 20
    teacher_offset: float = 0.0
    only: str = ""

    @property
    def inputs(self) -> list[RankingTask]:
        """The tasks that the teacher teaches."""
        return [t for t in self.tasks if self.only in ("", t.name)]

    def temperature(self, default: float = 1.0) -> Scheduled:
        """The temperature that was asked for, or a method's own."""
        options = self.options
        start = default if options.temperature is None else options.temperature
        if options.final_temperature is None:
            return start
        import tensorflow as tf

        return tf.keras.optimizers.schedules.PolynomialDecay(
            start, self.num_steps, options.final_temperature
        )

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


Build = Callable[[RankingSetting], "list[DistillationTerm]"]


@dataclasses.dataclass(frozen=True)
class RankingMethod:
    """A named method of distillation between rankers.

    Args:
        kind: response, features, relations, ranking or tasks.
        help: one line.
        source: paper.
        terms: makes its terms for a setting.
        use: when to take it.
        auxiliary: the student needs `with_auxiliary_head`.
        sessions: the batches have to be `SessionBatches`.
        tunes: choices by option for a search.
        defaults: options by name that a comparison starts from; "weight" is
            its own.
        beside: the method that it needs beside it to learn the labels' order.
    """

    kind: str
    help: str
    source: str
    terms: Build
    use: str
    auxiliary: bool = False
    sessions: bool = False
    tunes: Mapping[str, tuple] = dataclasses.field(default_factory=dict)
    defaults: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    beside: str = ""

    @property
    def by_task(self) -> bool:
        """Whether it may be told which task to distil."""
        return self.kind in ("response", "ranking", "tasks")
