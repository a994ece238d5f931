"""Parquet files and shards, whole or streamed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.dataset as pa_dataset
import pyarrow.parquet as pq

from kd_tfrs.data.formats import arrow
from kd_tfrs.errors import UserError

_BUFFER_BYTES = 1 << 20


def column_names(path: Path) -> list[str]:
    """Returns the column names in a file's footer.

    Raises:
        UserError: when the file is not complete, or a name is repeated.
    """
    try:
        names = pq.read_schema(path).names
    except (pa.ArrowException, OSError) as error:
        raise _bad_parquet(path, error) from error
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise UserError(
            f"`{path}` should have column names that differ. Received: "
            f"`{twice[0]}` more than once. Rename one of them."
        )
    return names


def _bad_parquet(path: Path, error: Exception) -> UserError:
    return UserError(
        f"`{path}` should be a complete Parquet file. Received: "
        f"{str(error)[:150]} (empty, cut short or of another format). Write "
        f"or copy it again."
    )


def read(path: Path, columns: Sequence[str] | None) -> pa.Table:
    """Reads the given columns of one file.

    Args:
        path: a Parquet file.
        columns: names to read; None reads all.

    Returns:
        An Arrow table with at least one row.

    Raises:
        UserError: when the file cannot be read to its end or has no row.
    """
    try:
        source = pa_dataset.dataset(str(path), format="parquet")
        table = source.to_table(columns=list(columns) if columns else None)
    except (pa.ArrowException, OSError) as error:
        raise _bad_parquet(path, error) from error
    if not len(table):
        raise UserError(
            f"`{path}` should have at least one row. Received: no row. Give a "
            f"file with data."
        )
    return table


def num_rows(path: Path) -> int:
    """Returns the number of rows in a file's footer.

    Raises:
        UserError: when the file is not complete.
    """
    try:
        return pq.read_metadata(path).num_rows
    except (pa.ArrowException, OSError) as error:
        raise _bad_parquet(path, error) from error


def shuffled_batches(
    path: Path,
    columns: Sequence[str],
    batch_rows: int,
    rng: np.random.Generator | None = None,
) -> Iterator[pd.DataFrame]:
    """Streams one file with its row groups in a random order.

    Nothing is prefetched: memory holds a page of each column and one batch,
    independently of the size of the row groups.

    Args:
        path: a Parquet file.
        columns: names to read.
        batch_rows: maximum number of rows per frame, at least 1.
        rng: draws the order; None keeps the order of the file.

    Yields:
        Frames of at most `batch_rows` rows; the rows of a row group are in
        the order of the file.

    Raises:
        UserError: when the file cannot be read to its end.
    """
    try:
        with pq.ParquetFile(path, buffer_size=_BUFFER_BYTES) as file:
            groups = np.arange(file.num_row_groups)
            if rng is not None:
                groups = rng.permutation(groups)
            for batch in file.iter_batches(
                batch_rows, row_groups=groups.tolist(), columns=list(columns)
            ):
                if len(batch):
                    yield arrow.flat(pa.Table.from_batches([batch])).to_pandas()
    except (pa.ArrowException, OSError) as error:
        raise _bad_parquet(path, error) from error
