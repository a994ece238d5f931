"""`load_examples`: a name or a path goes in, examples to be scored come out."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from kd_tfrs.data import datasets
from kd_tfrs.data.interactions import Interactions
from kd_tfrs.data.privacy import pseudonymise
from kd_tfrs.data.ranking.examples import PARTS, ExampleSplit, build_examples
from kd_tfrs.data.ranking.sources import criteo, libfm, logs
from kd_tfrs.data.ranking.splits import (
    FOLDS,
    check_unused,
    fold_file,
    split_for_ranking,
)
from kd_tfrs.data.schema import Encoding, Owner, Schema
from kd_tfrs.data.splits import Split
from kd_tfrs.data.synthetic.impressions import (
    SCHEMA,
    TASKS,
    Impressions,
    generate_impressions,
)
from kd_tfrs.data.targets import LIKED, check_tasks
from kd_tfrs.errors import UserError

LOGS = ("criteo", "frappe")
# Columns of the events of synthetic.
_COLUMNS = (
    *(c.name for c in SCHEMA.columns if c.owner is Owner.EVENT),
    *(SCHEMA.user_id, SCHEMA.item_id),
    *TASKS[1:],
)
_ROW = "__row__"


def load_examples(
    name_or_path: str | Path,
    data_dir: str | Path | None = None,
    *,
    tasks: Sequence[str] | None = None,
    split: str = "auto",
    validation: float | None = None,
    test: float | None = None,
    hash_buckets: int | None = None,
    num_events: int | None = None,
    seed: int = 0,
    read: Mapping[str, Any] | None = None,
    pseudonym_key: bytes | None = None,
    **options: Any,
) -> ExampleSplit:
    """Loads impressions by name or path, split and ready to be encoded.

    Args:
        name_or_path: "synthetic" (impressions with clicks and likes, see
            `generate_impressions`), "criteo" or "frappe" (logs), a name that
            `load` knows and that has labels ("movielens-100k"), or a path: of
            libFM's files (.libfm), or of events that `load` reads.
        data_dir: where named data are; of a log, also the folder of its files
            itself. See `load`.
        tasks: names of labels, see `build_examples`; of your own files also
            columns that are read for this alone. By default "click" and
            "like" of synthetic, "click" of logs, the label itself where it is
            0 or 1, and otherwise "liked".
        split: see `split_for_ranking`; logs have "auto" only, which takes
            their files as given and cuts by order otherwise.
        validation: share to validate; see `split_for_ranking`.
        test: share to test; likewise.
        hash_buckets: into which ids of users and items (of criteo all
            categories) are hashed, so that those never seen have an embedding
            too. None: 16,384 for criteo, no hashing elsewhere.
        num_events: of synthetic, 200,000 by default.
        seed: of synthetic and of random splits.
        read: more of `load`, such as `user_id`, `event_columns` or `schema` of
            your own files.
        pseudonym_key: puts keyed pseudonyms in place of user and item ids,
            see `pseudonymise`; not for synthetic, logs and u1 to u5.
        **options: more of `build_examples`, such as `history_length`; not for
            logs.

    Returns:
        The examples. Those of synthetic have their `truth` with them.

    Raises:
        UserError: for an unknown name, a broken file, or an argument that
            would be ignored.

    Example:
    ```python
    parts = load_examples("movielens-100k", tasks=["liked", "rating"])
    parts = load_examples("criteo", "data/criteo", hash_buckets=100_000)
    ```
    """
    _check(locals())
    name = str(name_or_path)
    shares = {"validation": validation, "test": test}
    shares = {key: value for key, value in shares.items() if value is not None}
    if name in LOGS or _is_libfm(name):
        return _load_log(name, data_dir, tasks, hash_buckets, shares)
    cut = {"method": split, "seed": seed, **shares}
    if name == "synthetic":
        sizes = {} if num_events is None else {"num_events": num_events}
        made = generate_impressions(**sizes, seed=seed)
        return _synthetic(made, tasks, hash_buckets, cut, options)
    interactions = datasets.load(
        name, data_dir=data_dir, **{**_own(name, tasks), **(read or {})}
    )
    folder = _folder(name, data_dir)
    if pseudonym_key is not None:
        interactions = pseudonymise(interactions, pseudonym_key)
    interactions = _hash_ids(interactions, hash_buckets)
    parts = split_for_ranking(interactions, folder=folder, **cut)
    tasks = tasks or default_tasks(interactions)
    return build_examples(interactions, parts, tasks, **options)


def check_examples(
    name_or_path: str | Path,
    data_dir: str | Path | None = None,
    **options: Any,
) -> None:
    """Finds mistakes in the arguments of `load_examples`, and reads no rows.

    Raises:
        UserError: see `load_examples`; a mistake that shows in rows alone is
            left to it.

    Example:
    >>> check_examples("synthetic", tasks=["click"])
    """
    _check(
        datasets.bound_arguments(
            load_examples, name_or_path, data_dir, **options
        )
    )


def _check(arguments: Mapping[str, Any]) -> None:
    given = SimpleNamespace(**arguments)
    name, read, tasks = str(given.name_or_path), given.read or {}, given.tasks
    has_key = given.pseudonym_key is not None
    if given.num_events is not None and name != "synthetic":
        raise _unused("num_events", name, "is the size of `synthetic` only")
    if name in LOGS or _is_libfm(name):
        used = [
            *["split"] * (given.split != "auto"),
            *read,
            *["pseudonym_key"] * has_key,
            *given.options,
        ]
        if used:
            raise _unused(used[0], name, "is not for logs")
        _check_log(name, given.data_dir, tasks, given.hash_buckets)
        return
    check_unused(given.split, given.validation, given.test)
    if name == "synthetic":
        if read:
            raise _unused(next(iter(read)), name, "is for files")
        if has_key:
            raise _unused("pseudonym_key", name, "hides the ids of real data")
        check_tasks(_COLUMNS, SCHEMA, tasks or TASKS)
        return
    datasets.check_load(
        name, data_dir=given.data_dir, **{**_own(name, tasks), **read}
    )
    if has_key and given.split in FOLDS:
        raise _unused(
            "pseudonym_key", given.split, "is not in that file of ids"
        )
    folder = _folder(name, given.data_dir)
    if given.split in FOLDS and folder is not None:
        fold_file(folder, given.split)


def known_tasks(
    name_or_path: str | Path, tasks: Sequence[str] | None = None
) -> tuple[str, ...] | None:
    """Names of the labels, as far as they are known before the data are read.

    Args:
        name_or_path: see `load_examples`.
        tasks: see `load_examples`.

    Returns:
        The names; `None` where the data decide.

    Example:
    >>> known_tasks("synthetic")
    ('click', 'like')
    """
    if tasks:
        return tuple(tasks)
    return {"synthetic": TASKS, **dict.fromkeys(LOGS, ("click",))}.get(
        str(name_or_path)
    )


def _folder(name: str, data_dir: str | Path | None) -> Path | None:
    known = name in datasets.DATASETS
    return datasets.folder_of(name, data_dir) if known else None


def _own(name: str, tasks: Sequence[str] | None) -> dict[str, Any]:
    """Arguments of `load` for files of the user's own."""
    if name in datasets.DATASETS:
        return {}
    return {"keep_repeats": True, **({"tasks": tasks} if tasks else {})}


