"""Everything a run can be told: plain dataclasses with help beside them."""

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
from kd_tfrs.workflow.options import Checked, FlatConfig, option

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
class DataConfig(Checked):
    """What is read, how it is cleaned and how it is split."""

    dataset: str = option(
        "synthetic",
        "Name of a data set (synthetic, movielens-100k, movielens-1m, "
        "movielens-25m, goodbooks-10k, citeulike-full, citeulike-loo, "
        "amazon-book), or the path of a file or a folder of shards.",
    )
    data_dir: str | None = option(
        None,
        "Where data sets are looked for and downloaded to; "
        "$KD_TFRS_DATA_DIR, then ~/.cache/kd_tfrs, when not given.",
    )
    user_column: str | None = option(
        None, "Column of the user id in your own file; guessed if not given."
    )
    item_column: str | None = option(None, "Likewise of the item id.")
    time_column: str | None = option(None, "Likewise of the time.")
    label_column: str | None = option(None, "Likewise of the rating.")
    num_events: int = option(
        150_000, "Events of the synthetic data set.", low=100, high=10_000_000
    )
    min_user_events: int = option(
        0, "Drop users with fewer events (k-core).", low=0
    )
    min_item_events: int = option(
        0, "Drop items with fewer events (k-core).", low=0
    )
    min_label: float | None = option(
        None, "Drop events with a lower rating; all count as positive if unset."
    )
    split: str = option(
        "auto",
        "How to hold out validation and test events.",
        choices=("auto", "given", "leave_one_out", "time", "ratio"),
    )
    pseudonym_key_file: str | None = option(
        None,
        "Replace user and item ids by HMAC-SHA256 pseudonyms under the key in "
        "this file, before anything is written.",
    )


@dataclasses.dataclass(frozen=True)
class TowerOptions(Checked):
    """Size and shape of the two towers of a model."""

    embedding_dim: int = option(32, "Width of the embeddings.", low=1)
    hidden_units: tuple[int, ...] = option(
        (),
        "Widths of hidden layers, comma separated; none sums embeddings.",
        low=1,
    )
    features: str = option(
        "all",
        "Which columns the towers see: all of the schema, or ids only.",
        choices=("all", "ids"),
    )


@dataclasses.dataclass(frozen=True)
class TrainOptions(Checked):
    """How a model is trained."""

    learning_rate: float = option(0.02, "Step size of LazyAdam.", low=1e-8)
    decay: str = option(
        "cosine",
        "Whether the step size falls to zero over the epochs.",
        choices=("cosine", "constant"),
    )
    epochs: int = option(60, "Epochs at most.", low=1)
    patience: int = option(
        6, "Stop after so many epochs without a better validation.", low=1
    )
    batch_size: int = option(1024, "Events a step.", low=1)
    uniform_negatives: int = option(
        512, "Items drawn uniformly beside the in-batch candidates.", low=0
    )
    softmax_temperature: float = option(
        0.15, "Temperature of the model's own softmax.", low=1e-3
    )
    popularity_correction: float = option(
        1.0, "Strength of the sampling correction.", low=0.0, high=1.0
    )
    dropout: float = option(0.0, "Share of inputs dropped.", low=0, high=0.95)


@dataclasses.dataclass(frozen=True)
class DistillationOptions(Checked):
    """Methods of distillation, their weights and candidates."""

    losses: tuple[str, ...] = option(
        ("auto",),
        "auto: soft targets over the whole catalogue, over the teacher's "
        "lists where it is large. Or methods as name[@teacher][:weight], "
        "several with commas; "
        "--distillation for short. See --list_methods. Teachers are teacher "
        "(the trained one), ease, lightgcn and ensemble (teacher and ease).",
    )
    candidates: str = option(
        "auto",
        "Candidates that scores are compared on: a method's own; the "
        "teacher's list (top_k) or a draw from it by rank (ranked), with "
        "random ones beside; those of the batch; random ones alone "
        "(sampled); all there are.",
        choices=("auto", "top_k", "ranked", "in_batch", "sampled", "all"),
    )
    temperature: float | None = option(
        None, "T of soft targets; a method's own if unset.", low=1e-3
    )
    final_temperature: float | None = option(
        None, "T at the last step; T falls or grows linearly.", low=1e-3
    )
    balance: bool = option(
        False,
        "Multiply every weight so that 1 is, by the size of its gradient, "
        "equal to the labels.",
    )
    student_loss_weight: float | None = option(
        None,
        "Weight of the student's own loss on real labels; if unset, 0 with "
        "--distillation=auto and 0.2 with methods that are named.",
        low=0.0,
    )
    top_k: int | None = option(
        None,
        "Length of the teacher's lists; a method's own if unset, mostly 200.",
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
        "Users asked at every step; a method's own if unset, mostly 256.",
        low=1,
    )
    num_interesting: int = option(
        40, "Items drawn from each list where candidates is ranked.", low=1
    )
    rank_decay: float = option(
        10.0, "Ranks after which the chance of a draw falls to 1/e.", low=0.01
    )
    teacher_output: str = option(
        "embedding", "Output of the teacher's towers that hints compare."
    )
    student_output: str = option(
        "embedding", "Output of the student's towers likewise."
    )
    num_rows: int | None = option(
        None,
        "Users and items of a batch that hints and relations compare; all "
        "if unset.",
        low=2,
    )
    chain: tuple[int, ...] = option(
        (),
        "Widths of assistants between teacher and student, each taught by "
        "the one before: 100,50. The student's own width again makes born-"
        "again generations.",
        low=1,
    )
    exclude_seen: bool = option(
        True,
        "Leave training items out of the teacher's lists and of the random "
        "candidates beside them.",
    )
    knowledge: str = option(
        "cached",
        "Cached: write what the teacher knows to disk once; live: ask it at "
        "every step.",
        choices=("cached", "live"),
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
        if not self.losses:
            raise UserError(
                "`losses` should name at least one loss. Received: none. "
                "Write it as soft_targets:0.8."
            )
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
class EvaluationOptions(Checked):
    """What is measured."""

    validation_users: int = option(
        10_000, "Users ranked in each validation while training.", low=1
    )
    validate_every: int = option(
        1, "Epochs from one validation to the next.", low=1
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
    baselines: bool = option(
        True, "Measure popularity and ALS (package implicit) as well."
    )
    latency_seconds: float = option(
        5.0,
        "How long latencies are measured, at the end, for each of two sizes "
        "of catalogue; 0 leaves them out.",
        low=0.0,
    )
    top_k: int = option(
        10, "Answers of the export's `serving_default` signature.", low=1
    )


# The table of experiments/results/defaults says where these come from.
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
