"""A known data set: how it is read, and where it comes from."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

from kd_tfrs.data.tables import Tables


@dataclasses.dataclass(frozen=True)
class Dataset:
    """A known data set, an entry of the `DATASETS` of a module of `sources`.

    Args:
        read: reads a folder.
        fetch: downloads the data set into a folder of the given one and
            returns it; `None` for data sets without an address of their own.
        archive: another name that the folder may have.
        is_complete: whether a folder has all files.

    Example:
    ```python
    DATASETS = {"amazon-book": Dataset(read)}
    ```
    """

    read: Callable[[Path], Tables]
    fetch: Callable[[Path, bool], Path] | None = None
    archive: str | None = None
    is_complete: Callable[[Path], bool] = Path.is_dir
