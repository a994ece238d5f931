"""Raw columns of a request, encoded in the graph as in training."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd
import tensorflow as tf

from kd_tfrs.data.ranking.examples import Examples
from kd_tfrs.data.schema import Encoding, Owner
from kd_tfrs.errors import UserError
from kd_tfrs.models.features import Feature, FeatureSet
from kd_tfrs.models.ranking import RankingModel

HISTORY = "history"
_BLOCK = 4096
Arrays = dict[str, np.ndarray]
_NUMBERS = (Encoding.NUMBER, Encoding.BUCKETS)


@dataclasses.dataclass(frozen=True)
class RawColumn:
    """A column as a client sends it.

    Args:
        feature: the adapted feature, which encodes the column.
        owner: owner of the column.
        dtype: `int64` for categories and ids that are integers in the data,
            `float64` for numbers and buckets (seconds since 1970 do not fit
            float32), and strings otherwise, as `str` formats the value.
    """

    feature: Feature
    owner: Owner
    dtype: tf.DType

    @classmethod
    def of(cls, feature: Feature, owner: Owner, values: pd.Series) -> RawColumn:
        """Infers the type from the data."""
        dtype = _raw_dtype(values)
        if feature.encoding in _NUMBERS:
            dtype = tf.float64
        return cls(feature, owner, dtype)

    @property
    def name(self) -> str:
        """Name of the column."""
        return self.feature.name

    @property
    def is_id(self) -> bool:
        """Whether it is the id of the user or the item."""
        return self.feature.encoding is Encoding.ID

    def is_missing(self, values: tf.Tensor) -> tf.Tensor:
        """Marks missing values.

        Args:
            values: of any shape, of `dtype`.

        Returns:
            Booleans of the same shape.
        """
        if self.dtype == tf.float64:
            return tf.logical_not(tf.math.is_finite(values))
        return values == missing_value(self.dtype)

    def encode(self, values: tf.Tensor) -> tf.Tensor:
        """Encodes values in the graph, with the results of `Feature.encode`.

        Args:
            values: `[n]` of `dtype`; `missing_value` where a value is missing.

        Returns:
            `[n]` or `[n, length]`, int32, or float32 for numbers.
        """
        missing = self.is_missing(values)
        if self.dtype == tf.float64:
            return self._encode_numbers(values, missing)
        if self.dtype == tf.int64:
            values = tf.strings.as_string(values)
        encoded = self.feature.layer(tf.where(missing, "", values))
        if isinstance(encoded, tf.RaggedTensor):
            encoded = encoded.to_tensor(shape=[None, self.feature.length])
        return tf.cast(encoded, tf.int32)

    def encode_history(self, ids: tf.Tensor, length: int) -> tf.Tensor:
        """Encodes histories in the graph, cut or padded to a length.

        Args:
            ids: `[n, h]` raw ids, newest first, padded with the missing value,
                or with -1 for integers.
            length: length of the network's history.

        Returns:
            `[n, length]` int32, 0 for padding.
        """
        ids = ids[:, :length]
        flat = tf.reshape(ids, [-1])
        nothing = is_nothing(flat)
        encoded = tf.where(nothing, 0, self.encode(flat))
        rows = tf.reshape(encoded, tf.shape(ids))
        short = [[0, 0], [0, length - tf.shape(ids)[1]]]
        return tf.ensure_shape(tf.pad(rows, short), [None, length])

    def _encode_numbers(
        self, values: tf.Tensor, missing: tf.Tensor
    ) -> tf.Tensor:
        filled = tf.where(missing, tf.zeros_like(values), values)
        encoded = self.feature.layer(filled[:, None])[:, 0]
        if self.feature.encoding is Encoding.NUMBER:
            return tf.where(missing, 0.0, tf.cast(encoded, tf.float32))
        return tf.where(missing, 0, tf.cast(encoded, tf.int32) + 1)


@dataclasses.dataclass(frozen=True)
class RankingInputs:
    """The inputs of a ranker, as clients send them.

    Args:
        columns: the network's features.
        history: the column of item ids where the network has a history of
            items, else `None`.
        history_length: length of the network's history, 0 without a history.

    Example:
    ```python
    inputs = RankingInputs.of(student, features, examples)
    module = RankingModule(student, inputs, tables)
    ```
    """

    columns: tuple[RawColumn, ...]
    history: RawColumn | None = None
    history_length: int = 0

    @classmethod
    def of(
        cls, model: RankingModel, features: FeatureSet, examples: Examples
    ) -> RankingInputs:
        """Infers owners and types from examples.

        Args:
            model: the model; clients send the inputs of its network.
            features: the adapted features of the network.
            examples: any number of rows with the columns.

        Returns:
            The inputs.

        Raises:
            UserError: a feature of the network is not a column of the
                examples, or is available in training only.
        """
        owners = {column.name: column for column in examples.columns}
        named = {feature.name: feature for feature in features}
        names = [name for name in model.feature_names if name != HISTORY]
        for name in names:
            column = owners.get(name)
            if name not in named or column is None or column.training_only:
                raise UserError(
                    "A served network should use features that are "
                    f"available when serving. Received: {name!r}; there are "
                    f"{[c.name for c in examples.served_columns]}. Build it "
                    "from `examples.served_columns`."
                )
        columns = tuple(
            RawColumn.of(named[name], owners[name].owner, examples.table[name])
            for name in names
        )
        if HISTORY not in model.feature_names:
            return cls(columns)
        item = next(
            (c for c in columns if c.is_id and c.owner is Owner.ITEM), None
        )
        if item is None:
            raise UserError(
                "A history should contain ids of a feature of the network. "
                f"Received: {names}. Keep the item's id among the features."
            )
        return cls(columns, item, int(model.network.input[HISTORY].shape[1]))

    def owned(self, *owners: Owner) -> tuple[RawColumn, ...]:
        """The columns of some owners, without ids.

        Args:
            *owners: owners of the columns.

        Returns:
            Columns in the order of `columns`.
        """
        return tuple(
            c for c in self.columns if c.owner in owners and not c.is_id
        )

    @property
    def user_id(self) -> RawColumn | None:
        """The user's id, where it is a feature."""
        return next(
            (c for c in self.columns if c.is_id and c.owner is Owner.USER), None
        )

    def encode(self, table: pd.DataFrame, history: np.ndarray | None) -> dict:
        """Encodes raw rows outside the graph, as in training.

        Args:
            table: `[n]` rows with the columns.
            history: `[n, h]` raw ids, newest first, or `None` without a
                history.

        Returns:
            The network's inputs by name.
        """
        encoded = FeatureSet([c.feature for c in self.columns]).encode(table)
        if self.history is None:
            return encoded
        return {**encoded, HISTORY: self.encode_histories(history)}

    def encode_histories(self, ids: np.ndarray) -> np.ndarray:
        """Encodes histories outside the graph, cut or padded.

        Args:
            ids: `[n, h]` raw ids, newest first.

        Returns:
            `[n, history_length]` int32.
        """
        ids = ids[:, : self.history_length]
        encoded = self.history.feature.encode_ids(ids)
        short = ((0, 0), (0, self.history_length - ids.shape[1]))
        return np.pad(encoded, short)


