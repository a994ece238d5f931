"""How many bytes a file or a folder is, plain and compressed."""

from __future__ import annotations

import gzip
import io
import tarfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from kd_tfrs.errors import UserError


def size_bytes(path: str | Path) -> int:
    """Adds up the bytes of a file, or of all files below a folder.

    Args:
        path: the file or folder.

    Returns:
        Bytes.

    Raises:
        UserError: nothing is there.

    Example:
    ```python
    size_bytes("runs/first/export/1")
    ```
    """
    return sum(file.stat().st_size for file in _files(path))


def size_bytes_gzip(path: str | Path) -> int:
    """Bytes of a file or folder as one tar.gz, the same on every machine.

    Names are relative and sorted; times, owners and modes are left out.

    Args:
        path: the file or folder.

    Returns:
        Bytes.

    Raises:
        UserError: nothing is there.

    Example:
    ```python
    size_bytes_gzip("runs/first/export/1")
    ```
    """
    path = Path(path)
    counter = _Counter()
    with (
        gzip.GzipFile("", "wb", fileobj=counter, mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w|") as archive,
    ):
        for file in _files(path):
            name = file.relative_to(path) if file != path else file.name
            entry = tarfile.TarInfo(str(name))
            entry.size = file.stat().st_size
            with file.open("rb") as content:
                archive.addfile(entry, content)
    return counter.count


def folder_size(path: str | Path) -> dict[str, int]:
    """Bytes of a file or folder, plain and as one tar.gz.

    Args:
        path: the file or folder.

    Returns:
        "size_bytes" and "size_bytes_gzip".
    """
    return {
        "size_bytes": size_bytes(path),
        "size_bytes_gzip": size_bytes_gzip(path),
    }


def parameters(weights: Sequence[np.ndarray]) -> dict[str, int]:
    """Number of weights, and of those that are not zero.

    Example:
    >>> parameters([np.array([1.0, 0.0])])
    {'parameters': 2, 'nonzero_parameters': 1}
    """
    return {
        "parameters": int(sum(w.size for w in weights)),
        "nonzero_parameters": int(sum(np.count_nonzero(w) for w in weights)),
    }


class _Counter(io.RawIOBase):
    """A sink that keeps the number of bytes only: models can be large."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def writable(self) -> bool:
        return True

    def write(self, data: bytes) -> int:
        self.count += len(data)
        return len(data)


def _files(path: str | Path) -> list[Path]:
    path = Path(path)
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise UserError(
            f"`path` should be a file or a folder. Received: {path}, where "
            "nothing is. Check the spelling."
        )
    return sorted(file for file in path.rglob("*") if file.is_file())
