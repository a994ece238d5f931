"""Parquet shards of events, a block at a time: reading, counting, mixing."""

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
            rng: draws the order of the files, and that of the row groups of
                each; None leaves both as they are.
            max_rows: the most rows at a time, at least 1; beyond 65,536 it
                changes nothing.
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
    """Counts ids in memory that grows with the distinct ones alone.

    Example:
    >>> counts = IdCounts()
    >>> counts.add(pd.Series([7, 8, 7]))
    >>> counts.total().to_dict()
    {7: 2, 8: 1}
    """

    def __init__(self) -> None:
        self._parts: list[pd.Series] = []
        self._held = 0
        self._limit = _MERGE_IDS

    def add(self, ids: pd.Series) -> None:
        """Counts some more ids.

        Args:
            ids: `[n]` ids, none of them missing.
        """
        self._parts.append(ids.value_counts(sort=False))
        self._held += len(self._parts[-1])
        if self._held > self._limit:
            # Twice what is left, so that all merging together stays linear.
            self._limit = max(_MERGE_IDS, 2 * len(self.total()))

    def total(self) -> pd.Series:
        """How often each id was added.

        Returns:
            Counts with the distinct ids as their index, in no order.
        """
        merged = pd.concat(self._parts)
        merged = merged.groupby(level=0, sort=False).sum()
        self._parts, self._held = [merged], len(merged)
        return merged


def shuffled(
    blocks: Iterator[np.ndarray], window: int, rng: np.random.Generator
) -> Iterator[np.ndarray]:
    """Swaps every block that comes for as many random rows of a window.

    Args:
        blocks: arrays of one dtype, `[at most window, ...]`.
        window: how many rows are held, at least 1.
        rng: draws the rows.

    Yields:
        Arrays with the same rows in another order.

    Example:
    >>> blocks = np.arange(6).reshape(3, 2)
    >>> mixed = shuffled(iter(blocks), 4, np.random.default_rng(0))
    >>> sorted(np.concatenate(list(mixed)).tolist())
    [0, 1, 2, 3, 4, 5]
    """
    held, filled = None, 0
    for block in blocks:
        if held is None:
            held = np.empty((window, *block.shape[1:]), block.dtype)
        taken = min(len(block), window - filled)
        held[filled : filled + taken] = block[:taken]
        filled += taken
        rest = block[taken:]
        if len(rest):
            chosen = rng.choice(window, len(rest), replace=False)
            yield held[chosen]
            held[chosen] = rest
    if filled:
        yield held[rng.permutation(filled)]
