"""`load`: a name, a path or a DataFrame in, validated interactions out."""

from __future__ import annotations

import importlib
import inspect
import os
import pkgutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from kd_tfrs.data import sources
from kd_tfrs.data.interactions import Interactions, clean
from kd_tfrs.data.schema import Schema
from kd_tfrs.data.sources import user_files
from kd_tfrs.data.sources.dataset import Dataset
from kd_tfrs.data.sources.further_columns import FurtherColumns
from kd_tfrs.data.synthetic import interactions as synthetic
from kd_tfrs.data.tables import Tables
from kd_tfrs.errors import UserError

DATA_DIR_VARIABLE = "KD_TFRS_DATA_DIR"
_DEFAULT_EVENTS = 150_000


# Of the modules of `sources`, each with its own `DATASETS`.
_FOLDERS: dict[str, Dataset] = {}
for _module in pkgutil.iter_modules(sources.__path__, f"{sources.__name__}."):
    _FOLDERS |= getattr(importlib.import_module(_module.name), "DATASETS", {})
DATASETS = ("synthetic", *_FOLDERS)


def load(
    source: str | Path | pd.DataFrame,
    users: pd.DataFrame | None = None,
    items: pd.DataFrame | None = None,
    *,
    data_dir: str | Path | None = None,
    schema: Schema | None = None,
    user_id: str | None = None,
    item_id: str | None = None,
    time: str | None = None,
    label: str | None = None,
    event_columns: Sequence[str] = (),
    training_only_columns: Sequence[str] = (),
    tasks: Sequence[str] = (),
    min_user_events: int = 0,
    min_item_events: int = 0,
    min_label: float | None = None,
    seed: int = 0,
    num_events: int | None = None,
    keep_repeats: bool = False,
    download: bool = True,
    progress: bool = True,
) -> Interactions:
    """Loads a known data set by name, or the user's own files or tables.

    Args:
        source: one of `DATASETS`, or the path of a file or folder of shards
            (CSV, TSV, Parquet, JSON lines, adjacency lists). A folder may hold
            `users.*` and `items.*` beside the events. Or a DataFrame of
            events, one row each.
        users: beside a DataFrame, one row a user with the user id, or `None`.
        items: likewise one row an item.
        data_dir: where known data sets are looked for and downloaded to; by
            default the environment's KD_TFRS_DATA_DIR, otherwise a cache in
            the home folder.
        schema: the columns of the user's own files; None guesses them.
        user_id: name of the user id column of the user's own files; None
            guesses it from usual names. With `schema`, leave it out.
        item_id: likewise of the item id.
        time: likewise of the event's time, which need not exist.
        label: likewise of the event's label (a rating).
        event_columns: further columns of the events in the user's own files
            that models look at. With `schema`, leave it out.
        training_only_columns: likewise those, also of users and items, that
            only teachers look at, see `Column`.
        tasks: of a ranker on the user's own files, see `build_examples`.
            Those that are columns of the events are read as numbers; events
            without a label stay then, since they may have another task's.
        min_user_events: users with fewer events are dropped (k-core).
        min_item_events: items with fewer events are dropped (k-core).
        min_label: events with a lower label are dropped.
        seed: of `synthetic`; other data does not depend on it.
        num_events: how many events of `synthetic`, 150,000 by default.
        keep_repeats: whether events of a (user, item) pair beyond the last
            stay, as they should in a log of impressions.
        download: whether a known data set may be downloaded.
        progress: whether to show bars.

    Returns:
        `Interactions`, whose `report` says what was dropped and why.

    Raises:
        UserError: for an unknown name, a broken file, a missing column, or
            an argument that would be ignored.

    Example:
    >>> load("synthetic", num_events=1_000).name
    'synthetic'

    ```python
    load("movielens-1m", min_label=4)
    load("ratings.csv", user_id="uid", item_id="movie", time="ts")
    load("clicks.csv", event_columns=["device"], tasks=["click", "like"])
    load(events, items=films, user_id="member", item_id="film")
    ```
    """
    name, columns, further = _checked(locals())
    if name == "synthetic":
        tables = _synthetic(num_events or _DEFAULT_EVENTS, seed)
    elif name in DATASETS:
        roots = _roots(data_dir)
        folder = _folder(name, roots, download)
        known = _FOLDERS[name]
        tables = known.read(folder or known.fetch(roots[0], progress))
    elif isinstance(source, pd.DataFrame):
        given = Tables(source, users, items, schema)
        tables = user_files.of_tables(given, columns, further)
    else:
        path = _existing(name)
        tables = user_files.read(
            path, schema, columns, further, progress=progress
        )
        name = path.resolve().name.split(".")[0]
    return clean(
        tables.events,
        tables.users,
        tables.items,
        tables.schema,
        name=name,
        min_user_events=min_user_events,
        min_item_events=min_item_events,
        min_label=min_label,
        keep_repeats=keep_repeats,
        keep_unlabelled=bool(further.labels(tables.schema)),
    )


