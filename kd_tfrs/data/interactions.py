"""Validated events with user and item tables, and a report of cleaning."""

from __future__ import annotations

import hashlib
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, fields

import numpy as np
import pandas as pd

from kd_tfrs.data import cleaning
from kd_tfrs.data.schema import Owner, Schema
from kd_tfrs.errors import UserError


@dataclass(frozen=True)
class CleaningReport:
    """Numbers of rows before and after cleaning, and of dropped rows.

    Args:
        rows_read: events before cleaning.
        missing_ids: events without a user id or an item id.
        bad_time: events with a missing or impossible time.
        bad_label: events with a missing or not finite label.
        bad_weight: events with a missing, not finite or negative weight.
        duplicates: further events of a (user, item) pair.
        below_min_label: events with a label below `min_label`.
        rare: events of a user or an item with too few events.
        users_dropped: rows of the users table without id, doubled, or
            without an event.
        items_dropped: likewise of the items table.
        users_added: users with events and without a row in the users table.
        items_added: likewise for items.
        events: events kept.
        users: users kept.
        items: items kept.
    """

    rows_read: int = 0
    missing_ids: int = 0
    bad_time: int = 0
    bad_label: int = 0
    bad_weight: int = 0
    duplicates: int = 0
    below_min_label: int = 0
    rare: int = 0
    users_dropped: int = 0
    items_dropped: int = 0
    users_added: int = 0
    items_added: int = 0
    events: int = 0
    users: int = 0
    items: int = 0

    def __str__(self) -> str:
        kept = ("rows_read", "events", "users", "items")
        lines = [
            f"{self.rows_read:,} rows read; kept {self.events:,} events of "
            f"{self.users:,} users with {self.items:,} items"
        ]
        for field in fields(self):
            count = getattr(self, field.name)
            if count and field.name not in kept:
                lines.append(f"  {_REASONS[field.name]}: {count:,}")
        return "\n".join(lines)


_REASONS = {
    "missing_ids": "dropped, user or item id missing",
    "bad_time": "dropped, time missing or impossible",
    "bad_label": "dropped, label missing or not finite",
    "bad_weight": "dropped, weight missing, not finite or negative",
    "duplicates": "dropped, the same user and item again",
    "below_min_label": "dropped, label below the minimum",
    "rare": "dropped, user or item with too few events",
    "users_dropped": "rows of the users table left out",
    "items_dropped": "rows of the items table left out",
    "users_added": "users without a row in the users table",
    "items_added": "items without a row in the items table",
}


@dataclass(frozen=True, eq=False)
class Interactions:
    """Clean events with a table of users and a table of items.

    Ids have the same type in every table: int64 when all are whole numbers,
    otherwise strings. Time is in seconds since 1970, label and weight are
    finite float64 (the label is NaN for events that were kept without one).
    Number features are float64 with NaN where missing; all other features are
    strings with "" where missing.

    Args:
        name: name of the data set.
        schema: the columns of all tables.
        events: one row per event, in the order read; one row per
            (user, item) pair except in logs of impressions.
        users: one row per user with an event, ascending by id.
        items: one row per item with an event, ascending by id.
        report: numbers of dropped rows by reason.
        given_splits: the data's own splits of `events`, by "train",
            "validation" and "test", or None.

    Example:
    ```python
    interactions = kd_tfrs.data.load("synthetic")
    print(interactions.report)
    ```
    """

    name: str
    schema: Schema
    events: pd.DataFrame
    users: pd.DataFrame
    items: pd.DataFrame
    report: CleaningReport
    given_splits: dict[str, pd.DataFrame] | None = None

    def __repr__(self) -> str:
        return (
            f"Interactions({self.name!r}: {len(self.events):,} events of "
            f"{len(self.users):,} users with {len(self.items):,} items; "
            f"{self.schema!r})"
        )

    def item_titles(self) -> dict[Hashable, str]:
        """Gives the title of each item by id, or its id where unknown.

        Returns:
            A dict of every item id.
        """
        ids = self.items[self.schema.item_id].tolist()
        if "title" not in self.items.columns:
            return {key: str(key) for key in ids}
        titles = self.items["title"].tolist()
        return {
            key: str(title) if isinstance(title, str) and title else str(key)
            for key, title in zip(ids, titles, strict=True)
        }

    def fingerprint(self) -> str:
        """Gives a SHA-256 of the schema and of the contents in their order.

        Returns:
            64 hexadecimal digits, the same on every machine.
        """
        digest = hashlib.sha256(self.schema.to_json().encode())
        tables = {"events": self.events, "users": self.users}
        tables["items"] = self.items
        tables |= self.given_splits or {}
        for name, table in tables.items():
            digest.update(f"{name} {table.shape}".encode())
            for column in table.columns:
                _update(digest, str(column), table[column])
        return digest.hexdigest()


