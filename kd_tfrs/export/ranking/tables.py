"""Tables of items and users in a served ranker, so that clients send ids.

`ServingTables` are raw columns; `GraphTables` look their codes up in the graph.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np
import pandas as pd
import tensorflow as tf

from kd_tfrs.data.interactions import Interactions
from kd_tfrs.data.ranking.derived import DERIVED
from kd_tfrs.data.ranking.event_history import EventHistory
from kd_tfrs.data.ranking.examples import Examples
from kd_tfrs.data.ranking.joining import compact
from kd_tfrs.data.schema import Column, Encoding, Owner
from kd_tfrs.errors import UserError
from kd_tfrs.export.ranking.inputs import (
    HISTORY,
    RankingInputs,
    is_nothing,
    missing_value,
)
from kd_tfrs.export.signature_functions import input_key, input_keys
from kd_tfrs.export.stored_table import RowLookup, id_tensor

Outputs = dict[str, tf.Tensor]


@dataclasses.dataclass(frozen=True, eq=False)
class ServingTables:
    """Raw columns by id, at the time of the export.

    Args:
        items: one row for each item with its id and its features. Rows are
            kept in ascending order of the ids, which breaks ties.
        item_id: name of the column of item ids.
        users: one row for each user with its id and its features, or `None`
            where every request contains the features of its user.
        user_id: name of the column of user ids; `None` without users.
        histories: `[users, length]` item ids of the users' events, newest
            first, padded with "" or -1, by row of `users`; or `None`.

    Raises:
        UserError: an id is missing or repeated, or rows do not fit.

    Example:
    ```python
    tables = ServingTables.of(interactions, split.train, examples.train)
    ```
    """

    items: pd.DataFrame
    item_id: str
    users: pd.DataFrame | None = None
    user_id: str | None = None
    histories: np.ndarray | None = None

    def __post_init__(self) -> None:
        _check_ids(self.items, self.item_id, "items")
        ordered = self.items.sort_values(self.item_id, ignore_index=True)
        object.__setattr__(self, "items", ordered)
        rows = 0
        if self.users is not None:
            _check_ids(self.users, self.user_id, "users")
            rows = len(self.users)
        if self.histories is not None and len(self.histories) != rows:
            raise UserError(
                "`histories` should have one row for each user. Received: "
                f"{len(self.histories)} for {rows} users."
            )

    @classmethod
    def of(
        cls,
        interactions: Interactions,
        events: pd.DataFrame,
        examples: Examples,
        *,
        history_task: str | None = None,
        liked_from: float = 4.0,
    ) -> ServingTables:
        """Creates tables of all items and users, with derived columns.

        Derived columns and histories have their values after the last event.

        Args:
            interactions: the tables of users and items, and the schema.
            events: events for derived columns and histories, usually the
                training events.
            examples: examples with the columns and the length of the history.
            history_task: see `build_examples`.
            liked_from: see `build_examples`.

        Returns:
            The tables.
        """
        record = None
        if interactions.schema.time is not None:
            record = EventHistory.of(
                interactions, events, history_task, liked_from
            )
        schema, users = interactions.schema, interactions.users
        histories = None
        if examples.history is not None:
            histories = record.history(
                users[schema.user_id],
                np.full(len(users), np.inf),
                examples.history.shape[1],
            )
        return cls(
            _table(interactions, examples.served_columns, record, Owner.ITEM),
            schema.item_id,
            _table(interactions, examples.served_columns, record, Owner.USER),
            schema.user_id,
            histories,
        )


class GraphTables(tf.Module):
    """Encoded features by row, and the rows of raw ids.

    Args:
        inputs: the inputs of the network.
        tables: raw columns by id.

    Attributes:
        item_rows: lookup from raw ids to rows of the items' table, -1 for an
            unknown id.
    """

    def __init__(self, inputs: RankingInputs, tables: ServingTables) -> None:
        super().__init__(name="tables")
        self._inputs = inputs
        items = tables.items
        ids = id_tensor(items[tables.item_id].to_numpy())
        self.item_ids = tf.Variable(ids, trainable=False, name="item_ids")
        self.item_rows = RowLookup(self.item_ids, 0, missing=-1)
        self._no_item = missing_value(self.item_ids.dtype)
        self.users: dict[str, tf.Variable] = {}
        self.user_rows, self._user_dtype = None, None
        if inputs.user_id is not None:
            self._user_dtype = inputs.user_id.dtype
        if tables.users is not None:
            self._add_users(tables)

    def _add_users(self, tables: ServingTables) -> None:
        ids = id_tensor(tables.users[tables.user_id].to_numpy())
        self._user_dtype = ids.dtype
        self.user_ids = tf.Variable(ids, trainable=False, name="user_ids")
        self.user_rows = RowLookup(self.user_ids, 1, missing=0)
        for column in self._inputs.owned(Owner.USER):
            if column.name in tables.users:
                encoded = column.feature.encode(tables.users[column.name])
                self.users[column.name] = _user_table(encoded, column.name)
        if self._inputs.history is not None and tables.histories is not None:
            encoded = self._inputs.encode_histories(tables.histories)
            self.users[HISTORY] = _user_table(encoded, HISTORY)

    def specs(self, columns: Mapping[str, tf.TensorSpec]) -> dict:
        """Inputs of the signature `rank` by column name."""
        own = {
            "item_id": tf.TensorSpec([None], self.item_ids.dtype),
            "k": tf.TensorSpec([], tf.int32),
        }
        if self._user_dtype is not None:
            own["user_id"] = tf.TensorSpec([], self._user_dtype)
        if HISTORY in columns:
            own[HISTORY] = tf.TensorSpec([None], columns[HISTORY].dtype)
        sent = [c.name for c in self._inputs.owned(Owner.USER, Owner.EVENT)]
        keys = input_keys(sent, taken=own)
        context = {
            name: tf.TensorSpec([], columns[name].dtype, keys[name])
            for name in sent
        }
        return {**own, **context}

    def user(self, sent: Outputs) -> Outputs:
        """The encoded inputs that all candidates share, each `[1, ...]`."""
        user_row = tf.zeros([1], tf.int32)
        if self.user_rows is not None:
            user_row = self.user_rows.lookup(sent["user_id"][None])
        shared = {}
        if self._inputs.user_id is not None:
            user_id = self._inputs.user_id
            shared[user_id.name] = user_id.encode(sent["user_id"][None])
        for column in self._inputs.owned(Owner.USER, Owner.EVENT):
            value = sent[column.name][None]
            shared[column.name] = self._or_table(
                column.name,
                user_row,
                column.encode(value),
                column.is_missing(value),
            )
        if self._inputs.history is not None:
            ids = sent[HISTORY][None]
            encoded = self._inputs.history.encode_history(
                ids, self._inputs.history_length
            )
            shared[HISTORY] = self._or_table(
                HISTORY, user_row, encoded, tf.reduce_all(is_nothing(ids), 1)
            )
        return shared

    def _or_table(
        self,
        name: str,
        user_row: tf.Tensor,
        encoded: tf.Tensor,
        missing: tf.Tensor,
    ) -> tf.Tensor:
        """The sent value, or the table's if it is missing; all `[1, ...]`."""
        if name not in self.users:
            return encoded
        stored = tf.gather(self.users[name], user_row)
        return tf.where(missing[0], stored, encoded)

    def best(self, rows: tf.Tensor, scores: tf.Tensor, k: tf.Tensor) -> Outputs:
        """The first `k`, unknown items last and without an id."""
        scores = tf.where(rows >= 0, scores, -np.inf)
        count = tf.shape(rows)[0]
        values, places = tf.math.top_k(scores, tf.minimum(k, count))
        rows = tf.gather(rows, places)
        ids = tf.gather(self.item_ids, tf.maximum(rows, 0))
        ids = tf.where(rows >= 0, ids, self._no_item)
        short = [[0, tf.maximum(k - count, 0)]]
        return {
            "item_id": tf.pad(ids, short, constant_values=self._no_item),
            "score": tf.pad(values, short, constant_values=-np.inf),
        }


