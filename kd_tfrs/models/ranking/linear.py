"""First-order terms, and weights of pairs of categories."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from kd_tfrs.config_mixin import ConfigMixin
from kd_tfrs.errors import UserError
from kd_tfrs.models.features import Feature
from kd_tfrs.models.layers import MaskedMean
from kd_tfrs.models.ranking.fields import Fields

# Pairs of larger vocabularies share weights.
_MAX_ROWS = 100_000
_PRIME = 2**31 - 1
_FACTOR = 48271  # Lehmer's generator of that modulus


@tf.keras.utils.register_keras_serializable("kd_tfrs")
class CrossedIds(ConfigMixin, tf.keras.layers.Layer):
    r"""Maps a pair of ids to one id.

    $$k = a n + b, \qquad y = k \;\text{if}\; m n \le r, \;\text{else}\;
    (c k \bmod p) \bmod r$$

    for ids in $[0, m)$ and $[0, n)$. Call it with two `[batch]` tensors; it
    returns `[batch]` int32 in `[0, rows)`. LiteRT supports all of its
    operations.

    Args:
        sizes: $m$ and $n$.
        max_rows: $r$, the maximum number of ids.
        **kwargs: see `tf.keras.layers.Layer`.

    Example:
    >>> CrossedIds((2, 3))([tf.constant([1]), tf.constant([2])]).numpy()
    array([5], dtype=int32)
    """

    def __init__(
        self,
        sizes: Sequence[int],
        max_rows: int = _MAX_ROWS,
        **kwargs: object,
    ) -> None:
        super().__init__(**kwargs)
        self.sizes = tuple(sizes)
        self.max_rows = max_rows
        self.rows = min(self.sizes[0] * self.sizes[1], max_rows)

    def call(self, inputs: Sequence[tf.Tensor]) -> tf.Tensor:
        """See the class."""
        first, second = (tf.cast(x, tf.int64) for x in inputs)
        key = first * self.sizes[1] + second
        if self.rows < self.sizes[0] * self.sizes[1]:
            # The first remainder is below 2 ** 31: the product fits int64.
            key = key % _PRIME * _FACTOR % _PRIME % self.rows
        return tf.cast(key, tf.int32)


def linear_terms(fields: Fields, num_tasks: int) -> list[tf.Tensor]:
    """Weights of the values of every feature, for every task.

    Args:
        fields: see `embed_fields`; a history has no weight.
        num_tasks: number of heads.

    Returns:
        `[batch, tasks]` tensors, zeros before training.
    """
    return [_term(feature, fields, num_tasks) for feature in fields.features]


def crossed_terms(
    fields: Fields, crosses: Sequence[tuple[str, str]], num_tasks: int
) -> list[tf.Tensor]:
    """Weights of the combinations of two categories, for every task.

    Args:
        fields: see `embed_fields`.
        crosses: pairs of names.
        num_tasks: number of heads.

    Returns:
        `[batch, tasks]` tensors, zeros before training.

    Raises:
        UserError: when a name is not a single-valued category.
    """
    categories = {
        f.name: f for f in fields.features if f.vocabulary_size and not f.length
    }
    terms = []
    for pair in crosses:
        if not set(pair) <= set(categories):
            raise UserError(
                "`crosses` should name features with one integer each. "
                f"Received: {pair}. Choose from {sorted(categories)}."
            )
        sizes = [categories[name].vocabulary_size for name in pair]
        name = "_x_".join(fields.layer_names[name] for name in pair)
        cross = CrossedIds(sizes, name=name)
        ids = cross([fields.columns[name] for name in pair])
        terms.append(_weights(cross.rows, num_tasks, name)(ids))
    return terms


def _term(feature: Feature, fields: Fields, num_tasks: int) -> tf.Tensor:
    name, x = fields.layer_names[feature.name], fields.columns[feature.name]
    if not feature.vocabulary_size:
        return tf.keras.layers.Dense(
            num_tasks,
            use_bias=False,
            kernel_initializer="zeros",
            name=f"{name}_weight",
        )(x)
    weights = _weights(feature.vocabulary_size, num_tasks, name)(x)
    if feature.length:
        return MaskedMean(name=f"{name}_weight_mean")([weights, x])
    return weights


def _weights(rows: int, num_tasks: int, name: str) -> tf.keras.layers.Embedding:
    return tf.keras.layers.Embedding(
        rows, num_tasks, embeddings_initializer="zeros", name=f"{name}_weight"
    )
