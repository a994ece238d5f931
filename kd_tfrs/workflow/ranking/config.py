"""A whole ranking run: the sections of its options."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar

from kd_tfrs.errors import UserError
from kd_tfrs.models.ranking.config import OWN_OPTIONS
from kd_tfrs.workflow.compression_options import (
    SHIPPING,
    PruningOptions,
    ShippingOptions,
)
from kd_tfrs.workflow.options import FlatConfig
from kd_tfrs.workflow.ranking.options import (
    RankerOptions,
    RankerTrainOptions,
    RankingDataConfig,
    RankingDistillationOptions,
    RankingEvaluationOptions,
    StudentRanker,
    TeacherRankers,
)

# Flags are named after the section that owns them.
SECTIONS = {
    "data": "",
    "teacher_rankers": "teacher_",
    "teacher": "teacher_",
    "student_ranker": "student_",
    "student": "student_",
    "distilled": "distilled_",
    "distillation": "distillation_",
    "pruning": "pruning_",
    "shipping": "",
    "evaluation": "eval_",
}
TEACHER = TeacherRankers(embedding_dim=32, hidden_units=(256, 128), l2=1e-5)
STUDENT = StudentRanker()
TEACHER_TRAINING = RankerTrainOptions(learning_rate=0.001, dropout=0.2)
# Of the student alone and the distilled one alike: the table of
# experiments/results/defaults-ranking has both.
TRAINING = RankerTrainOptions(
    learning_rate=0.01, decay="cosine", epochs=40, patience=12, batch_size=512
)
DISTILLATION = RankingDistillationOptions()
PRUNING = PruningOptions(epochs=5)
DATA = RankingDataConfig()
EVALUATION = RankingEvaluationOptions()


@dataclasses.dataclass(frozen=True)
class RankingConfig(FlatConfig):
    """A whole ranking run, but for the place where it is kept.

    Args:
        seed: of initial weights, shuffles, draws and random splits.
        data: see `RankingDataConfig`.
        teacher_rankers: the large networks.
        teacher: their training.
        student_ranker: the small network.
        student: training of the student alone.
        distilled: training of the distilled student.
        distillation: methods, weights and candidates.
        pruning: see `PruningOptions`.
        shipping: see `ShippingOptions`.
        evaluation: see `RankingEvaluationOptions`.

    Raises:
        UserError: options that do not go together.

    Example:
    ```python
    config = RankingConfig(data=RankingDataConfig("movielens-100k"), seed=1)
    ```
    """

    task: ClassVar[str] = "ranking"
    sections: ClassVar[Mapping[str, str]] = SECTIONS

    seed: int = 0
    data: RankingDataConfig = DATA
    teacher_rankers: TeacherRankers = TEACHER
    teacher: RankerTrainOptions = TEACHER_TRAINING
    student_ranker: StudentRanker = STUDENT
    student: RankerTrainOptions = TRAINING
    distilled: RankerTrainOptions = TRAINING
    distillation: RankingDistillationOptions = DISTILLATION
    pruning: PruningOptions = PRUNING
    shipping: ShippingOptions = SHIPPING
    evaluation: RankingEvaluationOptions = EVALUATION

    def __post_init__(self) -> None:
        teachers, student = self.teacher_rankers, self.student_ranker
        _check_used("teacher", teachers, teachers.networks)
        _check_used("student", student, (student.network,))
        _check_unlabelled(self.distillation, self.distilled)
        count = len(self.data.task_weights)
        if count and count != len(self.data.tasks):
            raise UserError(
                "`--task_weights` should have a weight for each of "
                f"`--tasks`. Received: {count} weights for "
                f"{len(self.data.tasks)} tasks. Name the tasks as well."
            )

    def flat(self) -> dict[str, Any]:
        """Every option by its flag's name, the task first."""
        return {"task": self.task, **super().flat()}


def _check_used(
    role: str, options: RankerOptions, networks: tuple[str, ...]
) -> None:
    for name, architecture in OWN_OPTIONS.items():
        value = getattr(options, name)
        if value and architecture not in networks:
            shown = (
                ",".join(map(str, value)) if isinstance(value, tuple) else value
            )
            raise UserError(
                f"`--{role}_{name}` is used by {architecture} only. Received: "
                f"`--{role}_{name}` = {shown} for {', '.join(networks)}. Leave "
                "it out."
            )


def _check_unlabelled(
    distillation: RankingDistillationOptions, training: RankerTrainOptions
) -> None:
    chosen = training.negative_rate < 1 or training.class_weights != "none"
    by_session = any("session" in name for name in distillation.losses)
    if distillation.unlabelled and (chosen or by_session):
        raise UserError(
            "`--distillation_unlabelled` adds rows without a label or a "
            "session. Received: it beside --distilled_negative_rate = "
            f"{training.negative_rate:g}, --distilled_class_weights = "
            f"{training.class_weights} and --distillation_losses = "
            f"{','.join(distillation.losses)}. Leave it out, or those."
        )
