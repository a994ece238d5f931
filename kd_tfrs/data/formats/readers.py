"""Reads tables from files: CSV, TSV, Parquet, JSON lines, adjacency lists."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

import pandas as pd
import pyarrow as pa
from tqdm.auto import tqdm

from kd_tfrs.data.formats import (
    adjacency,
    arrow,
    delimited,
    json_lines,
    parquet,
)
from kd_tfrs.errors import UserError

_FORMATS = {
    ".csv": "CSV",
    ".tsv": "TSV",
    ".inter": "typed TSV",
    ".user": "typed TSV",
    ".item": "typed TSV",
    ".parquet": "Parquet",
    ".pq": "Parquet",
    ".jsonl": "JSON lines",
    ".ndjson": "JSON lines",
    ".json": "JSON lines",
    ".txt": "adjacency lists",
    ".adj": "adjacency lists",
}
_NOT_DATA = ("readme", "license", "licence", "checksum", "metadata")


def format_of(path: Path) -> str | None:
    """Returns the name of a file's format by its extension, or None."""
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if suffixes and suffixes[-1] == ".gz":
        suffixes.pop()
    return _FORMATS.get(suffixes[-1]) if suffixes else None


def data_files(
    path: str | Path, *, leave_out: Collection[Path] = ()
) -> list[Path]:
    """Lists the files of a table: the file itself, or a folder's shards.

    Args:
        path: a file, or a folder with data files of one format; hidden files,
            `_SUCCESS`, README and similar files are ignored.
        leave_out: files of the folder that belong to other tables.

    Returns:
        At least one path, sorted by name.

    Raises:
        UserError: when there is no file, the extension is unknown, or a
            folder has files of several formats.

    Example:
    ```python
    data_files("events/")  # [part-0.parquet, part-1.parquet]
    ```
    """
    path = Path(path)
    if path.is_dir():
        files = [f for f in sorted(path.iterdir()) if _is_data(f, leave_out)]
        _check_shards(path, files)
        return files
    if not path.exists():
        raise UserError(
            f"`path` should be a file or folder. Received: `{path}`, which "
            f"does not exist. Check the spelling."
        )
    if format_of(path) is None:
        raise UserError(
            f"`{path}` should end in one of {_extensions()} (or that and .gz). "
            f"Received: {path.suffix or 'no extension'!r}. Rename or convert "
            f"the file."
        )
    return [path]


def _extensions() -> str:
    return ", ".join(_FORMATS)


def _is_data(path: Path, leave_out: Collection[Path]) -> bool:
    if path in leave_out:
        return False
    name = path.name.lower()
    hidden = name.startswith((".", "_", *_NOT_DATA))
    return path.is_file() and not hidden and format_of(path) is not None


def _check_shards(folder: Path, files: Sequence[Path]) -> None:
    if not files:
        raise UserError(
            f"`{folder}` should hold data files ({_extensions()}). Received: a "
            f"folder without one. Give the folder of the shards."
        )
    by_format = {format_of(file): file.name for file in files}
    if len(by_format) > 1:
        raise UserError(
            f"`{folder}` should hold shards of one format. Received: "
            f"{', '.join(f'{n} ({f})' for f, n in by_format.items())}. Keep "
            f"one format, or give one file."
        )


def column_names(path: Path) -> list[str]:
    """Returns a file's column names without reading its rows.

    Args:
        path: one file of a supported format.

    Returns:
        The names in the order of the file; for JSON lines those of the first
        row.

    Raises:
        UserError: when the file has no readable header.
    """
    kind = format_of(path)
    if kind == "Parquet":
        return parquet.column_names(path)
    if kind == "JSON lines":
        return json_lines.column_names(path)
    if kind == "adjacency lists":
        return ["user_id", "item_id"]
    names = delimited.read_header(path, "," if kind == "CSV" else "\t")
    if kind == "typed TSV":
        names = [name.split(":")[0] for name in names]
    return [name for name in names if name]


def read_table(
    path: str | Path | Sequence[Path],
    columns: Sequence[str] | None = None,
    *,
    text: Collection[str] | bool = (),
    progress: bool = False,
) -> pd.DataFrame:
    """Reads one table from one file or from shards.

    Args:
        path: a file, a folder of shards, or a list of files.
        columns: names to read; None reads all.
        text: names of columns of text files in which leading zeros matter,
            such as ids, or True for all. A column becomes integers only if
            every value is the text of an integer.
        progress: whether to show a progress bar for more than one file.

    Returns:
        The rows in the order of the files. Lists in a cell become text joined
        by "|".

    Raises:
        UserError: when a file cannot be read; the error names the line or
            the column.

    Example:
    ```python
    events = read_table("ratings.csv", ["uid", "movie"], text=["uid"])
    ```
    """
    many = isinstance(path, Sequence) and not isinstance(path, str)
    files = [Path(file) for file in path] if many else data_files(path)
    hide = not progress or len(files) == 1
    bar = tqdm(files, desc="reading", unit="file", disable=hide)
    tables = [arrow.flat(_read_file(file, columns, text)) for file in bar]
    try:
        table = pa.concat_tables(tables, promote_options="permissive")
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise UserError(
            f"Shards in `{files[0].parent}` should have columns of the same "
            f"types. Received: {error}. Convert them to one type."
        ) from error
    return arrow.to_frame(_natural(table, text, files[0]), text)


def _read_file(
    path: Path, columns: Sequence[str] | None, text: Collection[str] | bool
) -> pa.Table:
    names = column_names(path)
    missing = [name for name in columns or () if name not in names]
    # A field that is absent from the first JSON line may come later.
    if missing and format_of(path) != "JSON lines":
        raise arrow.missing_column(path, missing[0], names)
    kind = format_of(path)
    if kind == "Parquet":
        return parquet.read(path, columns)
    if kind == "JSON lines":
        return json_lines.read(path, columns)
    if kind == "adjacency lists":
        frame = adjacency.read_adjacency(path)
        return pa.Table.from_pandas(frame, preserve_index=False)
    if kind == "typed TSV":
        return _read_typed(path, columns)
    delimiter = "," if kind == "CSV" else "\t"
    return delimited.read_delimited(path, delimiter, columns=columns, text=text)


def _read_typed(path: Path, columns: Sequence[str] | None) -> pa.Table:
    """Reads a TSV with a header of `name:type` (RecBole's layout)."""
    raw = delimited.read_header(path, "\t")
    chosen = [
        name for name in raw if columns is None or name.split(":")[0] in columns
    ]
    tokens = [name for name in chosen if not name.endswith("float")]
    table = delimited.read_delimited(
        path, "\t", columns=chosen, text=tokens, quoted=False
    )
    return table.rename_columns([name.split(":")[0] for name in chosen])


def _natural(
    table: pa.Table, text: Collection[str] | bool, path: Path
) -> pa.Table:
    """Converts the columns in `text` to integers if all values are integers."""
    if format_of(path) in ("Parquet", "JSON lines"):
        return table  # these formats define types
    for position, field in enumerate(table.schema):
        selected = text is True or field.name in text
        if pa.types.is_string(field.type) and selected:
            column = arrow.as_integers(table.column(position))
            table = table.set_column(position, field.name, column)
    return table