def _raw_dtype(values: pd.Series) -> tf.DType:
    """`tf.int64` for a column of integers, `tf.string` otherwise."""
    dtype = values.dtype
    if isinstance(dtype, pd.CategoricalDtype):
        dtype = dtype.categories.dtype
    is_integer = pd.api.types.is_integer_dtype(dtype)
    return tf.int64 if is_integer else tf.string


def in_blocks(
    run: Callable[[Arrays], Mapping[str, Any]], inputs: Arrays, count: int
) -> Arrays:
    """Runs a ranker on blocks of rows.

    Args:
        run: from inputs to outputs by name, of some rows.
        inputs: `[count, ...]` by name.
        count: number of rows.

    Returns:
        `[count, ...]` outputs by name.
    """
    blocks = [
        run({name: x[i : i + _BLOCK] for name, x in inputs.items()})
        for i in range(0, max(1, count), _BLOCK)
    ]
    return {
        name: np.concatenate([np.asarray(block[name]) for block in blocks])
        for name in blocks[0]
    }


def missing_value(dtype: tf.DType) -> str | int | float:
    """The value that stands for a missing value in a request.

    Args:
        dtype: type of the input.

    Returns:
        "" for strings, the smallest int64 for integers, NaN for floats.

    Example:
    >>> missing_value(tf.string)
    ''
    """
    if dtype == tf.string:
        return ""
    return dtype.min if dtype.is_integer else float("nan")


def is_nothing(ids: tf.Tensor) -> tf.Tensor:
    """Marks padding in a history."""
    nothing = ids == missing_value(ids.dtype)
    if ids.dtype == tf.string:
        return nothing
    # `Examples` pads histories of integers with -1.
    return tf.logical_or(nothing, ids == -1)
