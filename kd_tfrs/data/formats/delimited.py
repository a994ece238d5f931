"""Reads text tables (CSV, TSV and similar) into Arrow.

Errors of Arrow's parser name neither the file nor the line. When parsing fails,
this module locates the line and raises an error that names both.
"""

from __future__ import annotations

import csv
import gzip
import io
import re
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa
import pyarrow.csv as pa_csv

from kd_tfrs.errors import UserError

_DELIMITERS = {",": "commas", "\t": "tabs", ";": "semicolons", "|": "bars"}


def open_binary(path: Path) -> BinaryIO:
    """Opens a file for reading bytes, through gzip if its name ends so."""
    return gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb")


def numbered_lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """Yields (line number from 1, bytes of the line without its end)."""
    with open_binary(path) as file:
        for number, line in enumerate(file, start=1):
            yield number, line.rstrip(b"\r\n")


def check_utf8(path: Path) -> None:
    """Raises `UserError` naming line and byte if a file is not UTF-8.

    Raises:
        UserError: at the first byte that is not UTF-8.
    """
    for number, line in numbered_lines(path):
        if number == 1 and line[:2] in (b"\xff\xfe", b"\xfe\xff"):
            raise UserError(
                f"`{path}` should be UTF-8 text. Received: line 1, byte 1 is "
                f"the mark of UTF-16. Save the file as UTF-8."
            )
        try:
            line.decode("utf-8")
        except UnicodeDecodeError as error:
            raise UserError(
                f"`{path}` should be UTF-8 text. Received: line {number}, "
                f"byte {error.start + 1} is 0x{line[error.start]:02x}. Save "
                f"the file as UTF-8 (for example `iconv -f latin1 -t utf-8`)."
            ) from error


def read_header(path: Path, delimiter: str) -> list[str]:
    """Returns the column names in the first line of a text table.

    Raises:
        UserError: for an empty file, another delimiter, duplicate names or
            bytes that are not UTF-8.

    Example:
    ```python
    names = read_header(Path("ratings.csv"), ",")
    ```
    """
    try:
        first = next((line for _, line in numbered_lines(path) if line), b"")
    except (OSError, EOFError) as error:
        raise unreadable(path, error) from error
    if not first.strip():
        raise UserError(
            f"`{path}` should have a header line and rows. Received: an empty "
            f"file. Give a file with data."
        )
    try:
        text = first.decode("utf-8-sig")
    except UnicodeDecodeError:
        check_utf8(path)
        raise
    names = next(csv.reader([text], delimiter=delimiter))
    names = [name.strip() for name in names]
    _check_header(path, names, delimiter)
    return names


def _check_header(path: Path, names: list[str], delimiter: str) -> None:
    others = [d for d in _DELIMITERS if d != delimiter and d in names[0]]
    if len(names) == 1 and others:
        raise UserError(
            f"`{path}`, line 1: columns should be separated by "
            f"{_DELIMITERS.get(delimiter, repr(delimiter))}. Received: "
            f"{names[0]!r}, which looks separated by {_DELIMITERS[others[0]]}. "
            f"Save it as comma-separated .csv or tab-separated .tsv."
        )
    twice = [n for n, count in Counter(names).items() if n and count > 1]
    if twice:
        raise UserError(
            f"`{path}`, line 1: column names should differ. Received: "
            f"`{twice[0]}` more than once in {names}. Rename one of them."
        )


def read_delimited(
    path: Path,
    delimiter: str,
    *,
    columns: Sequence[str] | None = None,
    names: Sequence[str] | None = None,
    text: Collection[str] | bool = (),
    encoding: str = "utf8",
    quoted: bool = True,
) -> pa.Table:
    """Reads one text table.

    Args:
        path: the file; a ".gz" file is decompressed.
        delimiter: separator of columns, one character or "::".
        columns: names to read; None reads all that have a name.
        names: column names of a file without a header line.
        text: names of columns to keep as text, or True for all of them; the
            types of the others are inferred.
        encoding: of the bytes; anything else than "utf8" is recoded.
        quoted: whether double quotes protect delimiters.

    Returns:
        An Arrow table with at least one row.

    Raises:
        UserError: when the file cannot be read; the error names the line.

    Example:
    ```python
    table = read_delimited(Path("ratings.csv"), ",", text={"userId"})
    ```
    """
    header = list(names) if names else read_header(path, delimiter)
    selected = (
        list(columns) if columns is not None else [n for n in header if n]
    )
    as_text = selected if text is True else [n for n in selected if n in text]
    parse = pa_csv.ParseOptions(
        delimiter="\t" if delimiter == "::" else delimiter,
        quote_char='"' if quoted else False,
        # Costs little, and titles and reviews do hold line breaks.
        newlines_in_values=quoted,
    )
    convert = pa_csv.ConvertOptions(
        include_columns=selected,
        column_types=dict.fromkeys(as_text, pa.string()),
        strings_can_be_null=True,
    )
    table = _parse(path, header, names is None, parse, convert, encoding)
    binary = any(pa.types.is_binary(field.type) for field in table.schema)
    if binary:  # this is how Arrow infers text that is not UTF-8
        check_utf8(path)
    if not len(table):
        raise UserError(
            f"`{path}` should have at least one row below its header. "
            f"Received: no row. Give a file with data."
        )
    return table


def _parse(
    path: Path,
    names: list[str],
    has_header: bool,
    parse: pa_csv.ParseOptions,
    convert: pa_csv.ConvertOptions,
    encoding: str,
    threads: bool = True,
) -> pa.Table:
    read = pa_csv.ReadOptions(
        column_names=_unnamed(names),
        skip_rows=int(has_header),
        encoding=encoding,
        use_threads=threads,
    )
    try:
        return pa_csv.read_csv(_source(path), read, parse, convert)
    except pa.ArrowInvalid as error:
        if encoding == "utf8":
            check_utf8(path)
        if threads:  # only the single-threaded parser counts rows
            return _parse(
                path, names, has_header, parse, convert, encoding, False
            )
        raise _broken(path, error, has_header) from error
    except (OSError, EOFError) as error:
        raise unreadable(path, error) from error


def unreadable(path: Path, error: Exception) -> UserError:
    """Returns the error for a file that breaks off or cannot be opened."""
    return UserError(
        f"`{path}` should be readable to its end. Received: {error}. Copy or "
        f"download the file again, and check that it may be read."
    )


def _unnamed(names: list[str]) -> list[str]:
    """Names unnamed columns, such as a saved index, by an unused name."""
    return [name or f"\0{position}" for position, name in enumerate(names)]


def _source(path: Path) -> str | io.BytesIO:
    # Arrow supports one-character delimiters only; "::" is MovieLens 1M's.
    if path.suffix == ".dat":
        return io.BytesIO(path.read_bytes().replace(b"::", b"\t"))
    return str(path)


def _broken(path: Path, error: Exception, has_header: bool) -> UserError:
    match = re.search(r"Row #(\d+): (.*)", str(error), re.DOTALL)
    if not match:
        return UserError(
            f"`{path}` should be a table of text. Received: {error}. Check "
            f"the file's format and delimiter."
        )
    row = int(match[1])
    header = " (the header is row 1)" if has_header else ""
    return UserError(
        f"`{path}`, row {row}{header}: every row should have the same "
        f"columns. Received: {match[2][:120]}. Correct the row, or quote text "
        f"that holds the delimiter."
    )
