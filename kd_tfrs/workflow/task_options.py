"""Options that retrieval and ranking runs both have."""

from __future__ import annotations

import dataclasses

from kd_tfrs.errors import UserError
from kd_tfrs.workflow.options import Checked, option


@dataclasses.dataclass(frozen=True)
class DataOptions(Checked):
    """What is read, how it is cleaned and how it is split."""

    dataset: str = option(
        "synthetic",
        "Name of a data set, such as synthetic, movielens-1m or, for ranking, "
        "criteo and frappe; or the path of a file or a folder of shards. An "
        "unknown name lists all names.",
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
class NetworkOptions(Checked):
    """Size and shape of a network."""

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
class TrainingOptions(Checked):
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
    dropout: float = option(0.0, "Share of inputs dropped.", low=0, high=0.95)


@dataclasses.dataclass(frozen=True)
class MethodOptions(Checked):
    """Methods of distillation and their weights."""

    losses: tuple[str, ...] = option(
        ("auto",),
        "auto: soft targets over the whole catalogue, over the teacher's "
        "lists where it is large. Or methods as name[@teacher][:weight], "
        "several with commas; "
        "--distillation for short. See --list_methods. Teachers are teacher "
        "(the trained one), ease, lightgcn and ensemble (teacher and ease).",
    )
    temperature: float | None = option(
        None, "T of soft targets; a method's own if unset.", low=1e-3
    )
    final_temperature: float | None = option(
        None, "T at the last step; T falls or grows linearly.", low=1e-3
    )
    student_loss_weight: float | None = option(
        None,
        "Weight of the student's own loss on real labels; if unset, 0 with "
        "--distillation=auto and 0.2 with methods that are named.",
        low=0.0,
    )
    balance: bool = option(
        False,
        "Multiply every weight so that 1 is, by the size of its gradient, "
        "equal to the labels.",
    )
    chain: tuple[int, ...] = option(
        (),
        "Widths of the embeddings of assistants between teacher and student, "
        "each taught by the one before: 100,50; hidden layers grow in "
        "proportion. The student's own width again makes born-again "
        "generations.",
        low=1,
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
    knowledge: str = option(
        "cached",
        "Cached: write the teacher's outputs to disk once; live: compute them "
        "at every step.",
        choices=("cached", "live"),
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.losses:
            raise UserError(
                "`losses` should name at least one loss. Received: none. "
                "Write it as binary_soft_targets:0.8."
            )


@dataclasses.dataclass(frozen=True)
class MeasureOptions(Checked):
    """What is measured."""

    validate_every: int = option(
        1, "Epochs from one validation to the next.", low=1
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
