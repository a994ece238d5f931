"""Parquet shards of events in blocks: reading, counting, shuffling."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from kd_tfrs.data.formats import parquet, readers
from kd_tfrs.data.formats.arrow import missing_column
from kd_tfrs.errors import UserError

Paths = str | Path | Sequence[Path]

_BLOCK_ROWS = 65_536
_MERGE_IDS = 200_000


class Shards:
    """The same columns of one or many Parquet files.

    Args:
        path: a Parquet file, a folder of shards, or a list of files.
        columns: names to read.

    Raises:
        UserError: when a file is not a complete Parquet file, lacks a column,
            or there is no row.

    Example:
    ```python
    shards = Shards("events/", ["user_id", "item_id"])
    for file, frame in shards.blocks(np.random.default_rng(0)):
        ...
    ```
    """

    def __init__(self, path: Paths, columns: Sequence[str]) -> None:
        many = isinstance(path, Sequence) and not isinstance(path, str)
        files = path if many else readers.data_files(path)
        self.files = [Path(file) for file in files]
        self.columns = list(columns)
        for file in self.files:
            _check_file(file, self.columns)
        self.num_rows = sum(parquet.num_rows(file) for file in self.files)
        if not self.num_rows:
            raise UserError(
                f"`{path}` should hold at least one event. Received: "
                f"{len(self.files)} shards without a row. Check the path."
            )

    def blocks(
        self,
        rng: np.random.Generator | None = None,
        max_rows: int = _BLOCK_ROWS,
        progress: bool = False,
    ) -> Iterator[tuple[Path, pd.DataFrame]]:
        """Reads all rows once.

        Args:
            rng: draws the order of the files and of the row groups of each
                file; None keeps both orders.
            max_rows: maximum number of rows per frame, at least 1 and limited
                to 65,536.
            progress: whether to show a bar.

        Yields:
            A file and the next frame of its rows.

        Raises:
            UserError: when a file cannot be read to its end.
        """
        order = np.arange(len(self.files))
        if rng is not None:
            order = rng.permutation(order)
        rows = min(max_rows, _BLOCK_ROWS)
        with tqdm(
            total=self.num_rows,
            desc="reading",
            unit="row",
            unit_scale=True,
            disable=not progress,
        ) as bar:
            for file in (self.files[i] for i in order):
                for frame in parquet.shuffled_batches(
                    file, self.columns, rows, rng
                ):
                    yield file, frame
                    bar.update(len(frame))


def _check_file(file: Path, columns: Sequence[str]) -> None:
    if readers.format_of(file) != "Parquet":
        raise UserError(
            f"`{file}` should be a Parquet file, to be streamed. Received: "
            f"{file.suffix!r}. Convert it, or load it whole."
        )
    names = parquet.column_names(file)
    for name in columns:
        if name not in names:
            raise missing_column(file, name, names)


class IdCounts:
    """Counts ids, in memory proportional to the number of distinct ids.

    Example:
    >>> counts = IdCounts()
    >>> counts.add(pd.Series([7, 8, 7]))
    >>> counts.total().to_dict()
    {7: 2, 8: 1}
    """

    def __init__(self) -> None:
        self._parts: list[pd.Series] = []
        self._size = 0
        self._limit = _MERGE_IDS

    def add(self, ids: pd.Series) -> None:
        """Adds ids to the counts.

        Args:
            ids: `[n]` ids without missing values.
        """
        self._parts.append(ids.value_counts(sort=False))
        self._size += len(self._parts[-1])
        if self._size > self._limit:
            # Doubling the limit keeps the total time of merging linear.
            self._limit = max(_MERGE_IDS, 2 * len(self.total()))

    def total(self) -> pd.Series:
        """How often each id was added."""
        merged = pd.concat(self._parts)
        merged = merged.groupby(level=0, sort=False).sum()
        self._parts, self._size = [merged], len(merged)
        return merged


def shuffled(
    blocks: Iterator[np.ndarray], window: int, rng: np.random.Generator
) -> Iterator[np.ndarray]:
    """Shuffles rows within a window that slides over the blocks.

    Args:
        blocks: arrays of one dtype, `[at most window, ...]`.
        window: number of rows in the window, at least 1.
        rng: draws the rows.

    Yields:
        Arrays with the same rows in another order.

    Example:
    >>> blocks = np.arange(6).reshape(3, 2)
    >>> mixed = shuffled(iter(blocks), 4, np.random.default_rng(0))
    >>> sorted(np.concatenate(list(mixed)).tolist())
    [0, 1, 2, 3, 4, 5]
    """
    buffer, filled = None, 0
    for block in blocks:
        if buffer is None:
            buffer = np.empty((window, *block.shape[1:]), block.dtype)
        count = min(len(block), window - filled)
        buffer[filled : filled + count] = block[:count]
        filled += count
        remaining = block[count:]
        if len(remaining):
            chosen = rng.choice(window, len(remaining), replace=False)
            yield buffer[chosen]
            buffer[chosen] = remaining
    if filled:
        yield buffer[rng.permutation(filled)]
