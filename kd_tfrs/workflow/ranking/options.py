"""The options of a ranking run, section by section, with help beside them."""

from __future__ import annotations

import dataclasses

from kd_tfrs.errors import UserError
from kd_tfrs.workflow.options import Checked, option

# As the rooms below have them; named here, so that `--help` does not wait
# for TensorFlow.
SPLITS = (
    "auto",
    "time",
    "random",
    "u1",
    "u2",
    "u3",
    "u4",
    "u5",
    "given",
    "ratio",
    "leave_one_out",
)
ARCHITECTURES = (
    "dnn",
    "wide_deep",
    "deepfm",
    "dcn",
    "dlrm",
    "din",
    "autoint",
)
ACTIVATIONS = ("relu", "prelu", "dice")
_SOFT = "binary_soft_targets"
MONITORS = ("auto", "auc", "gauc", "log_loss", "rmse", "mae")


@dataclasses.dataclass(frozen=True)
class RankingDataConfig(Checked):
    """What is read, which labels are learned, how it is split."""

    dataset: str = option(
        "synthetic",
        "Name of a data set (synthetic, movielens-100k, movielens-1m, "
        "criteo, frappe, ...), or the path of your own.",
    )
    data_dir: str | None = option(
        None, "Where data sets are looked for; see there."
    )
    user_column: str | None = option(
        None, "Column of the user id in your own file; guessed if not given."
    )
    item_column: str | None = option(None, "Likewise of the item id.")
    time_column: str | None = option(None, "Likewise of the time.")
    label_column: str | None = option(None, "Likewise of the rating.")
    event_columns: tuple[str, ...] = option(
        (),
        "Further columns of the events in your own file that models look at, "
        "comma separated.",
    )
    training_only_columns: tuple[str, ...] = option(
        (),
        "Likewise columns, also of your users and items, that only teachers "
        "look at, since nobody knows them when serving.",
    )
    num_events: int = option(
        60_000, "Events of the synthetic data set.", low=100, high=10_000_000
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
        choices=SPLITS,
    )
    tasks: tuple[str, ...] = option(
        (),
        "Labels to learn, comma separated, a head for each; the first is "
        "tuned for. liked: a rating of at least --liked_from; rating: the "
        "rating itself; else a column of the events. The data set's own if "
        "none.",
    )
    task_weights: tuple[float, ...] = option(
        (), "Weight of each task's loss; all 1 if none.", low=1e-6
    )
    liked_from: float = option(4.0, "The lowest rating that is liked.")
    history_length: int | None = option(
        None,
        "Items of a user's past that models see, 0 for none; 20 where there "
        "is time if unset.",
        low=0,
    )
    validation_share: float | None = option(
        None, "Share of the events to validate; a tenth if unset.", low=0.001
    )
    test_share: float | None = option(
        None,
        "Share of the events to test; a tenth by time, a fifth at random if "
        "unset.",
        low=0.001,
    )
    online: bool = option(
        False,
        "Held-out events also look back at earlier held-out ones, as a model "
        "that is fed as they happen.",
    )
    hash_buckets: int | None = option(
        None,
        "Buckets that ids are hashed into, so that unknown ones have an "
        "embedding; none but for logs if unset.",
        low=1,
    )
    pseudonym_key_file: str | None = option(
        None,
        "Replace user and item ids by HMAC-SHA256 pseudonyms under the key in "
        "this file, before anything is written.",
    )


@dataclasses.dataclass(frozen=True)
class RankerOptions(Checked):
    """Size and shape of a ranking network."""

    embedding_dim: int = option(8, "Width of the embeddings.", low=1)
    hidden_units: tuple[int, ...] = option(
        (32, 16), "Widths of hidden layers, comma separated.", low=1
    )
    features: str = option(
        "all",
        "Which columns the network sees: all of the schema, or ids only.",
        choices=("all", "ids"),
    )
    use_history: bool = option(
        True, "Whether the network sees the user's past."
    )
    l2: float = option(0.0, "Strength of the penalty on embeddings.", low=0.0)
    activation: str = option(
        "relu", "Of the hidden layers.", choices=ACTIVATIONS
    )
    experts: int | None = option(
        None,
        "Experts that several labels share by gates; one shared bottom if "
        "unset.",
        low=2,
    )
    tower_units: tuple[int, ...] = option(
        (), "Hidden layers that each of several labels has alone.", low=1
    )
    cross_layers: int | None = option(
        None, "Cross layers of dcn; 2 if unset.", low=1
    )
    projection_dim: int | None = option(
        None, "Rank of their kernels; full if unset.", low=1
    )
    heads: int | None = option(
        None, "Heads of autoint's attention; 2 if unset.", low=1
    )
    attention_layers: int | None = option(
        None, "Attention layers of autoint; 2 if unset.", low=1
    )
    stacked: bool = option(
        False, "Whether dcn's deep part stands behind the cross layers."
    )
    attention_units: tuple[int, ...] = option(
        (), "Hidden layers of din's activation unit; 36 if none.", low=1
    )
    attention_softmax: bool = option(
        False, "Whether din's weights of a history sum to 1."
    )
    bottom_units: tuple[int, ...] = option(
        (),
        "Hidden layers of dlrm over the numbers; twice the embedding's width "
        "if none.",
        low=1,
    )
    crosses: tuple[str, ...] = option(
        (),
        "Pairs of columns whose combinations have a weight each in wide_deep, "
        "as gender*genre, comma separated.",
    )


