"""State of users and items after a set of events, to serve requests."""

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
    """Tables of users and items with statistics of their events so far.

    Args:
        users: one row a user: its columns, `user_events` and, where there
            are labels, `user_mean_label`.
        items: one row an item, likewise.
        history: `[num_users, length]` item ids, newest first, see `Examples`.
    """

    users: pd.DataFrame
    items: pd.DataFrame
    history: np.ndarray


def build_user_state(
    interactions: Interactions,
    events: pd.DataFrame,
    history_length: int = DEFAULT_HISTORY,
    *,
    history_task: str | None = None,
    liked_from: float = 4.0,
) -> UserState:
    """Builds counts, means and histories over all of the given events.

    The values are those that `build_examples` computes for an impression that
    is later than every event.

    Args:
        interactions: tables of users and items, and the schema.
        events: `[n]` events so far, such as `split.train`.
        history_length: items in a history, 1 or more.
        history_task: see `build_examples`.
        liked_from: see `build_examples`.

    Returns:
        The tables, rows in the order of those of `interactions`.

    Raises:
        UserError: when the data have no time, or the length is not positive.

    Example:
    ```python
    state = build_user_state(data, data.events, history_length=20)
    state.items[["item_id", "item_events"]]
    ```
    """
    schema = interactions.schema
    if schema.time is None or history_length < 1:
        raise UserError(
            "The state of users should be built from data with time, with "
            "`history_length` of at least 1. Received: time = "
            f"{schema.time!r} and `history_length` = {history_length}. Name "
            "the time column."
        )
    event_history = EventHistory.of(
        interactions, events, history_task, liked_from
    )
    tables = {}
    for owner, table, key in (
        ("user", interactions.users, schema.user_id),
        ("item", interactions.items, schema.item_id),
    ):
        end = np.full(len(table), np.inf)
        so_far = event_history.so_far(owner, table[key], end)
        # Columns of the data keep their values when the names are the same.
        new = {name: so_far[name] for name in so_far if name not in table}
        tables[owner] = table.assign(**new)
    users = interactions.users[schema.user_id]
    end = np.full(len(users), np.inf)
    history = event_history.history(users, end, history_length)
    return UserState(tables["user"], tables["item"], history)
