"""Functional towers with named outputs, built from features."""

from __future__ import annotations

import dataclasses

import tensorflow as tf

from kd_tfrs.errors import UserError
from kd_tfrs.models.features import Feature, FeatureSet
from kd_tfrs.models.layers import MaskedMean, dropped, layer_name


@dataclasses.dataclass(frozen=True)
class TowerConfig:
    """The size and shape of one tower.

    Args:
        embedding_dim: width of the output embedding, and of every feature's
            embedding.
        hidden_units: widths of the hidden layers. Without hidden layers, the
            embeddings of the features are summed, so that each feature is a
            bias of the id's vector; with hidden layers, they are
            concatenated.
        normalize: whether to divide the embedding by its L2 norm, so that a
            dot product is a cosine.
        dropout: share of the embedding's inputs dropped in training, in
            [0, 1).

    Raises:
        UserError: when a size is not positive or a share is out of range.

    Example:
    ```python
    TowerConfig(embedding_dim=128, hidden_units=(256,), dropout=0.1)
    ```
    """

    embedding_dim: int = 32
    hidden_units: tuple[int, ...] = ()
    normalize: bool = True
    dropout: float = 0.0

    def __post_init__(self) -> None:
        sizes = (self.embedding_dim, *self.hidden_units)
        if any(size < 1 for size in sizes):
            raise UserError(
                "`embedding_dim` and `hidden_units` should be positive. "
                f"Received: {self.embedding_dim} and {self.hidden_units}. "
                "Give sizes of at least 1."
            )
        if not 0.0 <= self.dropout < 1.0:
            raise UserError(
                "`dropout` should lie in [0, 1). Received: `dropout` = "
                f"{self.dropout}. Give a share such as 0.1."
            )


# Named sizes: a teacher, a student of a tenth, and an edge model.
TEACHER = TowerConfig(embedding_dim=200)
STUDENT = TowerConfig(embedding_dim=20)
EDGE = TowerConfig(embedding_dim=6)


def build_tower(
    features: FeatureSet, config: TowerConfig, name: str = "tower"
) -> tf.keras.Model:
    """Builds a Functional model from encoded features to named outputs.

    Args:
        features: adapted features; the input of each has its name.
        config: sizes of the tower.
        name: name of the model.

    Returns:
        A Keras model from a dict of `[batch]` or `[batch, length]` tensors to
        a dict of `[batch, width]` float32 tensors: `hidden_0`, `hidden_1`,
        ... of the hidden layers and `embedding` of the last layer.

    Example:
    ```python
    tower = build_tower(features, TowerConfig(embedding_dim=32))
    tower(tables)["embedding"]  # [num_rows, 32]
    ```
    """
    names = [layer_name(i, f.name) for i, f in enumerate(features)]
    inputs = {
        feature.name: feature.input(name)
        for feature, name in zip(features, names, strict=True)
    }
    vectors = [
        _embed(feature, inputs[feature.name], config.embedding_dim, name)
        for feature, name in zip(features, names, strict=True)
    ]
    outputs: dict[str, tf.Tensor] = {}
    if config.hidden_units:
        x = _join(vectors, tf.keras.layers.Concatenate(name="features"))
        x = dropped(x, config.dropout)
        for i, units in enumerate(config.hidden_units):
            x = tf.keras.layers.Dense(
                units, activation="relu", name=f"hidden_{i}"
            )(x)
            outputs[f"hidden_{i}"] = x
        x = tf.keras.layers.Dense(config.embedding_dim, name="projection")(x)
    else:
        x = _join(vectors, tf.keras.layers.Add(name="features"))
        x = dropped(x, config.dropout)
    if config.normalize:
        x = tf.keras.layers.UnitNormalization(name="unit")(x)
    # Scores and losses are float32 under every policy of the layers.
    outputs["embedding"] = tf.keras.layers.Activation(
        "linear", dtype="float32", name="embedding"
    )(x)
    return tf.keras.Model(inputs, outputs, name=name)


def _embed(feature: Feature, x: tf.Tensor, dim: int, name: str) -> tf.Tensor:
    if not feature.vocabulary_size:
        x = tf.keras.layers.Reshape((1,), name=f"{name}_column")(x)
        return tf.keras.layers.Dense(
            dim, use_bias=False, name=f"{name}_embedding"
        )(x)
    table = tf.keras.layers.Embedding(
        feature.vocabulary_size,
        dim,
        embeddings_initializer=tf.keras.initializers.RandomNormal(
            stddev=dim**-0.5
        ),
        name=f"{name}_embedding",
    )
    embedded = table(x)
    if feature.length:
        return MaskedMean(name=f"{name}_mean")([embedded, x])
    return embedded


def _join(vectors: list[tf.Tensor], layer: tf.keras.layers.Layer) -> tf.Tensor:
    return layer(vectors) if len(vectors) > 1 else vectors[0]
