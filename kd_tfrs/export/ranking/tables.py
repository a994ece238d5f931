"""Tables of items and users in a served ranker, so that clients send ids."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd

from kd_tfrs.data.interactions import Interactions
from kd_tfrs.data.ranking.derived import DERIVED
from kd_tfrs.data.ranking.event_history import EventHistory
from kd_tfrs.data.ranking.examples import Examples
from kd_tfrs.data.ranking.joining import compact
from kd_tfrs.data.schema import Column, Encoding, Owner
from kd_tfrs.errors import UserError


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
