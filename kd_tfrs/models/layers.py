"""Layers and layer names that all models share."""

from __future__ import annotations

import re

import tensorflow as tf


@tf.keras.utils.register_keras_serializable("kd_tfrs")
class MaskedMean(tf.keras.layers.Layer):
    r"""Mean of the embeddings of a list, without padding.

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


@tf.keras.utils.register_keras_serializable("kd_tfrs")
class CheckpointedDropout(tf.keras.layers.Dropout):
    """Keras's Dropout, with the state of its generator in checkpoints.

    Keras does not save that state, so a restored model repeats the masks of
    the first steps. The state is not a weight: `get_weights` does not return
    it.

    Args:
        rate: share of the inputs that is dropped, in [0, 1).
        **kwargs: see `tf.keras.layers.Dropout`.

    Example:
    ```python
    x = CheckpointedDropout(0.2)(x)
    ```
    """

    def __init__(self, rate: float, **kwargs: object) -> None:
        super().__init__(rate, **{**kwargs, "rng_type": "stateful"})

    def build(self, input_shape: tf.TensorShape) -> None:
        """See Keras."""
        super().build(input_shape)
        # Checkpoints track attributes.
        self.generator = self._random_generator._generator


def dropped(x: tf.Tensor, rate: float) -> tf.Tensor:
    """Applies dropout if the rate is positive.

    Args:
        x: any tensor.
        rate: share dropped in training, in [0, 1).

    Returns:
        A tensor of the same shape.
    """
    return CheckpointedDropout(rate)(x) if rate else x


def layer_name(position: int, column: str) -> str:
    """Makes a unique layer name that TensorFlow accepts.

    Columns may have names such as "Book Title", or "features" like a layer.

    Example:
    >>> layer_name(2, "Book Title")
    '2_Book_Title'
    """
    return f"{position}_" + re.sub("[^A-Za-z0-9_.]", "_", column)
