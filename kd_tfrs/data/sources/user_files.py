"""The user's own files: which column is what, and reading only those."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from kd_tfrs.data.formats import readers
from kd_tfrs.data.schema import Column, Encoding, Owner, Schema
from kd_tfrs.data.sources import citeulike
from kd_tfrs.data.sources.further_columns import FurtherColumns
from kd_tfrs.data.tables import Tables
from kd_tfrs.errors import UserError

# In the order of preference; compared without regard to case.
_ALIASES = {
    "user_id": ("user_id", "userid", "user", "uid"),
    "item_id": (
        "item_id",
        "itemid",
        "movieid",
        "movie_id",
        "book_id",
        "item",
        "iid",
        "product_id",
    ),
    "time": ("timestamp", "time", "ts", "date"),
    "label": ("rating", "label", "score", "stars"),
    "weight": ("weight",),
    "title": ("title", "movie_title", "book_title", "item_title", "name"),
}
_FLAGS = {
    "user_id": "--user_column",
    "item_id": "--item_column",
    "time": "--time_column",
    "label": "--label_column",
}
# Columns that may be named instead of guessed.
ROLES = tuple(_FLAGS)
_SIDE_STEMS = {
    "users": ("users", "user"),
    "items": ("items", "item"),
}


def read(
    path: str | Path,
    schema: Schema | None = None,
    names: Mapping[str, str | None] | None = None,
    further: FurtherColumns | None = None,
    *,
    progress: bool = False,
) -> Tables:
    """Reads a file, or a folder of shards, of the user's own.

    A folder may hold, beside the events, a table `users.*` and a table
    `items.*`; and its events may be given splits `train.*`, `valid.*`,
    `test.*`. Only the columns that are needed are read.

    Args:
        path: file or folder.
        schema: the columns; None guesses them. Without a schema, columns of
            the events other than ids, time, label, weight and title are left
            unread, but for `further`.
        names: names of the columns "user_id", "item_id", "time" and "label";
            those left out are guessed from usual names.
        further: further columns of the events; with a schema, which
            names all others, the labels of tasks alone.
        progress: whether to show a bar over the shards.

    Returns:
        Tables with the file's own column names; the items' title is renamed
        to "title".

    Raises:
        UserError: when a file is broken, or a column cannot be found.

    Example:
    ```python
    tables = read("ratings.csv", names={"user_id": "uid", "time": "ts"})
    ```
    """
    further = further or FurtherColumns()
    parts, side, plan = _found(path, schema, names, further)
    events = {
        name: readers.read_table(
            files, plan.wanted, text=plan.ids, progress=progress
        )
        for name, files in parts.items()
    }
    users, items = (
        _read_side(side.get(kind), own, role, progress)
        for kind, own, role in zip(
            ("users", "items"), plan.ids, ("user_id", "item_id"), strict=True
        )
    )
    if schema is None:
        events, items = _name_title(events, items, plan.roles)
        some = next(iter(events.values())).drop(columns=plan.more)
        schema = _infer(some, users, items, plan.roles)
    schema = further.described(schema, next(iter(events.values())), plan.more)
    further.check_labels(events.values(), schema)
    whole = events.get("")
    return Tables(events if whole is None else whole, users, items, schema)


def of_tables(
    tables: Tables,
    names: Mapping[str, str | None] | None = None,
    further: FurtherColumns | None = None,
) -> Tables:
    """The same for tables in memory: finds out which column is what.

    Args:
        tables: of the user's own; their schema may be `None`.
        names: see `read`.
        further: see `read`.

    Returns:
        Tables with a schema.

    Raises:
        UserError: see `read`.

    Example:
    >>> frame = pd.DataFrame({"user": [1], "item": [2], "stars": [3.0]})
    >>> of_tables(Tables(frame, None, None, None)).schema.label
    'stars'
    """
    further = further or FurtherColumns()
    events, schema = tables.events, tables.schema
    if schema is not None:
        return tables
    found, side = list(map(str, events.columns)), (tables.users, tables.items)
    roles = further.roles(resolve("events", found, names or {}))
    beside = [name for table in side if table is not None for name in table]
    more = further.to_read("events", found, roles, beside)
    wanted = dict.fromkeys([*roles.values(), *more])
    users, items = (
        _with_id(table, roles[role], role, events[roles[role]])
        for role, table in zip(("user_id", "item_id"), side, strict=True)
    )
    titled, items = _name_title({"": events[[*wanted]]}, items, roles)
    events = titled[""]
    schema = _infer(events.drop(columns=more), users, items, roles)
    schema = further.described(schema, events, more)
    further.check_labels([events], schema)
    return Tables(events, users, items, schema)


def check(
    path: str | Path,
    schema: Schema | None = None,
    names: Mapping[str, str | None] | None = None,
    further: FurtherColumns | None = None,
) -> None:
    """Finds mistakes that the names of files and their headers show.

    Raises:
        UserError: there is no file that can be read, or a column is missing.
    """
    _found(path, schema, names, further or FurtherColumns())


def _found(
    path: str | Path,
    schema: Schema | None,
    names: Mapping[str, str | None] | None,
    further: FurtherColumns,
) -> tuple[dict[str, list[Path]], dict[str, list[Path]], _Plan]:
    """Files of the events, side tables, and the columns that are read."""
    parts, side = _find_files(Path(path))
    first = next(iter(parts.values()))[0]
    return parts, side, _plan(first, side, schema, names or {}, further)


class _Plan(NamedTuple):
    """Which columns of the events are read, and what they are."""

    roles: Mapping[str, str]
    ids: list[str]
    wanted: list[str]
    more: list[str]


def _plan(
    first: Path,
    side: Mapping[str, Sequence[Path]],
    schema: Schema | None,
    names: Mapping[str, str | None],
    further: FurtherColumns,
) -> _Plan:
    found = further.columns_of(first)
    if schema is None:
        roles = further.roles(resolve(first, found, names))
        ids = [roles["user_id"], roles["item_id"]]
        wanted = list(dict.fromkeys(roles.values()))
        beside = [
            name
            for files in side.values()
            for name in readers.column_names(files[0])
        ]
    else:
        roles = {column.name: column.name for column in schema.columns}
        ids = [schema.user_id, schema.item_id]
        wanted, beside = _needed(schema, side), []
    more = further.to_read(first, found, roles, beside)
    return _Plan(roles, ids, [*wanted, *more], more)


def _find_files(
    path: Path,
) -> tuple[dict[str, list[Path]], dict[str, list[Path]]]:
    """Returns files of events by split ("" for the whole), and side tables."""
    if not path.is_dir():
        return {"": readers.data_files(path)}, {}
    side = {}
    for entry in sorted(path.iterdir()):
        kind = next(
            (
                kind
                for kind, stems in _SIDE_STEMS.items()
                if _is_side(entry, kind, stems)
            ),
            None,
        )
        if kind:
            side.setdefault(kind, []).extend(readers.data_files(entry))
    taken = {file for files in side.values() for file in files}
    splits = citeulike.split_files(path)
    if splits:
        return {name: [file] for name, file in splits.items()}, side
    return {"": readers.data_files(path, leave_out=taken)}, side


def _is_side(entry: Path, kind: str, stems: Sequence[str]) -> bool:
    known = entry.is_dir() or readers.format_of(entry) is not None
    stem = entry.name.split(".")[0].lower()
    # RecBole tells the tables apart by the end of their names.
    return known and (stem in stems or entry.suffix == f".{kind[:-1]}")


def resolve(
    path: str | Path, found: Sequence[str], names: Mapping[str, str | None]
) -> dict[str, str]:
    """Finds out which column is what.

    Args:
        path: the file or table, for messages.
        found: its column names.
        names: column names by role, where the user gave them.

    Returns:
        Column names by role: "user_id" and "item_id" always; "time",
        "label", "weight" and "title" where there is one.

    Raises:
        UserError: when a column that was named is not there, or the ids
            cannot be guessed, or one column got two roles.
    """
    roles = {}
    for role, aliases in _ALIASES.items():
        name = names.get(role) or _guess(found, aliases)
        if name:
            roles[role] = name
    bad = [role for role, name in roles.items() if name not in found]
    missing = [role for role in ("user_id", "item_id") if role not in roles]
    if bad or missing:
        problem = (
            f"a column `{roles[bad[0]]}`"
            if bad
            else f"a column that is known as {missing[0]}"
        )
        raise _unresolved(path, found, problem)
    if len(set(roles.values())) < len(roles):
        raise _unresolved(path, found, f"one column for each of {roles}")
    return roles


def _guess(found: Sequence[str], aliases: Sequence[str]) -> str | None:
    by_lower = {name.lower(): name for name in reversed(found)}
    return next((by_lower[a] for a in aliases if a in by_lower), None)


def _unresolved(
    path: str | Path, found: Sequence[str], wanted: str
) -> UserError:
    flags = ", ".join(f"{role} ({flag})" for role, flag in _FLAGS.items())
    hint = ""
    if all(name.replace(".", "").isdigit() for name in found):
        hint = " The first line looks like data: put a line of names above it."
    return UserError(
        f"`{path}` should have {wanted}. Received: columns {list(found)}. "
        f"Name the columns by {flags}.{hint}"
    )


def _needed(schema: Schema, side: Mapping[str, object]) -> list[str]:
    """Columns of the schema that have to stand in the events."""
    elsewhere = {Owner.USER: "users" in side, Owner.ITEM: "items" in side}
    return [
        column.name
        for column in schema.columns
        if column.encoding is Encoding.ID
        or not elsewhere.get(column.owner, False)
    ]


def _read_side(
    files: Sequence[Path] | None, id_name: str, role: str, progress: bool
) -> pd.DataFrame | None:
    if not files:
        return None
    found = readers.column_names(files[0])
    own = _id_column(files[0], found, id_name, role)
    table = readers.read_table(files, text=[own], progress=progress)
    return table.rename(columns={own: id_name})


def _id_column(
    table: str | Path, found: Sequence[str], id_name: str, role: str
) -> str:
    own = id_name if id_name in found else _guess(found, _ALIASES[role])
    if own is None:
        raise UserError(
            f"`{table}` should have the column `{id_name}` of the events. "
            f"Received: columns {found}. Rename its id column."
        )
    return own


def _with_id(
    table: pd.DataFrame | None, id_name: str, role: str, ids: pd.Series
) -> pd.DataFrame | None:
    if table is None:
        return None
    kind = "users" if role == "user_id" else "items"
    if not isinstance(table, pd.DataFrame):
        raise UserError(
            f"`{kind}` should be a DataFrame. Received: {type(table).__name__}."
        )
    own = _id_column(kind, list(map(str, table.columns)), id_name, role)
    if len(ids) and not ids.isin(table[own]).any():
        raise UserError(
            f"`{kind}` should have rows for the ids of the events. Received: "
            f"{table[own].iloc[:1].tolist()} of {table[own].dtype} beside "
            f"{ids.iloc[:1].tolist()} of {ids.dtype}, and none in both. "
            "Give both the same type."
        )
    return table.rename(columns={own: id_name})


def _name_title(
    events: Mapping[str, pd.DataFrame],
    items: pd.DataFrame | None,
    roles: Mapping[str, str],
) -> tuple[dict[str, pd.DataFrame], pd.DataFrame | None]:
    """Calls the title "title", in the events or in the table of items."""
    own = roles.get("title")
    if items is None:
        names = {own: "title"} if own else {}
        return {k: t.rename(columns=names) for k, t in events.items()}, None
    if own:
        events = {k: t.drop(columns=own) for k, t in events.items()}
    title = _guess(list(items.columns), _ALIASES["title"])
    return dict(events), items.rename(columns={title: "title"})


def _infer(
    events: pd.DataFrame,
    users: pd.DataFrame | None,
    items: pd.DataFrame | None,
    roles: Mapping[str, str],
) -> Schema:
    flat_title = items is None and "title" in roles
    schema = Schema.infer(
        events.drop(columns="title") if flat_title else events,
        users,
        items,
        **{role: name for role, name in roles.items() if role != "title"},
    )
    if not flat_title:
        return schema
    title = Column("title", Owner.ITEM, Encoding.TEXT)
    return Schema((*schema.columns, title))
