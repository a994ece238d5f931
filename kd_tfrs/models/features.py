"""Encodes columns of a schema as the integers and floats of model inputs.

Keras preprocessing layers learn vocabularies and moments from training rows. A
table is encoded once, so that a training step gathers rows of numbers and does
not process strings.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
import tensorflow as tf

from kd_tfrs.config_mixin import ConfigMixin
from kd_tfrs.data.schema import Column, Encoding
from kd_tfrs.errors import UserError

_INTEGERS = (Encoding.ID, Encoding.CATEGORY, Encoding.BUCKETS)
_LISTS = (Encoding.CATEGORIES, Encoding.TEXT)
_RESERVED = 2  # integers of a list: padding and unknown


@dataclasses.dataclass(frozen=True)
class Feature:
    """A column, with its encoding as a model input.

    Args:
        name: name of the column and of the model input.
        encoding: encoding of the column.
        vocabulary_size: integers lie in `[0, vocabulary_size)`; 0 for numbers.
            In ids, categories and buckets, 0 is unknown (missing if hashed);
            in lists, 0 is padding and 1 is unknown.
        length: length of a list; 0 for single values.
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
            name: name of the input layer; that of the column when `None`.

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
        # Many rows share few distinct values: look each value up once.
        codes, distinct = pd.factorize(values, use_na_sentinel=False)
        strings = _strings(pd.Series(distinct))
        encoded = self.layer(tf.constant(strings, tf.string))
        if isinstance(encoded, tf.RaggedTensor):
            encoded = encoded.to_tensor(shape=[None, self.length])
        return encoded.numpy().astype(np.int32)[codes]

    def encode_ids(self, ids: np.ndarray) -> np.ndarray:
        """Encodes an array of ids, such as histories.

        Args:
            ids: raw ids of any shape, padded with "" (strings) or -1
                (numbers).

        Returns:
            int32 of the same shape, 0 for padding and unknown ids.

        Example:
        ```python
        history = item_id.encode_ids(examples.history)  # [n, length]
        ```
        """
        flat = ids.reshape(-1)
        padding = flat == (-1 if flat.dtype.kind in "iuf" else "")
        encoded = np.where(padding, 0, self.encode(pd.Series(flat)))
        return encoded.reshape(ids.shape).astype(np.int32)

    def _encode_numbers(self, values: pd.Series) -> np.ndarray:
        raw = _numbers(values)
        missing = np.isnan(raw)
        encoded = self.layer(np.where(missing, 0.0, raw)[:, None])[:, 0]
        if self.encoding is Encoding.NUMBER:
            # A missing number is replaced by the mean.
            return np.where(missing, 0.0, encoded).astype(np.float32)
        return np.where(missing, 0, np.asarray(encoded) + 1).astype(np.int32)


class FeatureSet:
    """The features of one owner, adapted to the training rows.

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

    def __repr__(self) -> str:
        return f"FeatureSet({', '.join(f.name for f in self.features)})"

    def __iter__(self) -> Iterator[Feature]:
        return iter(self.features)

    @classmethod
    def adapt(
        cls, columns: Sequence[Column], table: pd.DataFrame
    ) -> FeatureSet:
        """Learns vocabularies, moments and buckets.

        Args:
            columns: columns of one owner. Columns that are missing in
                `table`, or have no value, are dropped (a schema may describe
                a table that is not given).
            table: the rows of users or items with training events.

        Returns:
            The adapted features.

        Raises:
            UserError: when no column has a value in `table`.
        """
        present = [c for c in columns if c.name in table.columns]
        adapted = [_adapt(column, table[column.name]) for column in present]
        features = [feature for feature in adapted if feature is not None]
        if not features:
            raise UserError(
                "A tower needs at least one feature. Received: columns "
                f"{[c.name for c in columns]}, none of them with a value in "
                f"the table {list(table.columns)}. Correct the schema."
            )
        return cls(features)

    def encode(
        self, table: pd.DataFrame, unknown_first: bool = False
    ) -> dict[str, np.ndarray]:
        """Encodes a table.

        Args:
            table: rows with the columns of the features.
            unknown_first: whether to insert a row 0 with unknown values.

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
    """`[n]` strings, "" where missing; equal values share memory."""
    codes, distinct = pd.factorize(values, use_na_sentinel=False)
    distinct = pd.Series(distinct)
    strings = distinct.astype(object).where(distinct.notna(), "").astype(str)
    return strings.to_numpy(dtype=object)[codes]


def _numbers(values: pd.Series) -> np.ndarray:
    """Float64, since float32 is too small for epoch times; NaN if missing."""
    raw = pd.to_numeric(values).to_numpy(np.float64, na_value=np.nan)
    return np.where(np.isfinite(raw), raw, np.nan)


def _adapt(column: Column, values: pd.Series) -> Feature | None:
    if column.encoding in (Encoding.NUMBER, Encoding.BUCKETS):
        return _adapt_number(column, values)
    if column.encoding in _LISTS:
        return _adapt_list(column, values)
    return _adapt_category(column, values)


def _adapt_number(column: Column, values: pd.Series) -> Feature | None:
    present = _numbers(values)
    present = present[~np.isnan(present)]
    if not len(present):
        return None
    if column.encoding is Encoding.NUMBER:
        # The variance of a constant is 0: do not scale its differences.
        variance = present.var() if np.ptp(present) > 0 else 1.0
        layer = tf.keras.layers.Normalization(
            mean=float(present.mean()),
            variance=float(variance),
            dtype="float64",
        )
        return Feature(column.name, column.encoding, 0, 0, layer)
    quantiles = np.linspace(0, 1, column.num_buckets + 1)[1:-1]
    edges = np.unique(np.quantile(present, quantiles))
    layer = tf.keras.layers.Discretization(
        bin_boundaries=[float(edge) for edge in edges]
    )
    return Feature(column.name, column.encoding, len(edges) + 2, 0, layer)


def _adapt_category(column: Column, values: pd.Series) -> Feature | None:
    strings = pd.Series(_strings(values))
    if column.hash_buckets is not None:
        if not (strings != "").any():
            return None
        # FarmHash64 of the text: the same on every machine and in every
        # process. Bucket 0 is reserved for missing values.
        layer = tf.keras.layers.Hashing(column.hash_buckets + 1, mask_value="")
        return Feature(column.name, column.encoding, layer.num_bins, 0, layer)
    # Keras reserves "[UNK]", so in the data it is unknown as well.
    counts = strings[~strings.isin(["", "[UNK]"])].value_counts()
    if counts.empty:
        return None
    # Ids are never cut: every training id has its own embedding.
    limit = None if column.encoding is Encoding.ID else column.max_tokens
    layer = tf.keras.layers.StringLookup(
        vocabulary=sorted(counts.index[:limit])
    )
    return Feature(
        column.name, column.encoding, layer.vocabulary_size(), 0, layer
    )


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
class _SplitLookup(ConfigMixin, tf.keras.layers.Layer):
    """Splits strings and looks the parts up; 0 is padding."""

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

    def _split(self, values: tf.Tensor) -> tf.RaggedTensor:
        parts = tf.strings.strip(tf.strings.split(values, self.separator))
        return tf.ragged.boolean_mask(parts, parts != "")
