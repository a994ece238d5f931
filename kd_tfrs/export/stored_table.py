"""Tables that are small on disk and float32 in memory, and their row ids."""

from __future__ import annotations

import collections
import dataclasses
import hashlib
import sys
from collections.abc import Callable, Iterable

import numpy as np
import tensorflow as tf

from kd_tfrs.compression import quantized_rows

_BITS_PER_BYTE = 8
_made: collections.Counter[str] = collections.Counter()


@dataclasses.dataclass(frozen=True)
class Storage:
    """Storage format of the weights of a table.

    Args:
        int8: whether weights are 8-bit integers with a float32 scale for each
            row, see `quantized_rows`; float32 otherwise.
        sparse: whether only non-zero weights are stored, with one bit for
            each weight that marks them.

    Example:
    >>> Storage(int8=True).model_bytes(np.ones((10, 20), np.float32))
    240
    """

    int8: bool = False
    sparse: bool = False

    def pack(self, table: np.ndarray) -> dict[str, np.ndarray]:
        """Converts a table to the stored arrays.

        Args:
            table: `[rows, dim]` finite numbers.

        Returns:
            `values` (`[rows, dim]`, or `[non-zero]` where sparse); `scale`
            (`[rows]`) where int8; `present` (packed bits of the flattened
            table, `[ceil(rows * dim / 8)]` uint8) where sparse.
        """
        table = np.asarray(table, np.float32)
        packed = {"values": table}
        if self.int8:
            packed["values"], packed["scale"] = quantized_rows(table)
        if self.sparse:
            present = packed["values"].ravel() != 0
            packed["values"] = packed["values"].ravel()[present]
            packed["present"] = np.packbits(present)
        return packed

    def model_bytes(self, table: np.ndarray) -> int:
        """Number of bytes of a stored table.

        Args:
            table: `[rows, dim]` finite numbers.

        Returns:
            Bytes of all arrays of `pack`.
        """
        return sum(array.nbytes for array in self.pack(table).values())

    def stored(self, table: np.ndarray) -> np.ndarray:
        """The table after storing and loading.

        Args:
            table: `[rows, dim]` finite numbers.

        Returns:
            `[rows, dim]` float32; rounded where int8.
        """
        if not self.int8:
            return np.asarray(table, np.float32)
        rows, scale = quantized_rows(np.asarray(table, np.float32))
        return rows.astype(np.float32) * scale[:, np.newaxis]


FLOAT32 = Storage()


class _SharedResource(tf.saved_model.experimental.TrackableResource):
    """A resource that is created and filled when a SavedModel is loaded."""

    def __init__(
        self,
        create: Callable[[], tf.Tensor],
        fill: Callable[[tf.Tensor], None],
    ) -> None:
        super().__init__()
        self._create, self._fill = create, fill
        self._initialize()

    def _create_resource(self) -> tf.Tensor:
        return self._create()

    def _initialize(self) -> None:
        self._fill(self.resource_handle)

    def _destroy_resource(self) -> None:
        # TensorFlow may be unloaded when Python exits.
        if not sys.is_finalizing():
            tf.raw_ops.DestroyResourceOp(
                resource=self.resource_handle, ignore_lookup_error=True
            )


