"""Networks with kernels and embeddings in a smaller format on disk."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from kd_tfrs.compression.pruning import PRUNABLE, Layer, copy, fresh
from kd_tfrs.errors import UserError
from kd_tfrs.export.stored_table import FLOAT32, Storage, StoredTable


class _Stored:
    """A layer whose table no configuration has: a SavedModel alone keeps it."""

    @classmethod
    def from_config(cls, config: dict) -> tf.keras.layers.Layer:
        """Refused, as the layer would come back without its table."""
        raise UserError(
            f"`{cls.__name__}` should be stored in a SavedModel. Received: "
            f"the configuration of {config.get('name')!r}, which lacks its "
            "table. Load the export, or save the model it was made of."
        )


class StoredDense(_Stored, tf.keras.layers.Dense):
    """A Dense layer with a `StoredTable` as kernel. It is not trainable.

    Args:
        table: the kernel, `[inputs, units]`.
        **kwargs: see `tf.keras.layers.Dense`.

    Example:
    ```python
    layer = StoredDense(StoredTable(kernel, Storage(int8=True)), units=8)
    ```
    """

    def __init__(self, table: StoredTable, **kwargs: object) -> None:
        super().__init__(**kwargs)
        # With the table as attribute, Keras counts its arrays as weights.
        self._read = table.read

    def build(self, input_shape: object) -> None:
        """See Keras; the bias alone is a weight."""
        del input_shape
        self.bias = None
        if self.use_bias:
            self.bias = self.add_weight("bias", [self.units], trainable=False)
        self.built = True

    @property
    def kernel(self) -> tf.Tensor:
        """`[inputs, units]` float32."""
        return self._read()


class StoredEmbedding(_Stored, tf.keras.layers.Embedding):
    """An Embedding layer with a `StoredTable`. It is not trainable.

    Args:
        table: `[input_dim, output_dim]`.
        **kwargs: see `tf.keras.layers.Embedding`.

    Example:
    ```python
    table = StoredTable(embeddings, Storage(int8=True))
    layer = StoredEmbedding(table, input_dim=100, output_dim=8)
    ```
    """

    def __init__(self, table: StoredTable, **kwargs: object) -> None:
        super().__init__(**kwargs)
        self._read, self._gather = table.read, table.gather

    def build(self, input_shape: object = None) -> None:
        """See Keras; there are no weights."""
        del input_shape
        self.built = True

    @property
    def embeddings(self) -> tf.Tensor:
        """`[input_dim, output_dim]` float32."""
        return self._read()

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """See Keras; `[...]` integers to `[..., output_dim]`."""
        return tf.cast(self._gather(inputs), self.compute_dtype)


_STORED = {
    tf.keras.layers.Dense: StoredDense,
    tf.keras.layers.Embedding: StoredEmbedding,
}


def _storage_of(weights: np.ndarray, storage: Storage) -> Storage:
    """The parts of a storage format that make a tensor smaller."""
    # Scales cost more than 8-bit weights save where rows have a single weight,
    # and the bits of a sparse table cost more than few zeros save.
    if weights.ndim != 2 or not weights.size:
        return FLOAT32
    best = FLOAT32
    if storage.int8 and _bytes(weights, Storage(int8=True)) < weights.size * 4:
        best = Storage(int8=True)
    if storage.sparse:
        sparse = Storage(int8=best.int8, sparse=True)
        if _bytes(weights, sparse) < _bytes(weights, best):
            best = sparse
    return best


def model_bytes(network: tf.keras.Model, storage: Storage = FLOAT32) -> int:
    """Number of bytes of the stored weights of a network.

    Args:
        network: built, without pruning wrappers.
        storage: storage format of kernels and embeddings; all other weights
            are float32.

    Returns:
        Bytes of tables, scales, kernels, biases and all other weights.
    """
    total = 0
    for layer in network.layers:
        weights = layer.get_weights()
        total += sum(4 * w.size for w in weights)
        if isinstance(layer, PRUNABLE):
            table = weights[0]
            total += _bytes(table, _storage_of(table, storage)) - 4 * table.size
    return total


def rounded_network(
    network: tf.keras.Model, storage: Storage
) -> tf.keras.Model:
    """Copies a network with its values after storing and loading.

    Args:
        network: built, without pruning wrappers; it does not change.
        storage: storage format of kernels and embeddings.

    Returns:
        A network of the same layers.
    """
    twin = copy(network)
    for layer in twin.layers:
        if isinstance(layer, PRUNABLE):
            table, *others = layer.get_weights()
            kept = _storage_of(table, storage).stored(table)
            layer.set_weights([kept, *others])
    return twin


def stored_network(
    network: tf.keras.Model, storage: Storage
) -> tuple[tf.keras.Model, list[StoredTable]]:
    """Copies a network for a SavedModel.

    Args:
        network: built, without pruning wrappers; it does not change.
        storage: storage format of kernels and embeddings.

    Returns:
        A network with the same inputs and outputs, which is not trainable,
        and its tables. The exported module must keep the tables.

    Example:
    ```python
    small, tables = stored_network(model.network, Storage(int8=True))
    ```
    """
    tables: list[StoredTable] = []
    if storage == FLOAT32:
        return network, tables

    def replace(layer: Layer) -> Layer:
        if isinstance(layer, PRUNABLE):
            weights = layer.get_weights()[0]
            kept = _storage_of(weights, storage)
            if kept != FLOAT32:
                tables.append(StoredTable(weights, kept))
                kind = next(k for k in _STORED if isinstance(layer, k))
                return _STORED[kind](tables[-1], **layer.get_config())
        return fresh(layer)

    twin = tf.keras.models.clone_model(network, clone_function=replace)
    for layer in network.layers:
        mine = twin.get_layer(layer.name)
        is_stored = isinstance(mine, (StoredDense, StoredEmbedding))
        mine.set_weights(layer.get_weights()[1 if is_stored else 0 :])
    return twin, tables


def _bytes(weights: np.ndarray, storage: Storage) -> int:
    return (
        weights.size * 4 if storage == FLOAT32 else storage.model_bytes(weights)
    )