def encode_items(
    inputs: RankingInputs, items: pd.DataFrame
) -> dict[str, np.ndarray]:
    """Encodes the features of items.

    Args:
        inputs: the inputs of the network.
        items: `[num_items]` rows of raw columns.

    Returns:
        `[num_items, ...]` by name.

    Raises:
        UserError: the table lacks a feature of items.
    """
    columns = [c for c in inputs.columns if c.owner is Owner.ITEM]
    for column in columns:
        if column.name not in items.columns:
            raise UserError(
                "The table of items should have every feature of items that "
                f"the network looks at. Received: no {column.name!r} among "
                f"{list(items.columns)}."
            )
    return {c.name: c.feature.encode(items[c.name]) for c in columns}


def _user_table(encoded: np.ndarray, name: str) -> tf.Variable:
    """Rows of the users, behind a row of zeros for unknown ones."""
    rows = np.concatenate([np.zeros_like(encoded[:1]), encoded])
    # A variable, since constants are stored in the graph itself.
    return tf.Variable(rows, trainable=False, name=input_key(name))


def _table(
    interactions: Interactions,
    columns: tuple[Column, ...],
    record: EventHistory | None,
    owner: Owner,
) -> pd.DataFrame:
    is_item = owner is Owner.ITEM
    table = interactions.items if is_item else interactions.users
    schema = interactions.schema
    key = schema.item_id if is_item else schema.user_id
    columns_by_name = {key: table[key].to_numpy()}
    own = {column.name for column in schema.columns}
    derived = {}
    if record is not None:
        end = np.full(len(table), np.inf)
        derived = record.so_far(owner.value, table[key], end)
    for column in columns:
        if column.owner is not owner or column.encoding is Encoding.ID:
            continue
        if column.name in DERIVED and column.name not in own:
            columns_by_name[column.name] = derived[column.name]
        else:
            columns_by_name[column.name] = compact(table[column.name])
    return pd.DataFrame(columns_by_name)


def _check_ids(table: pd.DataFrame, key: str | None, name: str) -> None:
    if key not in table.columns:
        raise UserError(
            f"`{name}` should have the column of its ids. Received: {key!r} "
            f"and the columns {list(table.columns)}."
        )
    if not len(table) or table[key].isna().any() or not table[key].is_unique:
        raise UserError(
            f"`{name}` should have one row for each id. Received: "
            f"{len(table)} rows with {table[key].nunique()} ids. Drop the "
            "duplicates."
        )
