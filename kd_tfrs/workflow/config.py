"""Everything a run can be told: plain dataclasses with help beside them."""

from __future__ import annotations

import dataclasses
from typing import Any

from kd_tfrs.errors import UserError


def _option(default: Any, help_text: str, **limits: Any) -> Any:
    return dataclasses.field(
        default=default, metadata={"help": help_text, **limits}
    )


class _Checked:
    """Checks the limits that stand beside the fields."""

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if value is None:
                continue
            low, high = field.metadata.get("low"), field.metadata.get("high")
            parts = value if isinstance(value, tuple) else (value,)
            too_low = low is not None and any(part < low for part in parts)
            if too_low or (high is not None and value > high):
                top = "" if high is None else f" and at most {high:g}"
                raise UserError(
                    f"`{field.name}` should be at least {low:g}{top}. "
                    f"Received: `{field.name}` = {value}."
                )
            choices = field.metadata.get("choices")
            if choices and value not in choices:
                raise UserError(
                    f"`{field.name}` should be one of {', '.join(choices)}. "
                    f"Received: `{field.name}` = {value!r}."
                )


@dataclasses.dataclass(frozen=True)
class DataConfig(_Checked):
    """What is read, how it is cleaned and how it is split."""

    dataset: str = _option(
        "synthetic",
        "Name of a data set (synthetic, movielens-100k, movielens-1m, "
        "movielens-25m, goodbooks-10k, citeulike-full, citeulike-loo, "
        "amazon-book), or the path of a file or a folder of shards.",
    )
    data_dir: str | None = _option(
        None,
        "Where data sets are looked for and downloaded to; "
        "$KD_TFRS_DATA_DIR, then ~/.cache/kd_tfrs, when not given.",
    )
    user_column: str | None = _option(
        None, "Column of the user id in your own file; guessed if not given."
    )
    item_column: str | None = _option(None, "Likewise of the item id.")
    time_column: str | None = _option(None, "Likewise of the time.")
    label_column: str | None = _option(None, "Likewise of the rating.")
    num_events: int = _option(
        60_000, "Events of the synthetic data set.", low=100, high=10_000_000
    )
    min_user_events: int = _option(
        0, "Drop users with fewer events (k-core).", low=0
    )
    min_item_events: int = _option(
        0, "Drop items with fewer events (k-core).", low=0
    )
    min_label: float | None = _option(
        None, "Drop events with a lower rating; all count as positive if unset."
    )
    split: str = _option(
        "auto",
        "How to hold out validation and test events.",
        choices=("auto", "given", "leave_one_out", "time", "ratio"),
    )
    pseudonym_key_file: str | None = _option(
        None,
        "Replace user and item ids by HMAC-SHA256 pseudonyms under the key in "
        "this file, before anything is written.",
    )


@dataclasses.dataclass(frozen=True)
class TowerOptions(_Checked):
    """Size and shape of the two towers of a model."""

    embedding_dim: int = _option(32, "Width of the embeddings.", low=1)
    hidden_units: tuple[int, ...] = _option(
        (),
        "Widths of hidden layers, comma separated; none sums embeddings.",
        low=1,
    )
    features: str = _option(
        "all",
        "Which columns the towers see: all of the schema, or ids only.",
        choices=("all", "ids"),
    )


@dataclasses.dataclass(frozen=True)
class TrainOptions(_Checked):
    """How a model is trained."""

    learning_rate: float = _option(0.01, "Step size of LazyAdam.", low=1e-8)
    decay: str = _option(
        "constant",
        "Whether the step size falls to zero over the epochs.",
        choices=("cosine", "constant"),
    )
    epochs: int = _option(20, "Epochs at most.", low=1)
    patience: int = _option(
        6, "Stop after so many epochs without a better validation.", low=1
    )
    batch_size: int = _option(512, "Events a step.", low=1)
    uniform_negatives: int = _option(
        256, "Items drawn uniformly beside the in-batch candidates.", low=0
    )
    softmax_temperature: float = _option(
        0.15, "Temperature of the model's own softmax.", low=1e-3
    )
    popularity_correction: float = _option(
        1.0, "Strength of the sampling correction.", low=0.0, high=1.0
    )
    dropout: float = _option(0.0, "Share of inputs dropped.", low=0, high=0.95)


