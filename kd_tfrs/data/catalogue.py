"""Integer rows of users and items, which batches consist of."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd

from kd_tfrs.data.interactions import Interactions
from kd_tfrs.errors import UserError

UNKNOWN_USER_ROW = 0


def _sorted_table(table: pd.DataFrame, key: str) -> pd.DataFrame:
    """Sorts the rows of `table` by ascending id."""
    unique = table.drop_duplicates(key)
    return unique.sort_values(key, ignore_index=True)


def _training_table(
    table: pd.DataFrame, key: str, train: pd.DataFrame
) -> pd.DataFrame:
    """The full table if it has features, otherwise the ids in training events.

    A table with ids only is derived from all events, including the held-out
    ones, so its ids would leak held-out events to a model.
    """
    if table.shape[1] == 1:
        table = train[[key]]
    else:
        extra = train.loc[~train[key].isin(table[key]), [key]]
        table = pd.concat([table, extra], ignore_index=True)
    return _sorted_table(table, key)


@dataclasses.dataclass(frozen=True)
class Catalogue:
    """The users and the items of a recommender, each with an integer row.

    Items have the rows `0 .. num_items - 1` in ascending order of their ids;
    this order breaks ties everywhere. Users have the rows `1 .. num_users`;
    row 0 is the unknown user.

    Args:
        users: one row per known user, with its features, by ascending id.
        items: one row per item, likewise.
        user_column: name of the user id column.
        item_column: name of the item id column.
        user_events: `[num_users + 1]` number of training events by user row.
        item_events: `[num_items]` number of training events by item row.

    Example:
    ```python
    catalogue = Catalogue.build(interactions, split.train)
    rows = catalogue.user_rows(["196", "unknown"])  # the second is 0
    ```
    """

    users: pd.DataFrame
    items: pd.DataFrame
    user_column: str
    item_column: str
    user_events: np.ndarray
    item_events: np.ndarray

    def __repr__(self) -> str:
        return (
            f"Catalogue({self.num_users:,} users by {self.user_column}, "
            f"{self.num_items:,} items by {self.item_column}; user row 0 is "
            "the unknown user)"
        )

    @classmethod
    def build(
        cls, interactions: Interactions, train: pd.DataFrame
    ) -> Catalogue:
        """Builds a catalogue from the tables and the training events.

        Args:
            interactions: the validated data; only its tables are read.
            train: `[n]` training events.

        Returns:
            A catalogue. Users and items of tables with ids only are those of
            `train`.

        Raises:
            UserError: `train` has no event.
        """
        if not len(train):
            raise UserError(
                "A catalogue should be built from at least one training "
                "event. Received: 0 events. Check the split."
            )
        user, item = interactions.schema.user_id, interactions.schema.item_id
        users = _training_table(interactions.users, user, train)
        items = _training_table(interactions.items, item, train)
        user_rows = pd.Index(users[user]).get_indexer(train[user]) + 1
        item_rows = pd.Index(items[item]).get_indexer(train[item])
        return cls(
            users=users,
            items=items,
            user_column=user,
            item_column=item,
            user_events=np.bincount(user_rows, minlength=len(users) + 1),
            item_events=np.bincount(item_rows, minlength=len(items)),
        )

    @property
    def num_users(self) -> int:
        """Number of known users, without the unknown user."""
        return len(self.users)

    @property
    def num_items(self) -> int:
        """Number of items."""
        return len(self.items)

    @property
    def user_ids(self) -> np.ndarray:
        """`[num_users]` raw ids, of user rows 1 and up."""
        return self.users[self.user_column].to_numpy()

    @property
    def item_ids(self) -> np.ndarray:
        """`[num_items]` raw ids by item row."""
        return self.items[self.item_column].to_numpy()

    def user_rows(self, ids: np.ndarray | pd.Series | list) -> np.ndarray:
        """Rows of raw user ids; 0 where the user is unknown.

        Args:
            ids: `[n]` raw ids.

        Returns:
            `[n]` int32 rows in `[0, num_users]`.
        """
        rows = pd.Index(self.users[self.user_column]).get_indexer(ids) + 1
        return rows.astype(np.int32)

    def item_rows(self, ids: np.ndarray | pd.Series | list) -> np.ndarray:
        """Rows of raw item ids; -1 where the item is unknown.

        Args:
            ids: `[n]` raw ids.

        Returns:
            `[n]` int32 rows in `[-1, num_items)`.
        """
        rows = pd.Index(self.items[self.item_column]).get_indexer(ids)
        return rows.astype(np.int32)

    def user_inputs(self, *columns: str) -> dict[str, np.ndarray]:
        """Raw columns by user row, for a model with its own encoding.

        Row 0, the unknown user, has an unused id (the smallest int64, or ""),
        and 0 or "" in the other columns.

        Args:
            *columns: names of the users' columns; the id when empty.

        Returns:
            `[num_users + 1]` values by column name.

        Raises:
            UserError: there is no such column.

        Example:
        ```python
        my_query_model(catalogue.user_inputs("user_id", "age"))
        ```
        """
        inputs = _inputs(self.users, columns or (self.user_column,))
        return {
            name: np.concatenate(
                [[_padding(values, name == self.user_column)], values]
            ).astype(values.dtype)
            for name, values in inputs.items()
        }

    def item_inputs(self, *columns: str) -> dict[str, np.ndarray]:
        """Raw columns by item row, see `user_inputs`.

        Args:
            *columns: names of the items' columns; the id when empty.

        Returns:
            `[num_items]` values by column name.

        Raises:
            UserError: there is no such column.
        """
        return _inputs(self.items, columns or (self.item_column,))


def _inputs(
    table: pd.DataFrame, columns: tuple[str, ...]
) -> dict[str, np.ndarray]:
    missing = [name for name in columns if name not in table.columns]
    if missing:
        raise UserError(
            "`columns` should name columns of the table. Received: "
            f"{missing[0]!r}. Choose from {', '.join(table.columns)}."
        )
    return {
        # TensorFlow accepts strings in object arrays only.
        name: table[name].to_numpy()
        if pd.api.types.is_numeric_dtype(table[name])
        else table[name].to_numpy(dtype=object)
        for name in columns
    }


def _padding(values: np.ndarray, is_id: bool) -> int | str:
    if values.dtype == object:
        return ""
    return np.iinfo(values.dtype).min if is_id else 0
