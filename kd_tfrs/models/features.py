"""From a schema's columns to the integers and floats that towers eat.

Keras preprocessing layers learn vocabularies and moments from training rows;
a table is encoded once, so that a training step gathers rows of numbers and
never touches a string.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
import tensorflow as tf

from kd_tfrs.data.schema import Column, Encoding
from kd_tfrs.errors import UserError

_INTEGERS = (Encoding.ID, Encoding.CATEGORY, Encoding.BUCKETS)
_LISTS = (Encoding.CATEGORIES, Encoding.TEXT)
_RESERVED = 2  # integers of a list: padding and unknown


@dataclasses.dataclass(frozen=True)
class Feature:
    """A column as a tower sees it.

    Args:
        name: name of the column and of the tower's input.
        encoding: how it is encoded.
        vocabulary_size: integers lie in `[0, vocabulary_size)`; 0 for numbers.
            In ids, categories and buckets 0 means unknown (of hashed ones:
            missing); in lists 0 is padding and 1 is unknown.
        length: values of a list; 0 where there is one value.
        layer: the adapted Keras preprocessing layer.
    """

    name: str
    encoding: Encoding
    vocabulary_size: int
    length: int
    layer: tf.keras.layers.Layer = dataclasses.field(repr=False, compare=False)

    def input(self, name: str | None = None) -> tf.Tensor:
        """A symbolic Keras input, `[batch]` or `[batch, length]`.

        Args:
            name: of the input layer; the column's own when `None`.

        Returns:
            A Keras tensor, int32, or float32 for numbers.
        """
        shape = (self.length,) if self.length else ()
        dtype = tf.int32 if self.vocabulary_size else tf.float32
        return tf.keras.Input(shape, dtype=dtype, name=name or self.name)

    def encode(self, values: pd.Series) -> np.ndarray:
        """Encodes raw values of the column.

        Args:
            values: `[n]` raw values, missing ones allowed.

        Returns:
            `[n]` or `[n, length]`; int32, or float32 for numbers.
        """
        if self.encoding in (Encoding.NUMBER, Encoding.BUCKETS):
            return self._encode_numbers(values)
        # Millions of impressions have few values: each is looked up once.
        codes, distinct = pd.factorize(values, use_na_sentinel=False)
        strings = _strings(pd.Series(distinct))
        encoded = self.layer(tf.constant(strings, tf.string))
        if isinstance(encoded, tf.RaggedTensor):
            encoded = encoded.to_tensor(shape=[None, self.length])
        return encoded.numpy().astype(np.int32)[codes]

    def encode_ids(self, ids: np.ndarray) -> np.ndarray:
        """Encodes an array of ids, such as histories.

        Args:
            ids: raw ids of any shape; "" among strings and -1 among numbers
                stand where there is nothing.

        Returns:
            int32 of the same shape, 0 where there is nothing and where the id
            is unknown.

        Example:
        ```python
        history = item_id.encode_ids(examples.history)  # [n, length]
        ```
        """
        flat = ids.reshape(-1)
        nothing = flat == (-1 if flat.dtype.kind in "iuf" else "")
        encoded = np.where(nothing, 0, self.encode(pd.Series(flat)))
        return encoded.reshape(ids.shape).astype(np.int32)

    def _encode_numbers(self, values: pd.Series) -> np.ndarray:
        raw = _numbers(values)
        missing = np.isnan(raw)
        encoded = self.layer(np.where(missing, 0.0, raw)[:, None])[:, 0]
        if self.encoding is Encoding.NUMBER:
            # A missing number counts as the mean.
            return np.where(missing, 0.0, encoded).astype(np.float32)
        return np.where(missing, 0, np.asarray(encoded) + 1).astype(np.int32)


class FeatureSet:
    """The features of one owner, with what they learned from training rows.

    Args:
        features: adapted features, see `FeatureSet.adapt`.

    Example:
    ```python
    features = FeatureSet.adapt(schema.item_features, train_items)
    tables = features.encode(catalogue.items)
    tower = build_tower(features, TowerConfig(embedding_dim=32))
    embeddings = tower(tables)["embedding"]  # [num_items, 32]
    ```
    """

    def __init__(self, features: Sequence[Feature]) -> None:
        self.features = tuple(features)

    def __iter__(self) -> Iterator[Feature]:
        return iter(self.features)

    @classmethod
    def adapt(
        cls, columns: Sequence[Column], table: pd.DataFrame
    ) -> FeatureSet:
        """Learns vocabularies, moments and buckets.

        Args:
            columns: columns of one owner; those that `table` lacks, or where
                it has not one value, are left out (a schema may name a table
                that was not given).
            table: the rows that training events name, and no others.

        Returns:
            The adapted features.

        Raises:
            UserError: no column has a value in `table`.
        """
        present = [c for c in columns if c.name in table.columns]
        adapted = [_adapt(column, table[column.name]) for column in present]
        features = [feature for feature in adapted if feature is not None]
        if not features:
            raise UserError(
                "A tower needs at least one feature. Received: columns "
                f"{[c.name for c in columns]}, none of them with a value in "
                f"the table {list(table.columns)}. Mend the schema."
            )
        return cls(features)

    def encode(
        self, table: pd.DataFrame, unknown_first: bool = False
    ) -> dict[str, np.ndarray]:
        """Encodes a table.

        Args:
            table: rows with the columns of the features.
            unknown_first: put a row 0 in front with nothing known in it.

        Returns:
            Encoded columns by name, each `[num_rows, ...]`.
        """
        encoded = {f.name: f.encode(table[f.name]) for f in self.features}
        if not unknown_first:
            return encoded
        return {
            name: np.concatenate([np.zeros_like(values[:1]), values])
            for name, values in encoded.items()
        }


def _strings(values: pd.Series) -> np.ndarray:
    """`[n]` text of the values, "" where missing; equal ones share memory."""
    codes, distinct = pd.factorize(values, use_na_sentinel=False)
    distinct = pd.Series(distinct)
    strings = distinct.astype(object).where(distinct.notna(), "").astype(str)
    return strings.to_numpy(dtype=object)[codes]


def _numbers(values: pd.Series) -> np.ndarray:
    """Float64, since seconds since 1970 do not fit float32; NaN: missing."""
    raw = pd.to_numeric(values).to_numpy(np.float64, na_value=np.nan)
    return np.where(np.isfinite(raw), raw, np.nan)


def _adapt(column: Column, values: pd.Series) -> Feature | None:
    if column.encoding in (Encoding.NUMBER, Encoding.BUCKETS):
        return _adapt_number(column, values)
    if column.encoding in _LISTS:
        return _adapt_list(column, values)
    return _adapt_category(column, values)


def _adapt_number(column: Column, values: pd.Series) -> Feature | None:
    known = _numbers(values)
    known = known[~np.isnan(known)]
    if not len(known):
        return None
    if column.encoding is Encoding.NUMBER:
        # A constant has no scale of its own: leave its distances as they are.
        variance = known.var() if np.ptp(known) > 0 else 1.0
        layer = tf.keras.layers.Normalization(
            mean=float(known.mean()), variance=float(variance), dtype="float64"
        )
        return Feature(column.name, column.encoding, 0, 0, layer)
    quantiles = np.linspace(0, 1, column.num_buckets + 1)[1:-1]
    edges = np.unique(np.quantile(known, quantiles))
    layer = tf.keras.layers.Discretization(
        bin_boundaries=[float(edge) for edge in edges]
    )
    return Feature(column.name, column.encoding, len(edges) + 2, 0, layer)


def _adapt_category(column: Column, values: pd.Series) -> Feature | None:
    strings = pd.Series(_strings(values))
    if column.hash_buckets is not None:
        return _hashed(column) if (strings != "").any() else None
    # Keras keeps "[UNK]" for itself; in the data it says unknown as well.
    counts = strings[~strings.isin(["", "[UNK]"])].value_counts()
    if counts.empty:
        return None
    # Ids are never cut: an id without an embedding is nobody.
    limit = None if column.encoding is Encoding.ID else column.max_tokens
    layer = tf.keras.layers.StringLookup(
        vocabulary=sorted(counts.index[:limit])
    )
    return Feature(
        column.name, column.encoding, layer.vocabulary_size(), 0, layer
    )


def _hashed(column: Column) -> Feature:
    # FarmHash64 of the text: the same on every machine and in every process.
    # Bucket 0 is kept for what is missing.
    layer = tf.keras.layers.Hashing(column.hash_buckets + 1, mask_value="")
    return Feature(column.name, column.encoding, layer.num_bins, 0, layer)


def _adapt_list(column: Column, values: pd.Series) -> Feature | None:
    if column.encoding is Encoding.TEXT:
        layer = tf.keras.layers.TextVectorization(
            max_tokens=column.max_tokens + _RESERVED,
            output_sequence_length=column.max_length,
        )
    else:
        layer = _SplitLookup(column.separator, column.max_tokens)
    layer.adapt(tf.constant(_strings(values)))
    if layer.vocabulary_size() <= _RESERVED:
        return None
    return Feature(
        column.name,
        column.encoding,
        layer.vocabulary_size(),
        column.max_length,
        layer,
    )


@tf.keras.utils.register_keras_serializable("kd_tfrs")
class _SplitLookup(tf.keras.layers.Layer):
    """Splits strings at a separator and looks the parts up; 0 is padding."""

    def __init__(self, separator: str, max_tokens: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.separator = separator
        self.max_tokens = max_tokens
        self.lookup = tf.keras.layers.StringLookup(
            max_tokens=max_tokens + _RESERVED, mask_token=""
        )

    def adapt(self, values: tf.Tensor) -> None:
        parts = self._split(values).flat_values
        if tf.size(parts):
            self.lookup.adapt(parts)

    def vocabulary_size(self) -> int:
        return self.lookup.vocabulary_size()

    def call(self, values: tf.Tensor) -> tf.RaggedTensor:
        return self.lookup(self._split(values))

    def get_config(self) -> dict:
        return {
            **super().get_config(),
            "separator": self.separator,
            "max_tokens": self.max_tokens,
        }

    def _split(self, values: tf.Tensor) -> tf.RaggedTensor:
        parts = tf.strings.strip(tf.strings.split(values, self.separator))
        return tf.ragged.boolean_mask(parts, parts != "")