@dataclasses.dataclass(frozen=True)
class DistillationOptions(_Checked):
    """What the student hears from the teacher, and how loud."""

    losses: tuple[str, ...] = _option(
        ("soft_targets:0.8",),
        "Methods as name[@teacher][:weight], several with commas; "
        "--distillation for short. See --list_methods. Teachers are teacher "
        "(the trained one), ease, lightgcn and ensemble (teacher and ease).",
    )
    over: str = _option(
        "auto",
        "Candidates that scores are compared on: a method's own; the "
        "teacher's list (top_k) or a draw from it by rank (ranked), with "
        "random ones beside; those of the batch; random ones alone "
        "(sampled); all there are.",
        choices=("auto", "top_k", "ranked", "in_batch", "sampled", "all"),
    )
    temperature: float | None = _option(
        None, "T of soft targets; a method's own if unset.", low=1e-3
    )
    final_temperature: float | None = _option(
        None, "T at the last step; T falls or grows linearly.", low=1e-3
    )
    balance: bool = _option(
        False,
        "Multiply every weight so that 1 is as loud, by the size of its "
        "gradient, as the labels.",
    )
    student_loss_weight: float = _option(
        0.2, "Weight of the student's own loss on real labels.", low=0.0
    )
    top_k: int | None = _option(
        None,
        "Length of the teacher's lists; a method's own if unset, mostly 200.",
        low=1,
    )
    num_random: int | None = _option(
        None,
        "Random candidates beside the lists, or sampled alone; a method's own "
        "if unset, mostly 512.",
        low=0,
    )
    num_queries: int | None = _option(
        None,
        "Users asked at every step; a method's own if unset, mostly 256.",
        low=1,
    )
    num_interesting: int = _option(
        40, "Items drawn from each list where over is ranked.", low=1
    )
    rank_decay: float = _option(
        10.0, "Ranks after which the chance of a draw falls to 1/e.", low=0.01
    )
    teacher_output: str = _option(
        "embedding", "Output of the teacher's towers that hints compare."
    )
    student_output: str = _option(
        "embedding", "Output of the student's towers likewise."
    )
    num_rows: int | None = _option(
        None,
        "Users and items of a batch that hints and relations compare; all "
        "if unset.",
        low=2,
    )
    chain: tuple[int, ...] = _option(
        (),
        "Widths of assistants between teacher and student, each taught by "
        "the one before: 100,50. The student's own width again makes born-"
        "again generations.",
        low=1,
    )
    exclude_seen: bool = _option(
        True,
        "Leave training items out of the teacher's lists and of the random "
        "candidates beside them.",
    )
    knowledge: str = _option(
        "cached",
        "Cached: write what the teacher knows to disk once; live: ask it at "
        "every step.",
        choices=("cached", "live"),
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.losses:
            raise UserError(
                "`losses` should name at least one loss. Received: none. "
                "Write it as soft_targets:0.8."
            )
        if self.over == "sampled" and self.num_random in (0, 1):
            raise UserError(
                "`num_random` should be at least 2 where `over` is sampled. "
                f"Received: `num_random` = {self.num_random}."
            )


@dataclasses.dataclass(frozen=True)
class PruningOptions(_Checked):
    """How the distilled student is pruned."""

    final_sparsity: float = _option(
        0.5, "Share of zeros in the towers.", low=0.01, high=0.99
    )
    schedule: str = _option(
        "polynomial",
        "How the share grows.",
        choices=("polynomial", "constant"),
    )
    epochs: int = _option(10, "Epochs of pruning while distilling.", low=1)
    learning_rate: float | None = _option(
        None, "Step size; half the distilled student's if unset.", low=1e-8
    )


@dataclasses.dataclass(frozen=True)
class EvaluationOptions(_Checked):
    """What is measured."""

    validation_users: int = _option(
        10_000, "Users ranked in each validation while training.", low=1
    )
    validate_every: int = _option(
        1, "Epochs from one validation to the next.", low=1
    )
    monitor: str = _option(
        "ndcg@20",
        "Validation metric that picks the best epoch.",
        choices=("ndcg@10", "ndcg@20", "recall@10", "recall@20", "recall@50"),
    )
    sampled_negatives: int = _option(
        0,
        "Also rank each held-out item against so many random ones, as some "
        "papers do; 0 leaves it out.",
        low=0,
    )
    baselines: bool = _option(
        True, "Measure popularity and ALS (package implicit) as well."
    )
    latency_repeats: int = _option(200, "Calls timed a stage.", low=1)
    top_k: int = _option(
        10, "Answers of the export's `serving_default` signature.", low=1
    )


TEACHER_TOWERS = TowerOptions(embedding_dim=128)
STUDENT_TOWERS = TowerOptions(embedding_dim=12)
TEACHER_TRAINING = TrainOptions(learning_rate=0.005, dropout=0.2)


@dataclasses.dataclass(frozen=True)
class Config:
    """A whole run, but for the place where it is kept.

    Args:
        seed: of initial weights, shuffles, draws and random splits.
        data: see `DataConfig`.
        teacher_towers: the large model.
        teacher: its training.
        student_towers: the small model.
        student: training of the student alone.
        distilled: training of the distilled student.
        distillation: what it hears.
        pruning: see `PruningOptions`.
        evaluation: see `EvaluationOptions`.

    Example:
    ```python
    config = Config(data=DataConfig(dataset="movielens-100k"), seed=1)
    ```
    """

    seed: int = 0
    data: DataConfig = DataConfig()
    teacher_towers: TowerOptions = TEACHER_TOWERS
    teacher: TrainOptions = TEACHER_TRAINING
    student_towers: TowerOptions = STUDENT_TOWERS
    student: TrainOptions = TrainOptions()
    distilled: TrainOptions = TrainOptions()
    distillation: DistillationOptions = DistillationOptions()
    pruning: PruningOptions = PruningOptions()
    evaluation: EvaluationOptions = EvaluationOptions()

    def flat(self) -> dict[str, Any]:
        """Every option by its flag's name, in the order of the groups."""
        flat = {"seed": self.seed}
        for section, prefix in SECTIONS.items():
            options = getattr(self, section)
            for field in dataclasses.fields(options):
                value = getattr(options, field.name)
                if isinstance(value, tuple):
                    value = list(value)
                flat[prefix + field.name] = value
        return flat

    @classmethod
    def from_flat(cls, flat: dict[str, Any]) -> Config:
        """The inverse of `flat`.

        Args:
            flat: values by flag name; absent ones keep their defaults.

        Returns:
            The configuration.

        Raises:
            UserError: a value is out of its range.
        """
        sections = {}
        default = cls()
        for section, prefix in SECTIONS.items():
            options = getattr(default, section)
            changes = {}
            for field in dataclasses.fields(options):
                value = flat.get(
                    prefix + field.name, getattr(options, field.name)
                )
                changes[field.name] = (
                    tuple(value) if isinstance(value, list) else value
                )
            sections[section] = _named_errors(options, changes, prefix)
        return cls(seed=flat.get("seed", default.seed), **sections)


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
    "evaluation": "eval_",
}


def _named_errors(options: Any, changes: dict[str, Any], prefix: str) -> Any:
    try:
        return dataclasses.replace(options, **changes)
    except UserError as error:
        message = str(error)
        for name in changes:
            message = message.replace(f"`{name}`", f"`--{prefix}{name}`")
        raise UserError(message) from None
