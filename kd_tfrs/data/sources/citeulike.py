"""Reads folders of given splits (train, validation, test), as of CiteULike."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pandas as pd

from kd_tfrs.data.formats import readers
from kd_tfrs.data.schema import Column, Encoding, Owner, Schema
from kd_tfrs.data.sources.dataset import Dataset
from kd_tfrs.data.tables import Tables

SPLIT_NAMES = {
    "train": "train",
    "training": "train",
    "valid": "validation",
    "val": "validation",
    "validation": "validation",
    "test": "test",
}

SCHEMA = Schema(
    (
        Column("user_id", Owner.USER, Encoding.ID),
        Column("item_id", Owner.ITEM, Encoding.ID),
    )
)


def split_files(folder: Path) -> dict[str, Path] | None:
    """Finds the files of given splits.

    Args:
        folder: any folder.

    Returns:
        Paths by "train", "validation" and "test" in this order (one of the
        latter two may be missing), or None when the folder has no files of
        these names.
    """
    paths = {}
    for path in sorted(folder.iterdir()):
        name = SPLIT_NAMES.get(path.name.split(".")[0].lower())
        if name and readers.format_of(path):
            paths[name] = path
    if "train" not in paths or len(paths) < 2:
        return None
    order = ("train", "validation", "test")
    return {name: paths[name] for name in order if name in paths}


def read_splits(
    files: dict[str, Path], read: Callable[[Path], pd.DataFrame]
) -> dict[str, pd.DataFrame]:
    """Reads every split with the same reader."""
    return {name: read(path) for name, path in files.items()}


def read(folder: str | Path) -> Tables:
    """Reads `train.tsv`, `valid.tsv` and `test.tsv` with user and item ids.

    Raises:
        UserError: when a file is missing or broken.

    Example:
    ```python
    tables = read("data/citeulike-full")
    ```
    """
    names = ["user_id", "item_id"]
    folder = Path(folder)
    files = split_files(folder) or {
        "train": folder / "train.tsv",
        "validation": folder / "valid.tsv",
        "test": folder / "test.tsv",
    }
    splits = read_splits(
        files,
        lambda path: readers.read_table(path, names, text=names),
    )
    return Tables(splits, None, None, SCHEMA)


DATASETS = dict.fromkeys(("citeulike-full", "citeulike-loo"), Dataset(read))