def check_load(source: str | Path, **options: Any) -> None:
    """Finds mistakes in the arguments of `load`, and reads no rows.

    Raises:
        UserError: see `load`; a mistake that shows in rows alone is left to
            it.

    Example:
    >>> check_load("synthetic", num_events=1_000)
    """
    arguments = bound_arguments(load, source, **options)
    name, columns, further = _checked(arguments)
    if name not in DATASETS:
        schema = arguments["schema"]
        user_files.check(_existing(name), schema, columns, further)
    elif name != "synthetic":
        _folder(name, _roots(arguments["data_dir"]), True)


def bound_arguments(
    function: Callable, *args: Any, **kwargs: Any
) -> dict[str, Any]:
    """The arguments of a call by name, defaults included."""
    bound = inspect.signature(function).bind(*args, **kwargs)
    bound.apply_defaults()
    return bound.arguments


def folder_of(name: str, data_dir: str | Path | None = None) -> Path | None:
    """Where a known data set is, if it is there.

    Args:
        name: one of `DATASETS`, or of the logs that ranking knows.
        data_dir: see `load`.

    Returns:
        Its folder, or None.
    """
    return _find(name, _roots(data_dir))


def _checked(
    arguments: Mapping[str, Any],
) -> tuple[str, dict[str, str | None], FurtherColumns]:
    """Name, own columns and further columns of the arguments of `load`."""
    source = arguments["source"]
    name = "data" if isinstance(source, pd.DataFrame) else str(source)
    columns = {key: arguments[key] for key in user_files.ROLES}
    further = FurtherColumns(
        arguments["tasks"],
        arguments["event_columns"],
        arguments["training_only_columns"],
    )
    schema, num_events = arguments["schema"], arguments["num_events"]
    tables = [key for key in ("users", "items") if arguments[key] is not None]
    if tables and not isinstance(source, pd.DataFrame):
        raise UserError(
            f"`{tables[0]}` should stand beside a DataFrame of events. "
            f"Received: `{tables[0]}` with `{name}`. Put the table into the "
            "folder of the events, or read them yourself."
        )
    _check_arguments(name, schema, columns, further, num_events)
    return name, columns, further


def _check_arguments(
    name: str,
    schema: Schema | None,
    columns: dict[str, str | None],
    further: FurtherColumns,
    num_events: int | None,
) -> None:
    given = [key for key, value in columns.items() if value is not None]
    given += [key for key in further.given() if key != "tasks"]
    if name in DATASETS:
        given += ["schema"] if schema is not None else []
        given += ["tasks"] if further.tasks else []
        reason = f"`{name}` has a schema of its own"
    else:
        given = given if schema is not None else []
        reason = "`schema` says already what the columns are"
    if num_events is not None and name != "synthetic":
        given, reason = ["num_events"], "it is the size of `synthetic` only"
    if given:
        raise UserError(
            f"`{given[0]}` should be left out, since {reason}. Received: "
            f"`{given[0]}` with `{name}`. Drop one of the two."
        )


def _existing(name: str) -> Path:
    path = Path(name).expanduser()
    if not path.exists():
        raise UserError(
            f"A data set should be one of {', '.join(DATASETS)}, or a path. "
            f"Received: {name!r}, which is neither a name nor an existing "
            f"file or folder. Check the spelling."
        )
    return path


def _synthetic(num_events: int, seed: int) -> Tables:
    events, users, items = synthetic.generate(num_events, seed=seed)
    return Tables(events, users, items, synthetic.SCHEMA)


def _roots(data_dir: str | Path | None) -> list[Path]:
    """Folders to look in; the first is where downloads go."""
    cache = Path("~/.cache/kd_tfrs").expanduser()
    chosen = data_dir or os.environ.get(DATA_DIR_VARIABLE)
    return [Path(chosen).expanduser(), cache] if chosen else [cache]


def _folder(name: str, roots: list[Path], download: bool) -> Path | None:
    """Where a known data set is; `None` where it is to be downloaded."""
    folder, source = _find(name, roots), _FOLDERS[name]
    if folder is not None and not source.is_complete(folder):
        folder = None
    if folder is None and source.fetch is None:
        raise _not_found(name, roots, "it cannot be downloaded")
    if folder is None and not download:
        raise _not_found(name, roots, "`download` = False")
    return folder


def _find(name: str, roots: list[Path]) -> Path | None:
    names = [name]
    if name in _FOLDERS and _FOLDERS[name].archive:
        names.append(_FOLDERS[name].archive)
    paths = (root / name for root in roots for name in names)
    return next((path for path in paths if path.is_dir()), None)


def _not_found(name: str, roots: list[Path], why: str) -> UserError:
    return UserError(
        f"Data set `{name}` should be a folder `{name}` in the data folder. "
        f"Received: none in {', '.join(f'`{root}`' for root in roots)}, and "
        f"{why}. Put it there, or set {DATA_DIR_VARIABLE} to where it is."
    )
