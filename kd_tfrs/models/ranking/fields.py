"""Embeds encoded inputs as fields: one embedding for every feature."""

from __future__ import annotations

import dataclasses

import tensorflow as tf

from kd_tfrs.config_mixin import ConfigMixin
from kd_tfrs.data.schema import Encoding
from kd_tfrs.errors import UserError
from kd_tfrs.models.features import Feature, FeatureSet
from kd_tfrs.models.layers import MaskedMean, layer_name

HISTORY = "history"
# In standard deviations from the mean. An outlier should neither dominate the
# other fields nor overflow in products of fields.
_LIMIT = 10.0
# Small, so that an id with few training events has little influence.
_STDDEV = 0.05


@dataclasses.dataclass(frozen=True)
class Fields:
    """The inputs of a network and their embeddings.

    Args:
        features: features in the order of the fields.
        inputs: Keras inputs by name, including `history` if there is one.
        layer_names: prefix of the names of each feature's layers.
        columns: by feature: `[batch]` or `[batch, length]` integers, or
            `[batch, 1]` numbers.
        vectors: by feature: `[batch, dim]` embeddings.
        item: `[batch, dim]`, the embedding of the item's id; `None` without
            a history.
        history: `[batch, length, dim]` from the same table, or `None`.
        history_ids: `[batch, length]`, 0 for padding, or `None`.
    """

    features: tuple[Feature, ...]
    inputs: dict[str, tf.Tensor]
    layer_names: dict[str, str]
    columns: dict[str, tf.Tensor]
    vectors: dict[str, tf.Tensor]
    item: tf.Tensor | None = None
    history: tf.Tensor | None = None
    history_ids: tf.Tensor | None = None

    def history_mean(self) -> tf.Tensor | None:
        """The mean of the history, `[batch, dim]`, or `None` without one."""
        if self.history is None:
            return None
        return MaskedMean(name="history_mean")([self.history, self.history_ids])


@tf.keras.utils.register_keras_serializable("kd_tfrs")
class NumberColumn(ConfigMixin, tf.keras.layers.Layer):
    r"""A normalised number as a column, with clipped outliers.

    $$y = \min(\max(x, -c), c)$$

    Args:
        limit: $c$, positive, in standard deviations.
        **kwargs: see `tf.keras.layers.Layer`.

    Example:
    >>> NumberColumn(limit=3.0)(tf.constant([0.5, -1e30])).numpy().tolist()
    [[0.5], [-3.0]]
    """

    def __init__(self, limit: float = _LIMIT, **kwargs: object) -> None:
        super().__init__(**kwargs)
        self.limit = limit

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """See the class; `[batch]` to `[batch, 1]`."""
        return tf.clip_by_value(inputs, -self.limit, self.limit)[:, None]


def embed_fields(
    features: FeatureSet,
    dim: int,
    history_length: int | None = None,
    item_id: str | None = None,
) -> Fields:
    r"""Embeds every feature into a field of the same width.

    $$e_f = V_{x_f}, \qquad e_f = v_f x_f, \qquad
    e_f = \frac{1}{\max(1, n)} \sum_{l: x_{fl} \ne 0} V_{x_{fl}}$$

    for categories, numbers and lists of $n$ values.

    Args:
        features: adapted features; the input of each has its name.
        dim: width of the embeddings.
        history_length: length of the input `history`, item ids encoded by the
            item id's feature and padded with 0; `None` for no such input.
        item_id: name of the item id's feature; the history shares its table.
            Required if more than one feature is an id.

    Returns:
        The fields; the network pools the history.

    Raises:
        UserError: when the history does not fit the features.

    References:
        Song et al. 2019, "AutoInt: Automatic Feature Interaction Learning via
        Self-Attentive Neural Networks", section 4 (one vector for each
        number, a mean for lists).
    """
    item = _item(features, history_length, item_id)
    names = {f.name: layer_name(i, f.name) for i, f in enumerate(features)}
    inputs = {f.name: f.input(names[f.name]) for f in features}
    columns = {f.name: _column(f, inputs[f.name], names) for f in features}
    others = [f for f in features if f is not item]
    vectors = {f.name: _embed(f, columns, dim, names[f.name]) for f in others}
    history = {}
    if item is not None:
        inputs[HISTORY] = tf.keras.Input(
            (history_length,), dtype=tf.int32, name=HISTORY
        )
        vector, history = _embed_item(
            columns[item.name], inputs[HISTORY], _table(item, dim, names)
        )
        vectors[item.name] = vector
    # Restore the order of the features.
    vectors = {f.name: vectors[f.name] for f in features}
    return Fields(tuple(features), inputs, names, columns, vectors, **history)


def _item(
    features: FeatureSet, history_length: int | None, item_id: str | None
) -> Feature | None:
    if history_length is None:
        if item_id is not None:
            raise UserError(
                "`item_id` is used with a history only. Received: `item_id` "
                f"= {item_id!r} and `history_length` = None."
            )
        return None
    if history_length < 1 or HISTORY in {f.name for f in features}:
        raise UserError(
            "`history_length` should be positive, and no feature should be "
            f"named {HISTORY!r}. Received: `history_length` = "
            f"{history_length} and {[f.name for f in features]}."
        )
    matches = [
        f
        for f in features
        if (f.name == item_id if item_id else f.encoding is Encoding.ID)
    ]
    if len(matches) != 1 or not matches[0].vocabulary_size or matches[0].length:
        raise UserError(
            "`item_id` should name the feature that encodes the history's "
            f"ids. Received: `item_id` = {item_id!r} with the features "
            f"{[f.name for f in features]}."
        )
    return matches[0]


def _column(feature: Feature, x: tf.Tensor, names: dict[str, str]) -> tf.Tensor:
    if feature.vocabulary_size:
        return x
    return NumberColumn(name=f"{names[feature.name]}_column")(x)


def _table(
    feature: Feature, dim: int, names: dict[str, str]
) -> tf.keras.layers.Embedding:
    return tf.keras.layers.Embedding(
        feature.vocabulary_size,
        dim,
        embeddings_initializer=_small(),
        name=f"{names[feature.name]}_embedding",
    )


def _small() -> tf.keras.initializers.Initializer:
    return tf.keras.initializers.RandomNormal(stddev=_STDDEV)


def _embed(
    feature: Feature, columns: dict[str, tf.Tensor], dim: int, name: str
) -> tf.Tensor:
    x = columns[feature.name]
    if not feature.vocabulary_size:
        return tf.keras.layers.Dense(
            dim,
            use_bias=False,
            kernel_initializer=_small(),
            name=f"{name}_embedding",
        )(x)
    embedded = _table(feature, dim, {feature.name: name})(x)
    if feature.length:
        return MaskedMean(name=f"{name}_mean")([embedded, x])
    return embedded


def _embed_item(
    ids: tf.Tensor, history: tf.Tensor, table: tf.keras.layers.Embedding
) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
    """Embeds the item and its history by one look-up."""
    # TFMOT counts a step for each call of a layer: with two calls, the table
    # would be pruned twice as fast as other layers.
    layers = tf.keras.layers
    first = layers.Reshape((1,), name="item_column")(ids)
    embedded = table(layers.Concatenate(name="item_ids")([first, history]))
    length, dim = history.shape[1], embedded.shape[2]
    item = layers.Cropping1D((0, length), name="item_row")(embedded)
    item = layers.Reshape((dim,), name="item")(item)
    vectors = layers.Cropping1D((1, 0), name="history_rows")(embedded)
    return item, {"item": item, "history": vectors, "history_ids": history}
