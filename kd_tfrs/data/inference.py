"""Guesses how the columns of a user's own tables are encoded."""

from __future__ import annotations

import pandas as pd

from kd_tfrs.data.columns import Column, Encoding, Owner
from kd_tfrs.errors import UserError

_USUAL_NAMES = {
    "time": ("timestamp", "time", "event_time", "datetime", "date", "ts"),
    "label": ("rating", "label", "stars"),
    "weight": ("weight", "sample_weight"),
}
_SAMPLE_ROWS = 10_000
_FEW_VALUES = 20
_TEXT_NAMES = ("title", "description", "text")


def guess_columns(
    events: pd.DataFrame,
    users: pd.DataFrame | None,
    items: pd.DataFrame | None,
    user_id: str,
    item_id: str,
    special: dict[str, str | None],
) -> tuple[Column, ...]:
    """Guesses the columns of three tables; see `Schema.infer`.

    Args:
        events: one row an event.
        users: one row a user, or None.
        items: one row an item, or None.
        user_id: name of the user id.
        item_id: name of the item id.
        special: names of "time", "label", "weight"; None guesses a name.

    Returns:
        The columns: the user's, the item's, then the event's.

    Raises:
        UserError: when a named column is missing.
    """
    _require(events, (user_id, item_id), "events")
    named = {
        encoding: name or _find(events, encoding)
        for encoding, name in special.items()
    }
    _require(events, [name for name in named.values() if name], "events")
    columns = [Column(user_id, Owner.USER, Encoding.ID)]
    columns += _features(users, user_id, Owner.USER)
    columns += [Column(item_id, Owner.ITEM, Encoding.ID)]
    columns += _features(items, item_id, Owner.ITEM)
    used = {column.name for column in columns} | set(named.values())
    columns += [
        Column(name, Owner.EVENT, encoding)
        for encoding, name in named.items()
        if name
    ]
    columns += [
        guess_column(events[name], Owner.EVENT)
        for name in events.columns
        if name not in used
    ]
    return tuple(columns)


def guess_column(values: pd.Series, owner: Owner) -> Column:
    """Guesses one column's encoding from its first values.

    Args:
        values: the column, named.
        owner: owner of the column.

    Returns:
        A `Column`: numbers with many values are `NUMBER`, cells with "|" or
        lists `CATEGORIES`, cells of several words `TEXT`, all else `CATEGORY`.
    """
    name = str(values.name)
    sample = values.dropna().head(_SAMPLE_ROWS)
    if pd.api.types.is_datetime64_any_dtype(values.dtype):
        return Column(name, owner, Encoding.NUMBER)
    if pd.api.types.is_bool_dtype(values.dtype):
        return Column(name, owner, Encoding.CATEGORY)
    if pd.api.types.is_float_dtype(values.dtype):
        return Column(name, owner, Encoding.NUMBER)
    if pd.api.types.is_integer_dtype(values.dtype):
        few = sample.nunique() <= _FEW_VALUES
        encoding = Encoding.CATEGORY if few else Encoding.NUMBER
        return Column(name, owner, encoding)
    if name.lower() in _TEXT_NAMES:
        return Column(name, owner, Encoding.TEXT)
    return Column(name, owner, _guess_text(sample))


def _guess_text(sample: pd.Series) -> Encoding:
    if sample.map(pd.api.types.is_list_like).any():
        return Encoding.CATEGORIES
    text = sample.astype(str)
    if text.str.contains("|", regex=False).any():
        return Encoding.CATEGORIES
    words = text.str.count(r"\s+").mean() + 1 if len(text) else 1
    many = text.nunique() > max(_FEW_VALUES, len(text) // 2)
    if words >= 1.5 and many:
        return Encoding.TEXT
    return Encoding.CATEGORY


def _features(
    table: pd.DataFrame | None, id_name: str, owner: Owner
) -> list[Column]:
    if table is None:
        return []
    _require(table, (id_name,), f"{owner.value}s")
    return [
        guess_column(table[name], owner)
        for name in table.columns
        if name != id_name
    ]


def _find(events: pd.DataFrame, encoding: str) -> str | None:
    lower = {str(name).lower(): name for name in events.columns}
    for name in _USUAL_NAMES[encoding]:
        if name in lower:
            return lower[name]
    return None


def _require(table: pd.DataFrame, names: object, which: str) -> None:
    for name in names:
        if name not in table.columns:
            raise UserError(
                f"The {which} table should have a column {name!r}. Received: "
                f"columns {list(table.columns)[:20]}. Name the right column, "
                "such as user_id='customer'."
            )
