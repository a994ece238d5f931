"""Int8 embedding tables, and quantisation-aware training."""

from __future__ import annotations

import numpy as np
import tensorflow as tf
import tensorflow_model_optimization as tfmot

from kd_tfrs.compression.pruning import Layer, changed
from kd_tfrs.config_mixin import ConfigMixin
from kd_tfrs.errors import UserError

_LARGEST = 127


@tf.keras.utils.register_keras_serializable("kd_tfrs")
class Int8Embedding(ConfigMixin, tf.keras.layers.Layer):
    r"""An embedding of int8 rows, with one scale per row.

    $$y = s_x q_x, \qquad s_x = \frac{\max_d |e_{xd}|}{127}, \qquad
    q_{xd} = \text{round}(e_{xd} / s_x)$$

    The error of a value is at most $s_x / 2$. A table is a quarter as large as
    in float32 ($(d + 4) / 4 d$ for the width $d$), in a SavedModel and in a
    LiteRT file, and needs builtin operations only. It is not trainable.

    Args:
        input_dim: number of rows.
        output_dim: width of a row.
        **kwargs: see `tf.keras.layers.Layer`.

    Example:
    >>> layer = Int8Embedding.of(np.array([[254.0, -2.9], [0.0, 0.0]]))
    >>> layer(tf.constant([0, 1])).numpy().tolist()
    [[254.0, -2.0], [0.0, 0.0]]
    """

    def __init__(
        self, input_dim: int, output_dim: int, **kwargs: object
    ) -> None:
        super().__init__(**kwargs)
        self.input_dim = input_dim
        self.output_dim = output_dim

    @classmethod
    def of(cls, table: np.ndarray, **kwargs: object) -> Int8Embedding:
        """Builds a layer from a table.

        Args:
            table: `[rows, width]` finite numbers.
            **kwargs: see `tf.keras.layers.Layer`.

        Returns:
            The built layer.
        """
        layer = cls(*table.shape, **kwargs)
        layer.build(None)
        layer.set_weights(quantized_rows(table))
        return layer

    def build(self, input_shape: object) -> None:
        """See Keras."""
        self.table = self._weight(
            "table", (self.input_dim, self.output_dim), tf.int8
        )
        self.scale = self._weight("scale", (self.input_dim,), tf.float32)
        super().build(input_shape)

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """See the class; `[...]` integers to `[..., output_dim]`."""
        rows = tf.cast(tf.gather(self.table, inputs), tf.float32)
        rows *= tf.gather(self.scale, inputs)[..., None]
        return tf.cast(rows, self.compute_dtype)

    def _weight(self, name: str, shape: tuple, dtype: tf.DType) -> tf.Variable:
        return self.add_weight(
            name,
            shape,
            dtype=dtype,
            initializer="zeros",
            trainable=False,
            experimental_autocast=False,
        )


def quantized_rows(table: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Quantises rows to int8 with one scale each, see `Int8Embedding`.

    Args:
        table: `[rows, width]` finite numbers.

    Returns:
        `[rows, width]` int8 and `[rows]` float32; a row of zeros has the
        scale 0.

    Raises:
        UserError: when a number is not finite.

    Example:
    >>> [x.tolist() for x in quantized_rows(np.array([[0.0, -254.0]]))]
    [[[0, -127]], [2.0]]
    """
    if not np.isfinite(table).all():
        raise UserError(
            "A table should be finite. Received: NaN or infinity. The model "
            "has diverged: lower its learning rate."
        )
    scale = np.abs(table).max(axis=1, initial=0.0) / _LARGEST
    rows = np.round(table / np.where(scale > 0, scale, 1.0)[:, None])
    return rows.astype(np.int8), scale.astype(np.float32)


def quantize_tables(network: tf.keras.Model) -> tf.keras.Model:
    """Returns a copy of a network with `Int8Embedding` layers.

    Use it for models that TensorFlow serves, and for small tables in LiteRT:
    the modes "dynamic" and "int8" of `to_litert` quantise tables as well, with
    one scale per table, but not tables of less than a thousand weights.

    Args:
        network: a built Functional model without pruning wrappers; it does
            not change.

    Returns:
        A model with the same inputs and outputs, for inference only.

    Raises:
        UserError: when there is no embedding.

    Example:
    ```python
    small = student.with_networks(quantize_tables(student.network))
    ```
    """

    def replace(layer: Layer) -> Layer:
        return Int8Embedding.of(
            layer.get_weights()[0], name=layer.name, dtype=layer.dtype_policy
        )

    # The network may be the result of `quantization_aware`.
    with tfmot.quantization.keras.quantize_scope():
        return changed(network, (tf.keras.layers.Embedding,), replace)


def quantization_aware(network: tf.keras.Model) -> tf.keras.Model:
    r"""Returns a copy of a network with simulated int8 in its Dense layers.

    $$\hat x = s \cdot \text{clip}(\text{round}(x / s), -127, 127)$$

    for the kernels and outputs of the layers, with the gradients of the
    identity. Fine-tune it like any network (a few epochs at a tenth of the
    learning rate), then convert it by `to_litert(..., "dynamic")`, which uses
    the learned ranges and quantises the tables as well.

    Prune before, not behind it: what is trained afterwards fills up the
    zeros of a kernel again.

    Args:
        network: a built Functional model; it does not change.

    Returns:
        A model with the same inputs and outputs.

    Raises:
        UserError: when there is no Dense layer.

    References:
        Jacob et al. 2018, "Quantization and Training of Neural Networks for
        Efficient Integer-Arithmetic-Only Inference", section 3.
    """
    keras = tfmot.quantization.keras
    # Dense layers inside cross layers are not layers of the model for TFMOT.
    annotated = changed(
        network, (tf.keras.layers.Dense,), keras.quantize_annotate_layer
    )
    with keras.quantize_scope():
        return keras.quantize_apply(annotated)
