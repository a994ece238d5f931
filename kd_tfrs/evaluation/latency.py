"""How long an answer takes, and how many bytes a model is."""

from __future__ import annotations

import gzip
import io
import tarfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from kd_tfrs.errors import UserError
from kd_tfrs.evaluation.catalogue import check_k

_PERCENTILES = (50, 95, 99)


def measure_latency(
    call: Callable[[], object], *, warmup: int = 20, repeats: int = 200
) -> dict[str, float]:
    """Times a call.

    Args:
        call: takes nothing, and returns when the answer is there.
        warmup: calls that are made first and not counted.
        repeats: calls that are counted, at least 1.

    Returns:
        Percentiles "p50", "p95", "p99" in milliseconds.

    Raises:
        UserError: no repeats.

    Example:
    >>> sorted(measure_latency(lambda: None, warmup=1, repeats=3))
    ['p50', 'p95', 'p99']
    """
    check_k(repeats, "repeats")
    for _ in range(warmup):
        call()
    nanoseconds = np.empty(repeats)
    for i in range(repeats):
        start = time.perf_counter_ns()
        call()
        nanoseconds[i] = time.perf_counter_ns() - start
    found = np.percentile(nanoseconds / 1e6, _PERCENTILES)
    return {
        f"p{p}": float(value)
        for p, value in zip(_PERCENTILES, found, strict=True)
    }


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
