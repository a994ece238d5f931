"""Whether the embeddings of a network have the rows of the data."""

from __future__ import annotations

import re
from collections.abc import Iterable

import tensorflow as tf

from kd_tfrs.errors import UserError
from kd_tfrs.models.features import Feature

# As the builders of towers and rankers name a table.
_TABLE = re.compile(r"(?:\d+_)?(?P<feature>.+)_embedding")


def check_embedding_sizes(
    who: str, network: tf.keras.Model, features: Iterable[Feature]
) -> None:
    """Refuses a network that was built on other data.

    Args:
        who: what the network is, for the error.
        network: Functional, on encoded features.
        features: of the data.

    Raises:
        UserError: a table of a feature has another number of rows than the
            feature has values, or fewer where the table is the user's own.
    """
    sizes = {f.name: f.vocabulary_size for f in features if f.vocabulary_size}
    named = network.input if isinstance(network.input, dict) else {}
    inputs = {id(tensor): name for name, tensor in named.items()}
    for layer in network.layers:
        if not isinstance(layer, tf.keras.layers.Embedding):
            continue
        match = _TABLE.fullmatch(layer.name)
        own = match and match["feature"]
        name = own if own in sizes else inputs.get(id(layer.input))
        if name not in sizes:
            continue
        rows = layer.input_dim
        if rows < sizes[name] or (own == name and rows != sizes[name]):
            raise UserError(
                f"{who} should have an embedding for each of the "
                f"{sizes[name]:,} values of {name}. Received: {rows:,} rows, "
                "of other data. Build the model on these data."
            )
