"""From options to models, losses and teachers."""

from __future__ import annotations

import tensorflow as tf

from kd_tfrs.distillation.retrieval import TwoTowerTeacher
from kd_tfrs.errors import UserError
from kd_tfrs.models.retrieval import RetrievalModel, TowerConfig, build_tower
from kd_tfrs.workflow.retrieval.config import TowerOptions, TrainOptions
from kd_tfrs.workflow.retrieval.prepare import Encoded
from kd_tfrs.workflow.training import build_optimizer


def build_model(
    encoded: Encoded,
    towers: TowerOptions,
    training: TrainOptions | None = None,
    steps_per_epoch: int | None = None,
) -> RetrievalModel:
    """A retrieval model, ready to train alone.

    Args:
        encoded: its features.
        towers: its size.
        training: how it will be trained; when `None`, the defaults with a
            constant step size.
        steps_per_epoch: for the decay of the step size; a constant step size
            needs none.

    Returns:
        A compiled model.

    Raises:
        UserError: the step size decays, and the number of steps is missing.

    Example:
    ```python
    student = build_model(data.encode(), TowerOptions(embedding_dim=12))
    ```
    """
    training = training or TrainOptions(decay="constant")
    if steps_per_epoch is None and training.decay != "constant":
        raise UserError(
            "`steps_per_epoch` should be given where the step size decays. "
            f"Received: `decay` = {training.decay!r} and `steps_per_epoch` = "
            "None. Give the batches' `steps_per_epoch`."
        )
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
    )
    model.compile(optimizer=build_optimizer(training, steps_per_epoch or 1))
    return model


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

    Example:
    ```python
    teacher = build_teacher(model, encoded, data.seen())
    ```
    """
    return TwoTowerTeacher(
        model.query_tower,
        model.candidate_tower,
        encoded.query_tables,
        encoded.candidate_tables,
        temperature=model.temperature,
        seen=seen,
    )
