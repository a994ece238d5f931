"""The options of a ranking run, section by section, with help beside them."""

from __future__ import annotations

import dataclasses
import typing
from typing import Any

from kd_tfrs.errors import UserError
from kd_tfrs.models.ranking.config import (
    ACTIVATIONS,
    ARCHITECTURES,
    OWN_OPTIONS,
    RankerConfig,
)
from kd_tfrs.workflow.options import again, option
from kd_tfrs.workflow.task_options import (
    DataOptions,
    MeasureOptions,
    MethodOptions,
    NetworkOptions,
    TrainingOptions,
)

# As data/ranking/splits.py has them, for which `--help` does not wait.
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
_SOFT = "binary_soft_targets"
MONITORS = ("auto", "auc", "gauc", "log_loss", "rmse", "mae")


@dataclasses.dataclass(frozen=True)
class RankingDataConfig(DataOptions):
    """What is read, which labels are learned, how it is split."""

    num_events: int = again(DataOptions, "num_events", 60_000)
    split: str = again(DataOptions, "split", "auto", choices=SPLITS)
    event_columns: tuple[str, ...] = option(
        (),
        "Further columns of the events in your own file that models look at, "
        "comma separated.",
    )
    training_only_columns: tuple[str, ...] = option(
        (),
        "Likewise columns, also of your users and items, that only teachers "
        "look at, since they are not known when serving.",
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


@dataclasses.dataclass(frozen=True)
class _CommonRankerOptions(NetworkOptions):
    """Options that every architecture has."""

    embedding_dim: int = again(NetworkOptions, "embedding_dim", 8)
    hidden_units: tuple[int, ...] = again(
        NetworkOptions, "hidden_units", (32, 16)
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


def _own_option(name: str, kind: Any, help_text: str) -> tuple[str, Any, Any]:
    """Name, type and field of an option of one architecture; unset if falsy."""
    if kind is bool:
        return name, bool, option(False, help_text)
    if kind is int:
        return name, int | None, option(None, help_text, low=1)
    if kind == tuple[int, ...]:
        return name, kind, option((), help_text, low=1)
    # Pairs of names, each as one text.
    return name, tuple[str, ...], option((), help_text)


_KINDS = typing.get_type_hints(RankerConfig)
RankerOptions = dataclasses.make_dataclass(
    "RankerOptions",
    [
        _own_option(
            field.name,
            typing.get_args(_KINDS[field.name])[0],
            field.metadata["help"],
        )
        for field in dataclasses.fields(RankerConfig)
        if field.name in OWN_OPTIONS
    ],
    bases=(_CommonRankerOptions,),
    frozen=True,
    namespace={"__doc__": "Size and shape of a ranking network."},
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
class RankerTrainOptions(TrainingOptions):
    """How a ranker is trained."""

    learning_rate: float = again(TrainingOptions, "learning_rate", 0.003)
    decay: str = again(TrainingOptions, "decay", "constant")
    epochs: int = again(TrainingOptions, "epochs", 20)
    patience: int = again(TrainingOptions, "patience", 4)
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
class RankingDistillationOptions(MethodOptions):
    """Methods of distillation, their weights and candidates."""

    losses: tuple[str, ...] = again(MethodOptions, "losses", (f"{_SOFT}:1",))
    teacher_output: str = again(MethodOptions, "teacher_output", "hidden_0")
    student_output: str = again(MethodOptions, "student_output", "hidden_0")
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
        "others were shown, with the loss of the teacher alone.",
        low=0.0,
        high=20.0,
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
class RankingEvaluationOptions(MeasureOptions):
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
    validation_rows: int = option(
        200_000, "Examples scored in each validation while training.", low=1
    )
    candidates: int = option(
        500, "Candidates of one user that a timed call scores.", low=1
    )
    latency_repeats: int = option(
        50, "Calls of LightGBM and of the LiteRT file that are timed.", low=1
    )
    bootstrap: int = option(
        200,
        "Draws of users for intervals and tests; 0 leaves them out.",
        low=0,
    )
