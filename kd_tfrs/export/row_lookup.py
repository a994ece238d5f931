"""Lookup of rows by raw ids, inside a SavedModel."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from kd_tfrs.export.stored_table import SharedResource, shared_name


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
        name = shared_name(f"rows_from_{first}", [ids.numpy()])
        self._table = SharedResource(
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