@dataclasses.dataclass(frozen=True)
class TeacherRankers(RankerOptions):
    """Kinds, size and shape of the networks that teach."""

    networks: tuple[str, ...] = option(
        ("dcn", "deepfm", "autoint"),
        "Kinds of networks, comma separated; several are an ensemble. One of "
        f"each: {', '.join(ARCHITECTURES)}.",
        choices=ARCHITECTURES,
    )
    training_only: bool = option(
        True,
        "Whether they see columns that are known in training alone. What they "
        "gain by these when tested, no student can reach.",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.networks:
            raise UserError(
                "`networks` should name at least one network. Received: none. "
                "Write it as dcn,deepfm."
            )


@dataclasses.dataclass(frozen=True)
class StudentRanker(RankerOptions):
    """Kind, size and shape of the student."""

    network: str = option("dnn", "Kind of network.", choices=ARCHITECTURES)


@dataclasses.dataclass(frozen=True)
class RankerTrainOptions(Checked):
    """How a ranker is trained."""

    learning_rate: float = option(0.003, "Step size of LazyAdam.", low=1e-8)
    decay: str = option(
        "constant",
        "Whether the step size falls to zero over the epochs.",
        choices=("cosine", "constant"),
    )
    epochs: int = option(20, "Epochs at most.", low=1)
    patience: int = option(
        4, "Stop after so many epochs without a better validation.", low=1
    )
    batch_size: int = option(1024, "Events a step.", low=1)
    dropout: float = option(0.0, "Share of inputs dropped.", low=0, high=0.95)
    negative_rate: float = option(
        1.0,
        "Share of the negatives of the first label that an epoch has; "
        "probabilities are put right afterwards.",
        low=1e-6,
        high=1.0,
    )
    class_weights: str = option(
        "none",
        "balanced: both classes of the first label weigh the same; "
        "probabilities are put right afterwards.",
        choices=("none", "balanced"),
    )


@dataclasses.dataclass(frozen=True)
class RankingDistillationOptions(Checked):
    """Methods of distillation, their weights and candidates."""

    losses: tuple[str, ...] = option(
        (f"{_SOFT}:1",),
        "Methods as name[:weight], several with commas; see --list_methods.",
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
        "binary_soft_targets alone and 0.2 with other methods.",
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
        "each taught by the one before; hidden layers grow likewise.",
        low=1,
    )
    teacher_output: str = option(
        "hidden_0", "Output of the teacher that hints compare."
    )
    student_output: str = option("hidden_0", "Output of the student likewise.")
    num_rows: int | None = option(
        None, "Rows of a batch that relations compare; all if unset.", low=2
    )
    session_gap: float | None = option(
        None,
        "Seconds of pause that part the sessions of a user; his rows are one "
        "session if unset.",
        low=0.0,
    )
    session_length: int = option(
        20, "Rows of a session that are compared at most.", low=2
    )
    ensemble: str = option(
        "mean",
        "How several networks teach: the mean of their logits, or weighted "
        "by a gate that is learned on labels (Zhu et al. 2020).",
        choices=("mean", "gated"),
    )
    stop_on: str = option(
        "labels",
        "labels: keep the epoch with the best validation; teacher: the epoch "
        "nearest to the teacher on validation events (Zhu et al. 2020).",
        choices=("labels", "teacher"),
    )
    unlabelled: float = option(
        0.0,
        "Rows without a label for each that has one: users beside items that "
        "others were shown, of which the teacher alone speaks.",
        low=0.0,
        high=20.0,
    )
    knowledge: str = option(
        "cached",
        "Cached: ask the teacher once and keep what it says; live: ask it at "
        "every step.",
        choices=("cached", "live"),
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.losses:
            raise UserError(
                "`losses` should name at least one loss. Received: none. "
                "Write it as binary_soft_targets:0.8."
            )


def labels_weight(options: RankingDistillationOptions) -> float:
    """The weight of the student's own loss on real labels.

    Args:
        options: as they were given.

    Returns:
        What was given; else 0 with binary soft targets alone, 0.2 with other
        methods.
    """
    if options.student_loss_weight is not None:
        return options.student_loss_weight
    names = [text.partition(":")[0] for text in options.losses]
    return 0.0 if names == [_SOFT] else 0.2


@dataclasses.dataclass(frozen=True)
class RankingEvaluationOptions(Checked):
    """What is measured."""

    monitor: str = option(
        "auto",
        "Validation metric of the first label that picks the best epoch; "
        "auc, or rmse of ratings, by default.",
        choices=MONITORS,
    )
    log_loss_rise: float = option(
        0.02,
        "An epoch counts as the best one only if its validation log loss is "
        "at most this share above the lowest, where auc or gauc is monitored.",
        low=0.0,
    )
    validate_every: int = option(
        1, "Epochs from one validation to the next.", low=1
    )
    validation_rows: int = option(
        200_000, "Examples scored in each validation while training.", low=1
    )
    baselines: bool = option(
        True, "Measure the constant prior and LightGBM as well."
    )
    candidates: int = option(
        500, "Candidates of one user that a timed call scores.", low=1
    )
    latency_seconds: float = option(
        5.0,
        "How long latencies are measured at the end; 0 leaves them out.",
        low=0.0,
    )
    latency_repeats: int = option(
        50, "Calls of LightGBM and of the LiteRT file that are timed.", low=1
    )
    bootstrap: int = option(
        200,
        "Draws of users for intervals and tests; 0 leaves them out.",
        low=0,
    )
    top_k: int = option(10, "Answers of the export's `rank` signature.", low=1)
