"""How users and items stand after some events, to serve a request."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from kd_tfrs.data.interactions import Interactions
from kd_tfrs.data.ranking.event_history import EventHistory
from kd_tfrs.data.ranking.examples import DEFAULT_HISTORY
from kd_tfrs.errors import UserError


@dataclass(frozen=True, eq=False)
class UserState:
    """Tables of users and items with what the events so far say of them.

    Args:
        users: one row a user: its columns, `user_events` and, where there
            are labels, `user_mean_label`.
        items: one row an item, likewise.
        history: `[num_users, length]` item ids, newest first, see `Examples`.
    """

    users: pd.DataFrame
    items: pd.DataFrame
    history: np.ndarray


def standing(
    interactions: Interactions,
    events: pd.DataFrame,
    history_length: int = DEFAULT_HISTORY,
    *,
    taken: str | None = None,
    liked_from: float = 4.0,
) -> UserState:
    """Counts, means and histories after all of some events.

    They are what `build_examples` would give an impression that comes later
    than every one of `events`.

    Args:
        interactions: tables of users and items, and the schema.
        events: `[n]` what has happened, such as `split.train`.
        history_length: items in a history, 1 or more.
        taken: see `build_examples`.
        liked_from: see `build_examples`.

    Returns:
        The tables, rows in the order of those of `interactions`.

    Raises:
        UserError: when the data have no time, or the length is not positive.

    Example:
    ```python
    now = standing(data, data.events, history_length=20)
    now.items[["item_id", "item_events"]]
    ```
    """
    schema = interactions.schema
    if schema.time is None or history_length < 1:
        raise UserError(
            "`standing` should be asked of data with time and for a history "
            f"of at least 1. Received: time = {schema.time!r} and "
            f"`history_length` = {history_length}. Name the time column."
        )
    record = EventHistory.of(interactions, events, taken, liked_from)
    tables = {}
    for owner, table, key in (
        ("user", interactions.users, schema.user_id),
        ("item", interactions.items, schema.item_id),
    ):
        end = np.full(len(table), np.inf)
        so_far = record.so_far(owner, table[key], end)
        # Columns of these names that the data have themselves stay.
        new = {name: so_far[name] for name in so_far if name not in table}
        tables[owner] = table.assign(**new)
    users = interactions.users[schema.user_id]
    end = np.full(len(users), np.inf)
    history = record.history(users, end, history_length)
    return UserState(tables["user"], tables["item"], history)
