"""Reads JSON lines, with one object per line."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.json as pa_json

from kd_tfrs.data.formats import arrow, delimited
from kd_tfrs.errors import UserError


def column_names(path: Path) -> list[str]:
    """Returns the field names of the first object.

    Raises:
        UserError: when the first line is not a JSON object, or is missing.
    """
    try:
        for number, line in delimited.numbered_lines(path):
            if line.strip():
                return list(_json_object(path, number, line))
    except (OSError, EOFError) as error:
        raise delimited.unreadable(path, error) from error
    raise UserError(
        f"`{path}` should have one JSON object a line. Received: an empty "
        f"file. Give a file with data."
    )


def _check_lines(path: Path) -> None:
    try:
        delimited.check_utf8(path)
        for number, line in delimited.numbered_lines(path):
            if line.strip():
                _json_object(path, number, line)
    except (OSError, EOFError) as error:
        raise delimited.unreadable(path, error) from error


def _json_object(path: Path, number: int, line: bytes) -> dict:
    try:
        value = json.loads(line)
    except UnicodeDecodeError:
        delimited.check_utf8(path)
        raise
    except ValueError:
        value = None
    if not isinstance(value, dict):
        start = line[:60].decode("utf-8", "backslashreplace")
        raise UserError(
            f"`{path}`, line {number}: every line should be one JSON object. "
            f"Received: {start!r}. Correct the line; an array of objects has "
            f"to be written one object a line."
        )
    return value


def read(path: Path, columns: Sequence[str] | None) -> pa.Table:
    """Reads one file of JSON lines.

    Args:
        path: the file, possibly gzipped.
        columns: names to keep; None keeps all.

    Returns:
        An Arrow table; a field that a line lacks is null.

    Raises:
        UserError: when a line cannot be parsed or a field is missing.
    """
    try:
        with delimited.open_binary(path) as file:
            table = pa_json.read_json(file)
        table.validate(full=True)  # the parser lets broken UTF-8 through
    except (pa.ArrowException, OSError, EOFError) as error:
        _check_lines(path)
        raise UserError(
            f"`{path}` should have one type in each field. Received: "
            f"{str(error)[:200]}. Write the field alike in every line."
        ) from error
    for name in columns or ():
        if name not in table.column_names:
            raise arrow.missing_column(path, name, table.column_names)
    return table.select(list(columns)) if columns else table
