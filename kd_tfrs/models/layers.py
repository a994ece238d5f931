"""Layers, and names of layers, of all models."""

from __future__ import annotations

import re

import tensorflow as tf


@tf.keras.utils.register_keras_serializable("kd_tfrs")
class MaskedMean(tf.keras.layers.Layer):
    r"""Mean of the embeddings of a list, padding left out.

    $$y = \sum_l [x_l \ne 0] e_l / \max(1, \sum_l [x_l \ne 0])$$

    Call it with `[embeddings, ids]`, `[batch, length, dim]` and
    `[batch, length]`; it returns `[batch, dim]`, zeros for an empty list.

    Example:
    ```python
    pooled = MaskedMean()([tf.keras.layers.Embedding(9, 4)(ids), ids])
    ```
    """

    def call(self, inputs: list[tf.Tensor]) -> tf.Tensor:
        """See the class."""
        embeddings, ids = inputs
        mask = tf.cast(ids != 0, embeddings.dtype)[..., None]
        total = tf.reduce_sum(embeddings * mask, axis=1)
        return total / tf.maximum(tf.reduce_sum(mask, axis=1), 1)


def layer_name(position: int, column: str) -> str:
    """A name that TensorFlow accepts and that no other layer has.

    Columns may be called "Book Title", or "features" like a layer.

    Args:
        position: of the feature among the others.
        column: name of the feature.

    Returns:
        What the names of the feature's layers start with.

    Example:
    >>> layer_name(2, "Book Title")
    '2_Book_Title'
    """
    return f"{position}_" + re.sub("[^A-Za-z0-9_.]", "_", column)
