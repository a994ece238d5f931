"""From options to ranking networks and models."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from kd_tfrs.models.ranking import (
    RankingModel,
    RankingTask,
    build_ranker,
)
from kd_tfrs.workflow.ranking.networks import ranker_config
from kd_tfrs.workflow.ranking.options import RankerOptions, RankerTrainOptions
from kd_tfrs.workflow.ranking.prepare import Inputs
from kd_tfrs.workflow.training import build_optimizer


def build_model(
    inputs: Inputs,
    options: RankerOptions,
    architecture: str,
    training: RankerTrainOptions,
    tasks: Sequence[RankingTask],
    steps_per_epoch: int,
) -> RankingModel:
    """A ranking model, ready to train alone.

    Args:
        inputs: what it sees.
        options: its size.
        architecture: its kind.
        training: how it will be trained.
        tasks: its heads.
        steps_per_epoch: for the decay of the step size.

    Returns:
        A compiled model.

    Raises:
        UserError: the options do not fit the data.
    """
    network = build_ranker(
        inputs.features,
        ranker_config(options, architecture, training.dropout),
        tasks,
        inputs.history_length,
        inputs.item_id,
    )
    model = RankingModel(network, tasks)
    model.compile(optimizer=build_optimizer(training, steps_per_epoch))
    return model


def shift_head(model: RankingModel, task: RankingTask, offset: float) -> None:
    """Adds to a task's logits, by the bias of its head."""
    if offset:
        head: tf.keras.layers.Dense = model.network.get_layer(
            f"head_{task.name}"
        )
        head.bias.assign_add(tf.fill(head.bias.shape, float(offset)))
