"""The options of a retrieval run: dataclasses with help beside the fields."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import ClassVar

from kd_tfrs.errors import UserError
from kd_tfrs.workflow.compression_options import (
    PRUNING,
    SHIPPING,
    PruningOptions,
    ShippingOptions,
)
from kd_tfrs.workflow.options import FlatConfig, option
from kd_tfrs.workflow.task_options import (
    DataOptions,
    MeasureOptions,
    MethodOptions,
    NetworkOptions,
    TrainingOptions,
)

# Flags are named after the section that owns them.
SECTIONS = {
    "data": "",
    "teacher_towers": "teacher_",
    "teacher": "teacher_",
    "student_towers": "student_",
    "student": "student_",
    "distilled": "distilled_",
    "distillation": "distillation_",
    "pruning": "pruning_",
    "shipping": "",
    "evaluation": "eval_",
}


@dataclasses.dataclass(frozen=True)
class DataConfig(DataOptions):
    """What is read, how it is cleaned and how it is split."""

    min_label: float | None = option(
        None, "Drop events with a lower rating; all count as positive if unset."
    )


@dataclasses.dataclass(frozen=True)
class TowerOptions(NetworkOptions):
    """Size and shape of the two towers of a model."""


@dataclasses.dataclass(frozen=True)
class TrainOptions(TrainingOptions):
    """How a model is trained."""

    uniform_negatives: int = option(
        512, "Items drawn uniformly beside the in-batch candidates.", low=0
    )
    softmax_temperature: float = option(
        0.15, "Temperature of the model's own softmax.", low=1e-3
    )
    popularity_correction: float = option(
        1.0, "Strength of the sampling correction.", low=0.0, high=1.0
    )


@dataclasses.dataclass(frozen=True)
class DistillationOptions(MethodOptions):
    """Methods of distillation, their weights and candidates."""

    candidates: str = option(
        "auto",
        "Candidates that scores are compared on: a method's own; the "
        "teacher's list (top_k) or a draw from it by rank (ranked), with "
        "random ones beside; those of the batch; random ones alone "
        "(sampled); all there are.",
        choices=("auto", "top_k", "ranked", "in_batch", "sampled", "all"),
    )
    top_k: int | None = option(
        None,
        "Length of the teacher's lists; a method's own if unset, mostly 200. A "
        "draw by rank beside random candidates leaves half the items to them.",
        low=1,
    )
    num_random: int | None = option(
        None,
        "Random candidates beside the lists, or sampled alone; a method's own "
        "if unset, mostly 512.",
        low=0,
    )
    num_queries: int | None = option(
        None,
        "Users of every step; a method's own if unset, mostly 256.",
        low=1,
    )
    num_interesting: int = option(
        40,
        "Items drawn from each list where candidates is ranked; users of the "
        "item side half as many, and half as many random ones.",
        low=1,
    )
    rank_decay: float = option(
        10.0, "Ranks after which the chance of a draw falls to 1/e.", low=0.01
    )
    exclude_seen: bool = option(
        True,
        "Leave training items out of the teacher's lists and of the random "
        "candidates beside them.",
    )
    tables: bool | None = option(
        None,
        "Distil into an embedding for each user and each item, which is what "
        "is exported of the towers in any case, instead of into towers that "
        "read columns. If unset, where the student has no hidden layers and "
        "no method compares other outputs of its towers.",
    )
    initialization: str = option(
        "teacher",
        "First values of the tables: the teacher's embeddings, projected to "
        "the student's width, or random ones.",
        choices=("teacher", "random"),
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.candidates == "sampled" and self.num_random in (0, 1):
            raise UserError(
                "`num_random` should be at least 2 where `candidates` is "
                f"sampled. Received: `num_random` = {self.num_random}."
            )
        if self.tables and self.student_output != "embedding":
            raise UserError(
                "`student_output` should be embedding where `tables` is set, "
                "since tables have no other output. Received: "
                f"`student_output` = {self.student_output!r}. Give "
                "--nodistillation_tables."
            )


@dataclasses.dataclass(frozen=True)
class EvaluationOptions(MeasureOptions):
    """What is measured."""

    validation_users: int = option(
        10_000, "Users ranked in each validation while training.", low=1
    )
    monitor: str = option(
        "ndcg@10",
        "Validation metric that picks the best epoch and what ships; the "
        "headline of the results.",
        choices=("ndcg@10", "ndcg@20", "recall@10", "recall@20", "recall@50"),
    )
    sampled_negatives: int = option(
        0,
        "Also rank each held-out item against so many random ones, as some "
        "papers do; 0 leaves it out.",
        low=0,
    )


# The table of experiments/results/defaults has the measurements behind these.
TEACHER_TOWERS = TowerOptions(embedding_dim=200)
STUDENT_TOWERS = TowerOptions(embedding_dim=20)
TEACHER_TRAINING = TrainOptions(
    learning_rate=0.01, epochs=20, softmax_temperature=0.12
)
DISTILLED_TRAINING = TrainOptions(epochs=10, softmax_temperature=0.12)


@dataclasses.dataclass(frozen=True)
class Config(FlatConfig):
    """A whole run, but for the place where it is kept.

    Args:
        seed: of initial weights, shuffles, draws and random splits.
        data: see `DataConfig`.
        teacher_towers: the large model.
        teacher: its training.
        student_towers: the small model.
        student: training of the student alone.
        distilled: training of the distilled student.
        distillation: methods, weights and candidates.
        pruning: see `PruningOptions`.
        shipping: see `ShippingOptions`.
        evaluation: see `EvaluationOptions`.

    Example:
    ```python
    config = Config(data=DataConfig(dataset="movielens-100k"), seed=1)
    ```
    """

    task: ClassVar[str] = "retrieval"
    sections: ClassVar[Mapping[str, str]] = SECTIONS

    seed: int = 0
    data: DataConfig = DataConfig()
    teacher_towers: TowerOptions = TEACHER_TOWERS
    teacher: TrainOptions = TEACHER_TRAINING
    student_towers: TowerOptions = STUDENT_TOWERS
    student: TrainOptions = TrainOptions()
    distilled: TrainOptions = DISTILLED_TRAINING
    distillation: DistillationOptions = DistillationOptions()
    pruning: PruningOptions = PRUNING
    shipping: ShippingOptions = SHIPPING
    evaluation: EvaluationOptions = EvaluationOptions()