def _update(digest: hashlib._Hash, name: str, values: pd.Series) -> None:
    digest.update(name.encode())
    if pd.api.types.is_numeric_dtype(values.dtype):
        array = values.to_numpy()
        digest.update(array.dtype.str.encode())
        digest.update(np.ascontiguousarray(array))
        return
    # The lengths keep ["ab", "c"] apart from ["a", "bc"].
    text = values.astype(object).fillna("").astype(str)
    digest.update(text.str.len().to_numpy(np.int64))
    digest.update("".join(text.tolist()).encode("utf-8", "surrogatepass"))


def clean(
    events: pd.DataFrame | Mapping[str, pd.DataFrame],
    users: pd.DataFrame | None = None,
    items: pd.DataFrame | None = None,
    schema: Schema | None = None,
    *,
    name: str = "data",
    min_user_events: int = 0,
    min_item_events: int = 0,
    min_label: float | None = None,
    keep_repeats: bool = False,
    keep_unlabelled: bool = False,
) -> Interactions:
    """Validates raw tables and drops what cannot be used.

    These events are dropped, in this order: events without ids; events with
    an impossible time, label or weight; repeated (user, item) pairs, except
    the last by time (the first when the data has no time); events with a
    label below `min_label`; events of rare users and items, repeatedly until
    none is rare. The user and item tables then contain the users and items
    with an event. The given tables do not change.

    Args:
        events: one row per event, or given splits as a mapping of "train",
            "validation" and "test" to such tables. A pair that is in two
            splits counts as repeated.
        users: one row per user. When None, the user's columns are read from
            the events (the first row of each user).
        items: one row per item, or None likewise.
        schema: the columns; `Schema.infer` guesses them when `None`.
        name: name of the data set, for messages.
        min_user_events: users with fewer events are dropped (k-core).
        min_item_events: items with fewer events are dropped (k-core).
        min_label: events with a lower label are dropped.
        keep_repeats: whether to keep repeated pairs, as in a log of
            impressions, in which an item is shown to a user more than once.
        keep_unlabelled: whether to keep events with a missing label, for data
            in which another column is also a label.

    Returns:
        `Interactions`; its `report` counts the dropped rows by reason.

    Raises:
        UserError: when a column is missing or has values of the wrong type,
            or when no usable event is left.

    Example:
    >>> frame = pd.DataFrame({"user_id": [1, 1], "item_id": [7, 7]})
    >>> clean(frame).report.duplicates
    1
    """
    if schema is None:
        schema = Schema.infer(cleaning.join_splits(events), users, items)
    cleaning.check_options(schema, min_user_events, min_item_events, min_label)
    raw = cleaning.join_splits(events)
    cleaning.require_event_columns(raw, schema, name)
    counts = {"rows_read": len(raw)}
    kept = cleaning.drop_missing_ids(raw, schema, counts)
    kept = cleaning.drop_impossible(kept, schema, counts, keep_unlabelled)
    if not keep_repeats:
        kept = cleaning.drop_duplicates(kept, schema, counts)
    if min_label is not None:
        kept = cleaning.drop_low_labels(kept, schema, min_label, counts)
    kept = cleaning.k_core(
        kept, schema, min_user_events, min_item_events, counts
    )
    _require_some(kept, name, counts)
    tables = {}
    for owner, table in ((Owner.USER, users), (Owner.ITEM, items)):
        # Without a table, features are columns of the events.
        if table is None:
            rows = raw.loc[kept.index]
        else:
            rows = table.reset_index(drop=True)
        rows = cleaning.raw_table(rows, schema, owner, name)
        kept, tables[owner] = cleaning.unify(kept, rows, schema, owner, counts)
        if table is None:
            counts[f"{owner.value}s_dropped"] = 0
    kept, splits = cleaning.take_splits(kept.reset_index(drop=True))
    counts["events"] = len(kept)
    counts["users"] = len(tables[Owner.USER])
    counts["items"] = len(tables[Owner.ITEM])
    return Interactions(
        name=name,
        schema=schema,
        events=kept,
        users=tables[Owner.USER],
        items=tables[Owner.ITEM],
        report=CleaningReport(**counts),
        given_splits=splits,
    )


def _require_some(
    events: pd.DataFrame, name: str, counts: dict[str, int]
) -> None:
    if len(events):
        return
    reasons = CleaningReport(**counts)
    detail = str(reasons).replace("\n ", ";")
    raise UserError(
        f"{name} should have at least one usable event. Received: {detail}. "
        "Check the column names and loosen the filters."
    )
