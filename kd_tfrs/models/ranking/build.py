"""Builds a ranking network from features and a configuration."""

from __future__ import annotations

import importlib
from collections.abc import Sequence

import tensorflow as tf

from kd_tfrs.models.features import FeatureSet
from kd_tfrs.models.ranking.body import Architecture
from kd_tfrs.models.ranking.config import ARCHITECTURES, RankerConfig
from kd_tfrs.models.ranking.fields import embed_fields
from kd_tfrs.models.ranking.heads import add_heads
from kd_tfrs.models.ranking.model import check_tasks
from kd_tfrs.models.ranking.task import RankingTask

# Imported at once, so that Keras knows the layers of all of them.
_BODIES: dict[str, Architecture] = {
    name: getattr(
        importlib.import_module(f"{__package__}.networks.{name}"), name
    )
    for name in ARCHITECTURES
}


def build_ranker(
    features: FeatureSet,
    config: RankerConfig,
    tasks: Sequence[RankingTask],
    history_length: int | None = None,
    item_id: str | None = None,
    name: str = "ranker",
) -> tf.keras.Model:
    """Builds a Functional model from encoded features to named outputs.

    Args:
        features: adapted features of user, item and event; each is an input
            by its name.
        config: architecture and sizes.
        tasks: one or more; each gets a head.
        history_length: length of the further input `history`, the item ids of
            what the user took before, encoded by the item id's feature and
            padded with 0; `None` for no such input. `din` attends to it, the
            others have its mean as one more field.
        item_id: name of the item id's feature; needed with a history where
            more than one feature is an id.
        name: name of the model.

    Returns:
        A Keras model from a dict of `[batch]` or `[batch, length]` tensors to
        a dict of tensors: `logits_<task>` `[batch]` float32 for each task;
        `hidden_0`, `hidden_1`, ... `[batch, units]` of the deep part;
        `interaction` `[batch, width]` of the layer in which fields meet
        (not of `dnn` and `wide_deep`); `embeddings` `[batch, fields, dim]`,
        in the features' order (`dlrm`: numbers first, as one field), the
        history last; `gate_<task>` `[batch, experts]` with experts.

    Raises:
        UserError: the features, the tasks or the history do not fit the
            configuration.

    Example:
    ```python
    network = build_ranker(features, STUDENT, (RankingTask("liked"),))
    network(encoded)["logits_liked"]  # [batch]
    ```
    """
    tasks = check_tasks(tasks)
    config.check_heads(len(tasks))
    fields = embed_fields(
        features, config.embedding_dim, history_length, item_id
    )
    body = _BODIES[config.architecture](fields, config, len(tasks))
    outputs = {"embeddings": body.embeddings}
    if body.interaction is not None:
        outputs["interaction"] = body.interaction
    outputs.update(add_heads(body, config, tasks))
    return tf.keras.Model(fields.inputs, outputs, name=name)