class StoredTable(tf.Module):
    """A float32 table in memory that a SavedModel stores in a smaller format.

    The packed arrays are variables of the SavedModel. The float table is
    computed from them once, when the model is loaded, so that a request has
    the cost of a float table.

    Args:
        table: `[rows, dim]` finite numbers.
        storage: storage format of the numbers.

    Example:
    ```python
    table = StoredTable(embeddings, Storage(int8=True))
    table.gather(tf.constant([0, 2]))  # [2, dim]
    ```
    """

    def __init__(self, table: np.ndarray, storage: Storage) -> None:
        super().__init__(name="table")
        packed = storage.pack(table)
        self._shape = table.shape
        name = _shared_name("table", packed.values())
        if not packed["values"].size:
            # All weights are zero; the gather needs at least one value.
            packed["values"] = np.zeros(1, packed["values"].dtype)
        self._packed = {
            key: tf.Variable(array, trainable=False, name=key)
            for key, array in packed.items()
        }
        self._resource = _SharedResource(
            lambda: tf.raw_ops.VarHandleOp(
                dtype=tf.float32, shape=self._shape, shared_name=name
            ),
            lambda handle: tf.raw_ops.AssignVariableOp(
                resource=handle, value=self._unpacked()
            ),
        )

    def read(self) -> tf.Tensor:
        """The whole table, `[rows, dim]` float32."""
        table = tf.raw_ops.ReadVariableOp(
            resource=self._resource.resource_handle, dtype=tf.float32
        )
        return tf.ensure_shape(table, self._shape)

    def gather(self, rows: tf.Tensor) -> tf.Tensor:
        """Gathers rows.

        Args:
            rows: `[...]` int32 or int64.

        Returns:
            `[..., dim]` float32.
        """
        gathered = tf.raw_ops.ResourceGather(
            resource=self._resource.resource_handle,
            indices=rows,
            dtype=tf.float32,
        )
        return tf.ensure_shape(gathered, [*rows.shape, self._shape[1]])

    def _unpacked(self) -> tf.Tensor:
        values = tf.cast(self._packed["values"], tf.float32)
        if "present" in self._packed:
            values = self._spread(values)
        table = tf.reshape(values, self._shape)
        if "scale" in self._packed:
            table *= self._packed["scale"][:, tf.newaxis]
        return table

    def _spread(self, values: tf.Tensor) -> tf.Tensor:
        """Puts the values where the bits are set, and zeros elsewhere."""
        shifts = tf.range(_BITS_PER_BYTE - 1, -1, -1)
        bits = tf.bitwise.right_shift(
            tf.cast(self._packed["present"], tf.int32)[:, tf.newaxis], shifts
        )
        size = int(np.prod(self._shape))
        present = tf.reshape(tf.bitwise.bitwise_and(bits, 1), [-1])[:size]
        places = tf.maximum(tf.cumsum(present) - 1, 0)
        return tf.gather(values, places) * tf.cast(present, tf.float32)


class RowLookup(tf.Module):
    """A hash table from ids to consecutive rows.

    `tf.lookup.StaticHashTable` keeps keys and values as constants of the
    graph. Here the keys are a variable of the SavedModel and the rows are
    computed when it is loaded, so that the graph stays small.

    Args:
        ids: `[n]` distinct ids, int64 or strings.
        first: row of the first id.
        missing: row of any other id.

    Example:
    >>> rows = RowLookup(tf.Variable(["a", "b"]), first=1, missing=0)
    >>> rows.lookup(tf.constant(["b", "z"])).numpy().tolist()
    [2, 0]
    """

    def __init__(self, ids: tf.Variable, first: int, missing: int) -> None:
        super().__init__(name="rows")
        self._ids, self._first, self._missing = ids, first, missing
        name = _shared_name(f"rows_from_{first}", [ids.numpy()])
        self._table = _SharedResource(
            lambda: tf.raw_ops.HashTableV2(
                key_dtype=ids.dtype, value_dtype=tf.int32, shared_name=name
            ),
            self._fill,
        )

    def lookup(self, ids: tf.Tensor) -> tf.Tensor:
        """Looks up the rows of ids.

        Args:
            ids: of any shape.

        Returns:
            int32 of the same shape.
        """
        rows = tf.raw_ops.LookupTableFindV2(
            table_handle=self._table.resource_handle,
            keys=ids,
            default_value=tf.constant(self._missing, tf.int32),
        )
        return tf.ensure_shape(rows, ids.shape)

    def _fill(self, handle: tf.Tensor) -> None:
        ids = self._ids.read_value()
        tf.raw_ops.LookupTableImportV2(
            table_handle=handle,
            keys=ids,
            values=self._first + tf.range(tf.size(ids)),
        )


def id_tensor(ids: np.ndarray) -> tf.Tensor:
    """Converts raw ids to a tensor.

    Args:
        ids: `[n]` integers or text.

    Returns:
        `[n]` int64 or strings.
    """
    if np.issubdtype(ids.dtype, np.integer):
        return tf.constant(ids, tf.int64)
    return tf.constant(ids.astype(object))


def _shared_name(kind: str, arrays: Iterable[np.ndarray]) -> str:
    """A unique name for a resource; the same content has the same name."""
    # The same model gives the same bytes in every process.
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(str((array.shape, array.dtype)).encode())
        plain = array.dtype != object
        digest.update(
            np.ascontiguousarray(array) if plain else b"\0".join(array.flat)
        )
    name = f"{kind}_{digest.hexdigest()[:16]}"
    _made[name] += 1
    return name if _made[name] == 1 else f"{name}_{_made[name]}"