def _unused(key: str, name: str, why: str) -> UserError:
    return UserError(
        f"`{key}` should be left out, since it {why}. Received: `{key}` with "
        f"`{name}`. Drop one of the two."
    )


def _is_libfm(name: str) -> bool:
    path = Path(name).expanduser()
    if path.is_dir():
        return any(path.glob("*.libfm*"))
    return ".libfm" in path.suffixes and path.exists()


def _check_log(
    name: str,
    data_dir: str | Path | None,
    tasks: Sequence[str] | None,
    hash_buckets: int | None,
) -> None:
    tasks = _log_tasks(tasks)
    if len(tasks) != 1 or (name in LOGS and tasks != ["click"]):
        raise UserError(
            f"`tasks` of `{name}` should be ['click'], its only label. "
            f"Received: `tasks` = {tasks}. Leave it out."
        )
    if name in LOGS:
        kinds = {"criteo": criteo.EXTENSIONS, "frappe": libfm.EXTENSIONS}
        logs.log_files(_log_folder(name, data_dir), kinds[name])
    elif hash_buckets is not None:
        raise _unused("hash_buckets", name, "has fields without names")


def _log_tasks(tasks: Sequence[str] | None) -> list[str]:
    return ["click"] if tasks is None else list(tasks)


def _load_log(
    name: str,
    data_dir: str | Path | None,
    tasks: Sequence[str] | None,
    hash_buckets: int | None,
    shares: Mapping[str, float],
) -> ExampleSplit:
    buckets = {} if hash_buckets is None else {"hash_buckets": hash_buckets}
    if name == "criteo":
        return criteo.load_criteo(
            _log_folder(name, data_dir), **buckets, **shares
        )
    if name != "frappe":
        path, task = Path(name).expanduser(), _log_tasks(tasks)[0]
        return libfm.load_libfm(
            path, name=path.name.split(".")[0], task=task, **shares
        )
    return libfm.load_libfm(
        _log_folder(name, data_dir),
        libfm.FRAPPE,
        name=name,
        user="user",
        item="item",
        **buckets,
        **shares,
    )


