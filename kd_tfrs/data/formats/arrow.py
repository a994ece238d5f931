"""Functions on Arrow tables that all readers share."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from kd_tfrs.errors import UserError


def missing_column(path: Path, name: str, names: Sequence[str]) -> UserError:
    """Returns the error for a file without a named column."""
    return UserError(
        f"`{path}` should have a column `{name}`. Received: columns "
        f"{list(names)}. Name the right column."
    )


def flat(table: pa.Table) -> pa.Table:
    """Turns lists, dictionaries, decimals and dates into plain columns.

    Args:
        table: any table. Lists become text joined by "|"; columns of records
            or maps, which no encoding supports, are dropped.

    Returns:
        A table of numbers, text, booleans and timestamps.
    """
    for name in table.column_names:
        position = table.column_names.index(name)
        column = _flat_column(table.column(position))
        if column is None:
            table = table.remove_column(position)
        else:
            table = table.set_column(position, name, column)
    return table


def _flat_column(column: pa.ChunkedArray) -> pa.ChunkedArray | None:
    kind = column.type
    if pa.types.is_dictionary(kind):
        return column.cast(kind.value_type)
    if pa.types.is_decimal(kind):
        return column.cast(pa.float64())
    if pa.types.is_date(kind):
        return column.cast(pa.timestamp("s"))
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        if pa.types.is_nested(kind.value_type):
            return None
        return pc.binary_join(column.cast(pa.list_(pa.string())), "|")
    return None if pa.types.is_nested(kind) else column


def as_integers(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Casts text to int64 if this does not change the text of any value.

    Args:
        column: text; surrounding blanks are cut, blank values become null.

    Returns:
        int64, or the text where some value is not a plain integer ("007").
    """
    column = pc.utf8_trim_whitespace(column)
    column = pc.if_else(pc.equal(column, ""), None, column)
    try:
        numbers = column.cast(pa.int64())
    except pa.ArrowInvalid:
        return column
    same = pc.all(pc.equal(numbers.cast(pa.string()), column))
    return numbers if same.as_py() in (True, None) else column


def to_frame(table: pa.Table, ids: Collection[str] | bool) -> pd.DataFrame:
    """Converts a table to a frame that keeps integer ids with missing values.

    Args:
        table: columns without nesting.
        ids: names of integer columns that must not become floats, which
            would change ids beyond 2^53; a bool names none.

    Returns:
        A frame; an id column with missing values has Python integers and None.
    """
    frame = table.to_pandas()
    for name in () if isinstance(ids, bool) else ids:
        if name in table.column_names:
            column = table.column(name)
            if pa.types.is_integer(column.type) and column.null_count:
                frame[name] = column.to_pandas(integer_object_nulls=True)
    return frame
