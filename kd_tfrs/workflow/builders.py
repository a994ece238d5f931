"""From options to models, losses and teachers."""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf

from kd_tfrs.distillation import (
    DistillationLoss,
    InBatch,
    Listener,
    Sampled,
    ScoreRegression,
    SoftLabelLikelihood,
    SoftTargets,
    TeacherHardLabel,
    TeacherTopK,
    Term,
    TwoTowerTeacher,
)
from kd_tfrs.distillation.schedules import Scheduled
from kd_tfrs.errors import UserError
from kd_tfrs.models import (
    LazyAdam,
    RetrievalModel,
    TowerConfig,
    build_tower,
)
from kd_tfrs.workflow.config import (
    DistillationOptions,
    TowerOptions,
    TrainOptions,
)
from kd_tfrs.workflow.prepare import Encoded

_LOSSES: dict[str, Callable[[Scheduled], DistillationLoss]] = {
    "soft_targets": SoftTargets,
    "soft_label_likelihood": lambda _: SoftLabelLikelihood(),
    "teacher_hard_label": lambda _: TeacherHardLabel(),
    "score_regression": lambda _: ScoreRegression(),
}


def build_optimizer(
    learning_rate: float, decay: str, num_steps: int
) -> LazyAdam:
    """The optimizer of a training.

    Args:
        learning_rate: step size at the start.
        decay: "cosine", to zero over `num_steps`, or "constant".
        num_steps: training steps, at least 1.

    Returns:
        A LazyAdam.
    """
    if decay == "constant":
        return LazyAdam(learning_rate)
    schedule = tf.keras.optimizers.schedules.CosineDecay(
        learning_rate, num_steps
    )
    return LazyAdam(schedule)


def build_model(
    encoded: Encoded,
    towers: TowerOptions,
    training: TrainOptions,
    steps_per_epoch: int,
) -> RetrievalModel:
    """A retrieval model, ready to train alone.

    Args:
        encoded: its features.
        towers: its size.
        training: how it will be trained.
        steps_per_epoch: for the decay of the step size.

    Returns:
        A compiled model.
    """
    config = TowerConfig(
        embedding_dim=towers.embedding_dim,
        hidden_units=towers.hidden_units,
        dropout=training.dropout,
    )
    model = RetrievalModel(
        build_tower(encoded.query, config, name="query_tower"),
        build_tower(encoded.candidate, config, name="candidate_tower"),
        temperature=training.softmax_temperature,
        popularity_correction=training.popularity_correction,
        jit_compile=_is_large(training),
    )
    model.compile(
        optimizer=build_optimizer(
            training.learning_rate,
            training.decay,
            training.epochs * steps_per_epoch,
        )
    )
    return model


def _is_large(training: TrainOptions) -> bool:
    """Whether a step has enough scores to repay compiling its loss."""
    candidates = training.batch_size + training.uniform_negatives
    return training.batch_size * candidates >= 2**19


def build_teacher(
    model: RetrievalModel, encoded: Encoded, seen: tf.RaggedTensor | None
) -> TwoTowerTeacher:
    """A live teacher from a trained model.

    Args:
        model: it stays as it is.
        encoded: its features.
        seen: items left out of its lists, or `None`.

    Returns:
        The teacher.
    """
    return TwoTowerTeacher(
        model.query_tower,
        model.candidate_tower,
        encoded.query_tables,
        encoded.candidate_tables,
        temperature=model.temperature,
        seen=seen,
    )


def build_terms(
    options: DistillationOptions, num_steps: int, num_items: int
) -> tuple[list[Term], list[float]]:
    """Distillation losses and their weights.

    Args:
        options: names, weights, where they listen.
        num_steps: training steps, for the temperature's way.
        num_items: bounds the teacher's lists.

    Returns:
        Terms and weights, for the `Distiller`.

    Raises:
        UserError: a loss is unknown, or its weight is no number.

    Example:
    >>> terms, weights = build_terms(DistillationOptions(), 100, 50)
    >>> weights
    [0.8]
    """
    temperature: Scheduled = options.temperature
    if options.final_temperature is not None:
        temperature = tf.keras.optimizers.schedules.PolynomialDecay(
            options.temperature, num_steps, options.final_temperature
        )
    listener = _listener(options, num_items)
    terms, weights = [], []
    for text in options.losses:
        name, weight = parse_loss(text)
        terms.append(Term(_LOSSES[name](temperature), listener))
        weights.append(weight)
    return terms, weights


def parse_loss(text: str) -> tuple[str, float]:
    """Reads `name[:weight]`.

    Args:
        text: such as "soft_targets:0.8"; the weight is 1 when left out.

    Returns:
        Name and weight.

    Raises:
        UserError: the name is unknown or the weight no positive number.

    Example:
    >>> parse_loss("soft_targets:0.8")
    ('soft_targets', 0.8)
    """
    name, _, weight = text.partition(":")
    if name not in _LOSSES:
        raise UserError(
            f"`--distillation_losses` should name {', '.join(_LOSSES)}. "
            f"Received: {name!r}."
        )
    try:
        value = float(weight or 1.0)
    except ValueError:
        value = -1.0
    if not 0 < value < float("inf"):
        raise UserError(
            "`--distillation_losses` should give each weight as a positive "
            f"number. Received: {text!r}. Write it as soft_targets:0.8."
        )
    return name, value


def _listener(options: DistillationOptions, num_items: int) -> Listener:
    if options.over == "in_batch":
        return InBatch()
    if options.over == "sampled":
        return Sampled(options.num_random)
    return TeacherTopK(
        k=min(options.top_k, num_items),
        num_random=options.num_random,
        num_queries=options.num_queries,
    )
