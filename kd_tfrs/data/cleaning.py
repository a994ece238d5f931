"""The steps of `clean`: each drops rows and counts them by reason."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from kd_tfrs.data import values as cells
from kd_tfrs.data.schema import Column, Encoding, Owner, Schema
from kd_tfrs.errors import UserError

SPLIT_NAMES = ("train", "validation", "test")
_SPLIT = "__split__"
_TEXTUAL = (Encoding.CATEGORY, Encoding.CATEGORIES, Encoding.TEXT)


def check_options(
    schema: Schema,
    min_user_events: int,
    min_item_events: int,
    min_label: float | None,
) -> None:
    """Refuses filters that are negative or need a missing label."""
    for option, value in (
        ("min_user_events", min_user_events),
        ("min_item_events", min_item_events),
    ):
        if value < 0:
            raise UserError(
                f"`{option}` should not be negative. Received: `{option}` = "
                f"{value}. Give 0 to keep all."
            )
    if min_label is not None and schema.label is None:
        raise UserError(
            "`min_label` needs a label column. Received: `min_label` = "
            f"{min_label} and a schema without label. Name the label column "
            "or leave `min_label` out."
        )


def join_splits(
    events: pd.DataFrame | Mapping[str, pd.DataFrame],
) -> pd.DataFrame:
    """Joins given splits into one table with a column of split codes."""
    if not isinstance(events, (pd.DataFrame, Mapping)):
        raise UserError(
            "`events` should be a pandas DataFrame, or a mapping of splits to "
            f"such. Received: {type(events).__name__}. Convert it."
        )
    if isinstance(events, pd.DataFrame):
        return events.reset_index(drop=True)
    unknown = sorted(set(events) - set(SPLIT_NAMES))
    if unknown or "train" not in events:
        raise UserError(
            "Given splits should be named train (always), validation and "
            f"test. Received: {sorted(events)}. Rename them."
        )
    parts = [
        events[name].assign(**{_SPLIT: code})
        for code, name in enumerate(SPLIT_NAMES)
        if name in events
    ]
    return pd.concat(parts, ignore_index=True)


def take_splits(
    events: pd.DataFrame,
) -> tuple[pd.DataFrame, dict[str, pd.DataFrame] | None]:
    """Separates the splits that `join_splits` joined."""
    if _SPLIT not in events.columns:
        return events, None
    code = events.pop(_SPLIT).to_numpy()
    splits = {
        name: events[code == position].reset_index(drop=True)
        for position, name in enumerate(SPLIT_NAMES)
        if (code == position).any()
    }
    return events, splits


def _event_columns(schema: Schema) -> list[str]:
    own = [c.name for c in schema.columns if c.owner is Owner.EVENT]
    return [schema.user_id, schema.item_id, *own]


def require_event_columns(
    events: pd.DataFrame, schema: Schema, name: str
) -> None:
    """Refuses events that lack a column of the schema."""
    _require(events, _event_columns(schema), f"{name}: events")


def _require(table: pd.DataFrame, names: list[str], which: str) -> None:
    repeated = table.columns[table.columns.duplicated()].tolist()
    if repeated:
        raise UserError(
            f"{which} should have column names that differ. Received: "
            f"{repeated[0]!r} more than once. Rename or drop one."
        )
    for name in names:
        if name not in table.columns:
            raise UserError(
                f"{which} should have a column {name!r}. Received: columns "
                f"{[c for c in table.columns if c != _SPLIT][:20]}. Name the "
                "right column, or take it out of the schema."
            )


def _keep(
    events: pd.DataFrame, good: np.ndarray, reason: str, counts: dict[str, int]
) -> pd.DataFrame:
    dropped = int(len(events) - np.count_nonzero(good))
    counts[reason] = counts.get(reason, 0) + dropped
    return events[good] if dropped else events


def drop_missing_ids(
    events: pd.DataFrame, schema: Schema, counts: dict[str, int]
) -> pd.DataFrame:
    """Drops events without a user id or an item id, and unused columns."""
    columns = [c for c in [*_event_columns(schema), _SPLIT] if c in events]
    no_user = cells.missing_ids(events[schema.user_id])
    no_item = cells.missing_ids(events[schema.item_id])
    good = ~(no_user | no_item)
    return _keep(events[columns], good, "missing_ids", counts)


def _event_value(values: pd.Series, column: Column) -> np.ndarray | pd.Series:
    if column.encoding is Encoding.TIME:
        return cells.as_seconds(values, column)
    if column.encoding in (Encoding.LABEL, Encoding.WEIGHT):
        return cells.as_numbers(values, column)
    return cells.as_feature(values, column)


def drop_impossible(
    events: pd.DataFrame,
    schema: Schema,
    counts: dict[str, int],
    keep_unlabelled: bool = False,
) -> pd.DataFrame:
    """Drops events with an impossible time, label or weight."""
    values = {
        column.name: _event_value(events[column.name], column)
        for column in schema.columns
        if column.owner is Owner.EVENT
    }
    events = events.assign(**values)
    if schema.time:
        good = np.isfinite(events[schema.time].to_numpy())
        events = _keep(events, good, "bad_time", counts)
        seconds = events[schema.time].to_numpy()
        whole = seconds.astype(np.int64)
        if (whole == seconds).all():
            events = events.assign(**{schema.time: whole})
    if schema.label:
        label = events[schema.label].to_numpy()
        good = np.isfinite(label) | (keep_unlabelled & np.isnan(label))
        events = _keep(events, good, "bad_label", counts)
    if schema.weight:
        weight = events[schema.weight].to_numpy()
        good = np.isfinite(weight) & (weight >= 0)
        events = _keep(events, good, "bad_weight", counts)
    return events


def drop_low_labels(
    events: pd.DataFrame,
    schema: Schema,
    min_label: float,
    counts: dict[str, int],
) -> pd.DataFrame:
    """Drops events with a label below the minimum."""
    good = events[schema.label].to_numpy() >= min_label
    return _keep(events, good, "below_min_label", counts)


def _codes(events: pd.DataFrame, schema: Schema) -> list[np.ndarray]:
    return [
        _factorize(events[name])[0].astype(np.int64)
        for name in (schema.user_id, schema.item_id)
    ]


def _factorize(values: pd.Series) -> tuple[np.ndarray, pd.Index]:
    # Mixed ids such as 1 and "1" are the same id, since both are read as text.
    if cells.whole_numbers(values) is None:
        values = cells.as_text_ids(values)
    return pd.factorize(values)


def drop_duplicates(
    events: pd.DataFrame, schema: Schema, counts: dict[str, int]
) -> pd.DataFrame:
    """Keeps one event per (user, item): the last by time, or the first."""
    user, item = _codes(events, schema)
    pair = user * (item.max(initial=0) + 1) + item
    order = np.arange(len(events))
    if schema.time:
        order = np.argsort(events[schema.time].to_numpy(), kind="stable")
    repeated = pd.Series(pair[order]).duplicated(
        keep="last" if schema.time else "first"
    )
    good = np.empty(len(events), bool)
    good[order] = ~repeated.to_numpy()
    return _keep(events, good, "duplicates", counts)


def k_core(
    events: pd.DataFrame,
    schema: Schema,
    min_user_events: int,
    min_item_events: int,
    counts: dict[str, int],
) -> pd.DataFrame:
    """Drops rare users and items repeatedly, until none is rare."""
    if min_user_events <= 1 and min_item_events <= 1:
        return events
    codes = np.stack(_codes(events, schema))
    minima = (min_user_events, min_item_events)
    rows = np.arange(len(events))
    while len(rows):
        good = np.ones(len(rows), bool)
        for code, minimum in zip(codes[:, rows], minima, strict=True):
            good &= np.bincount(code)[code] >= minimum
        if good.all():
            break
        rows = rows[good]
    good = np.zeros(len(events), bool)
    good[rows] = True
    return _keep(events, good, "rare", counts)


def raw_table(
    table: pd.DataFrame, schema: Schema, owner: Owner, name: str
) -> pd.DataFrame:
    """Selects the columns of one owner."""
    features = (
        schema.user_features if owner is Owner.USER else schema.item_features
    )
    names = [column.name for column in features]
    _require(table, names, f"{name}: {owner.value}s")
    # A title is kept for display even when it is not a feature.
    if owner is Owner.ITEM and "title" in table and "title" not in names:
        names.append("title")
    return table[names]


def unify(
    events: pd.DataFrame,
    table: pd.DataFrame,
    schema: Schema,
    owner: Owner,
    counts: dict[str, int],
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Converts the ids of both tables to one type, with one row per id.

    Returns:
        The events, and the table of the ids with events, in ascending order.
    """
    id_name = schema.user_id if owner is Owner.USER else schema.item_id
    rows = len(table)
    table = table[~cells.missing_ids(table[id_name])]
    event_ids, table_ids = _same_kind(events[id_name], table[id_name])
    table = table.assign(**{id_name: table_ids}).drop_duplicates(id_name)
    ids_with_events = pd.Index(
        np.sort(pd.unique(event_ids.to_numpy())), name=id_name
    )
    num_listed = int(table[id_name].isin(ids_with_events).sum())
    counts[f"{owner.value}s_added"] = len(ids_with_events) - num_listed
    counts[f"{owner.value}s_dropped"] = rows - num_listed
    for column in schema.columns:
        if column.owner is owner and column.encoding is not Encoding.ID:
            feature = cells.as_feature(table[column.name], column)
            table[column.name] = feature
    table = table.set_index(id_name).reindex(ids_with_events).reset_index()
    for column in schema.columns:
        if column.owner is owner and column.encoding in _TEXTUAL:
            table[column.name] = table[column.name].fillna("")
    return events.assign(**{id_name: event_ids}), table


def _same_kind(
    event_ids: pd.Series, table_ids: pd.Series
) -> tuple[pd.Series, pd.Series]:
    numbers = [cells.whole_numbers(ids) for ids in (event_ids, table_ids)]
    if numbers[0] is not None and numbers[1] is None:
        numbers[1] = cells.text_as_whole_numbers(table_ids)
    if any(array is None for array in numbers):
        return cells.as_text_ids(event_ids), cells.as_text_ids(table_ids)
    return (
        pd.Series(numbers[0], index=event_ids.index),
        pd.Series(numbers[1], index=table_ids.index),
    )
