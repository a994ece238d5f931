"""Events joined with the columns of their users and items."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from kd_tfrs.data.interactions import Interactions
from kd_tfrs.data.ranking.derived import DERIVED, time_of_day
from kd_tfrs.data.ranking.event_history import EventHistory
from kd_tfrs.data.schema import Column, Encoding, Owner


def join_columns(
    interactions: Interactions,
    events: pd.DataFrame,
    columns: Sequence[Column],
    event_history: EventHistory | None,
) -> pd.DataFrame:
    """Joins each event with the given columns.

    Args:
        interactions: the tables of users and items, and the schema.
        events: `[n]` events.
        columns: columns of the schema and derived columns.
        event_history: earlier events; needed by derived columns.

    Returns:
        `[n]` rows in the order of the events. The last column is the time, if
        the data have one, since slices are cut by it.
    """
    schema = interactions.schema
    own = {column.name for column in schema.columns}
    tables = {
        Owner.USER: _Rows(interactions.users, events, schema.user_id),
        Owner.ITEM: _Rows(interactions.items, events, schema.item_id),
    }
    derived = (
        {}
        if event_history is None
        else _derive(interactions, events, event_history)
    )
    joined = {}
    for column in columns:
        name = column.name
        if name in DERIVED and name not in own:
            joined[name] = derived[name]
        elif column.owner is Owner.EVENT or column.encoding is Encoding.ID:
            joined[name] = compact(events[name])
        else:
            joined[name] = tables[column.owner].values(name)
    if schema.time:
        joined[schema.time] = events[schema.time].to_numpy()
    return pd.DataFrame(joined)


def compact(
    values: pd.Series, rows: np.ndarray | None = None
) -> np.ndarray | pd.Categorical:
    """Keeps numbers and converts text to pandas categories.

    Args:
        values: a column.
        rows: `[n]` row numbers to select; all rows when `None`.

    Returns:
        `[n]` values.
    """
    if pd.api.types.is_numeric_dtype(values.dtype):
        array = values.to_numpy()
        return array if rows is None else array[rows]
    codes, distinct = pd.factorize(values)
    # `fillna("")` needs "" among the categories.
    categories = pd.Index(distinct).astype(object)
    categories = categories.union(pd.Index([""], dtype=object), sort=False)
    return pd.Categorical.from_codes(
        codes if rows is None else codes[rows], categories
    )


class _Rows:
    """A table of users or items, looked up by the ids of events."""

    def __init__(
        self, table: pd.DataFrame, events: pd.DataFrame, key: str
    ) -> None:
        self._table = table
        self._rows = pd.Index(table[key]).get_indexer(events[key])

    def values(self, name: str) -> np.ndarray | pd.Categorical:
        return compact(self._table[name], self._rows)


def _derive(
    interactions: Interactions,
    events: pd.DataFrame,
    event_history: EventHistory,
) -> dict[str, np.ndarray]:
    schema = interactions.schema
    times = events[schema.time].to_numpy()
    return {
        **time_of_day(times),
        **event_history.so_far("user", events[schema.user_id], times),
        **event_history.so_far("item", events[schema.item_id], times),
    }
