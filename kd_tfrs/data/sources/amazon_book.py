"""Reads amazon-book: purchases of books, as adjacency lists of LightGCN."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from kd_tfrs.data.formats.adjacency import read_adjacency
from kd_tfrs.data.sources.citeulike import SCHEMA
from kd_tfrs.data.sources.dataset import Dataset
from kd_tfrs.data.tables import Tables
from kd_tfrs.errors import UserError

_FILES = ("train.txt", "test.txt")


def read(folder: str | Path) -> Tables:
    """Reads `train.txt` and `test.txt`, if present, as one table.

    The release has no validation part, so its split is not used: split the
    events anew.

    Raises:
        UserError: when both files are missing, or a line is broken.

    Example:
    ```python
    tables = read("data/amazon-book")
    ```
    """
    folder = Path(folder)
    paths = [folder / name for name in _FILES if (folder / name).exists()]
    if not paths:
        raise UserError(
            f"`{folder}` should hold {' or '.join(_FILES)}. Received: neither. "
            f"Put LightGCN's release of amazon-book there."
        )
    events = pd.concat(map(read_adjacency, paths), ignore_index=True)
    return Tables(events, None, None, SCHEMA)


DATASETS = {"amazon-book": Dataset(read)}
