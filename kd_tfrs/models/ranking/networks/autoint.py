"""AutoInt: self-attention between fields."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from kd_tfrs.config_mixin import ConfigMixin
from kd_tfrs.models.ranking.body import Body, field_vectors, stack
from kd_tfrs.models.ranking.config import RankerConfig
from kd_tfrs.models.ranking.fields import Fields

_HEADS = 2
_LAYERS = 2


@tf.keras.utils.register_keras_serializable("kd_tfrs")
class FieldAttention(ConfigMixin, tf.keras.layers.Layer):
    r"""Multi-head attention of every field over all fields.

    $$\alpha^{(h)}_{mk} = \frac{\exp \langle q^{(h)}_m, k^{(h)}_k \rangle}
    {\sum_l \exp \langle q^{(h)}_m, k^{(h)}_l \rangle}, \qquad
    y_m = \big[\textstyle\sum_k \alpha^{(h)}_{mk} v^{(h)}_k\big]_h$$

    without scaling by the root of the width, as in the paper. Call it
    with `[queries, keys, values]`, `[batch, fields, heads * width]` each; it
    returns the same shape, heads side by side.

    Args:
        heads: number of heads, a divisor of the last axis.
        **kwargs: see `tf.keras.layers.Layer`.

    Example:
    >>> x = tf.ones([1, 3, 4])
    >>> FieldAttention(heads=2)([x, x, x]).shape
    TensorShape([1, 3, 4])

    References:
        Song et al. 2019, "AutoInt: Automatic Feature Interaction Learning via
        Self-Attentive Neural Networks", section 4.4.
    """

    def __init__(self, heads: int = _HEADS, **kwargs: object) -> None:
        super().__init__(**kwargs)
        self.heads = heads

    def call(self, inputs: Sequence[tf.Tensor]) -> tf.Tensor:
        """See the class."""
        queries, keys, values = (self._split(x) for x in inputs)
        scores = tf.matmul(queries, keys, transpose_b=True)
        mixed = tf.matmul(tf.nn.softmax(scores), values)
        _, fields, width = inputs[0].shape
        return tf.reshape(
            tf.transpose(mixed, [0, 2, 1, 3]), [-1, fields, width]
        )

    def _split(self, x: tf.Tensor) -> tf.Tensor:
        _, fields, width = x.shape
        x = tf.reshape(x, [-1, fields, self.heads, width // self.heads])
        return tf.transpose(x, [0, 2, 1, 3])


def autoint(fields: Fields, config: RankerConfig, num_tasks: int) -> Body:
    r"""Attention with residuals, beside a perceptron; see `Architecture`.

    $$e'_m = \text{ReLU}(\text{attention}(W_Q e, W_K e, W_V e)_m
    + W_\text{Res} e_m)$$

    With hidden layers this is AutoInt+ of the paper: the head has the last
    $e'$ and the last layer of the perceptron as inputs. Without hidden layers
    it is AutoInt. Kernels are Dense layers of the network, so they can be
    pruned.

    References:
        Song et al. 2019, "AutoInt: Automatic Feature Interaction Learning via
        Self-Attentive Neural Networks", section 4.4; section 5 for AutoInt+.
    """
    flat, embeddings = stack(field_vectors(fields), config.l2)
    heads, x = config.heads or _HEADS, embeddings
    for i in range(config.attention_layers or _LAYERS):
        x = _interact(x, heads, config.embedding_dim, f"attention_{i}")
    x = tf.keras.layers.Flatten(name="interaction")(x)
    return Body(embeddings, flat, beside=x, interaction=x)


def _interact(x: tf.Tensor, heads: int, width: int, name: str) -> tf.Tensor:
    layers = tf.keras.layers
    queries, keys, values, residual = (
        layers.Dense(heads * width, use_bias=False, name=f"{name}_{part}")(x)
        for part in ("query", "key", "value", "residual")
    )
    mixed = FieldAttention(heads, name=name)([queries, keys, values])
    total = layers.Add(name=f"{name}_sum")([mixed, residual])
    return layers.ReLU(name=f"{name}_relu")(total)
