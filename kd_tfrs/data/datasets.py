"""`load`: a name or a path goes in, validated interactions come out."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from kd_tfrs.data.interactions import Interactions, clean
from kd_tfrs.data.schema import Schema
from kd_tfrs.data.sources import (
    amazon_book,
    citeulike,
    goodbooks,
    movielens,
    user_files,
)
from kd_tfrs.data.sources.further_columns import FurtherColumns
from kd_tfrs.data.synthetic import interactions as synthetic
from kd_tfrs.data.tables import Tables
from kd_tfrs.errors import UserError

DATA_DIR_VARIABLE = "KD_TFRS_DATA_DIR"
DATASETS = (
    "synthetic",
    "movielens-100k",
    "movielens-1m",
    "movielens-25m",
    "goodbooks-10k",
    "citeulike-full",
    "citeulike-loo",
    "amazon-book",
)
_DEFAULT_EVENTS = 150_000
# Those that are not published at an address of their own.
_FOLDERS: dict[str, Callable[[Path], Tables]] = {
    "citeulike-full": citeulike.read,
    "citeulike-loo": citeulike.read,
    "amazon-book": amazon_book.read,
}


def load(
    name_or_path: str | Path,
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
    """Loads a known data set by name, or the user's own files by path.

    Args:
        name_or_path: one of `DATASETS`, or the path of a file or folder of
            shards (CSV, TSV, Parquet, JSON lines, adjacency lists). A folder
            may hold `users.*` and `items.*` beside the events.
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
    ```
    """
    name = str(name_or_path)
    columns = {
        "user_id": user_id,
        "item_id": item_id,
        "time": time,
        "label": label,
    }
    further = FurtherColumns(tasks, event_columns, training_only_columns)
    _check_arguments(name, schema, columns, further, num_events)
    if name == "synthetic":
        tables = _synthetic(num_events or _DEFAULT_EVENTS, seed)
    elif name in DATASETS:
        tables = _known(name, _roots(data_dir), download, progress)
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


def check_load(
    name_or_path: str | Path,
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
    num_events: int | None = None,
    **others: object,
) -> None:
    """Finds mistakes in the arguments of `load`, and reads no rows.

    Args:
        name_or_path: see `load`.
        data_dir: see `load`.
        schema: see `load`.
        user_id: see `load`.
        item_id: see `load`.
        time: see `load`.
        label: see `load`.
        event_columns: see `load`.
        training_only_columns: see `load`.
        tasks: see `load`.
        num_events: see `load`.
        **others: arguments of `load` that fit every data set.

    Raises:
        UserError: see `load`; a mistake that shows in rows alone is left to
            it.

    Example:
    >>> check_load("synthetic", num_events=1_000)
    """
    del others
    name = str(name_or_path)
    columns = {
        "user_id": user_id,
        "item_id": item_id,
        "time": time,
        "label": label,
    }
    further = FurtherColumns(tasks, event_columns, training_only_columns)
    _check_arguments(name, schema, columns, further, num_events)
    if name not in DATASETS:
        user_files.check(_existing(name), schema, columns, further)
    elif name != "synthetic":
        _folder(name, _roots(data_dir), True)


def folder_of(name: str, data_dir: str | Path | None = None) -> Path | None:
    """Where a known data set is, if it is there.

    Args:
        name: one of `DATASETS`, or of the logs that ranking knows.
        data_dir: see `load`.

    Returns:
        Its folder, or None.
    """
    names = [name]
    if name in movielens.RELEASES:
        names.append(movielens.RELEASES[name].archive)
    return _find(_roots(data_dir), tuple(names))


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


def _known(
    name: str, roots: list[Path], download: bool, progress: bool
) -> Tables:
    folder = _folder(name, roots, download)
    if name in movielens.RELEASES:
        return movielens.read(
            folder or movielens.fetch(name, roots[0], progress)
        )
    if name == "goodbooks-10k":
        return goodbooks.read(folder or goodbooks.fetch(roots[0], progress))
    return _FOLDERS[name](folder)


def _folder(name: str, roots: list[Path], download: bool) -> Path | None:
    """Where a known data set is; `None` where it is to be downloaded."""
    names = [name]
    if name in movielens.RELEASES:
        names.append(movielens.RELEASES[name].archive)
    folder = _find(roots, tuple(names))
    if name == "goodbooks-10k" and folder is not None:
        folder = folder if goodbooks.is_complete(folder) else None
    if folder is None and name in _FOLDERS:
        raise _not_found(name, roots, "it cannot be downloaded")
    if folder is None and not download:
        raise _not_found(name, roots, "`download` = False")
    return folder


def _find(roots: list[Path], names: tuple[str, ...]) -> Path | None:
    paths = (root / name for root in roots for name in names)
    return next((path for path in paths if path.is_dir()), None)


def _not_found(name: str, roots: list[Path], why: str) -> UserError:
    return UserError(
        f"Data set `{name}` should be a folder `{name}` in the data folder. "
        f"Received: none in {', '.join(f'`{root}`' for root in roots)}, and "
        f"{why}. Put it there, or set {DATA_DIR_VARIABLE} to where it is."
    )