def _log_folder(name: str, data_dir: str | Path | None) -> Path:
    if data_dir is not None:
        own = Path(data_dir).expanduser()
        return own / name if (own / name).is_dir() else own
    folder = datasets.folder_of(name)
    if folder is None:
        raise UserError(
            f"`{name}` should be found in the data folder. Received: no "
            f"`data_dir`, and no folder `{name}` in the default ones. Give "
            "`data_dir`."
        )
    return folder


def _hash_ids(
    interactions: Interactions, hash_buckets: int | None
) -> Interactions:
    if hash_buckets is None:
        return interactions
    columns = [
        dataclasses.replace(column, hash_buckets=hash_buckets)
        if column.encoding is Encoding.ID
        else column
        for column in interactions.schema.columns
    ]
    return dataclasses.replace(interactions, schema=Schema(tuple(columns)))


def default_tasks(interactions: Interactions) -> list[str]:
    """The label itself where it is 0 or 1, otherwise "liked"."""
    label = interactions.schema.label
    if label is not None:
        values = interactions.events[label].dropna().to_numpy()
        if np.isin(values, (0, 1)).all():
            return [label]
    return [LIKED]


def _synthetic(
    made: Impressions,
    tasks: Sequence[str] | None,
    hash_buckets: int | None,
    cut: Mapping[str, Any],
    options: Mapping[str, Any],
) -> ExampleSplit:
    interactions = _hash_ids(made.interactions, hash_buckets)
    events = interactions.events
    # Which event a row is, whatever the split does to their order.
    numbered = events.assign(**{_ROW: np.arange(len(events), dtype=np.int32)})
    numbered = dataclasses.replace(interactions, events=numbered)
    parts: Split = split_for_ranking(numbered, **cut)
    if options.get("history_length") != 0:
        # An item that was shown and passed over was not taken.
        options = {"history_task": "click", **options}
    built = build_examples(interactions, parts, tasks or TASKS, **options)
    truth = {}
    for part in PARTS:
        rows = getattr(parts, part)[_ROW].to_numpy()
        truth[part] = {k: p[rows] for k, p in made.probabilities.items()}
    return dataclasses.replace(built, truth=truth)
