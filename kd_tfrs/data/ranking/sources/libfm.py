"""libFM's lines, `label index:value ...`, and Frappe's ten fields in them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from kd_tfrs.data.formats import delimited
from kd_tfrs.data.ranking.examples import Examples, ExampleSplit
from kd_tfrs.data.ranking.sources import logs
from kd_tfrs.data.schema import Column, Encoding, Owner
from kd_tfrs.errors import UserError

# How many values each field has: the first has the indices 0 to 956.
FRAPPE = MappingProxyType(
    {
        "user": 957,
        "item": 4082,
        "daytime": 7,
        "weekday": 7,
        "isweekend": 2,
        "homework": 3,
        "cost": 2,
        "weather": 9,
        "country": 80,
        "city": 233,
    }
)
_NUMBER = r"[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?"
_LINE = f"^{_NUMBER}(?:[ \t]+[0-9]{{1,15}}:{_NUMBER})+$"
EXTENSIONS = (".libfm", ".txt")

Fields = Mapping[str, int] | Sequence[str]


def read_libfm(
    path: str | Path, fields: Fields | None = None
) -> tuple[np.ndarray, pd.DataFrame]:
    """Reads one file of categorical fields.

    Args:
        path: lines of a label and of `index:1` for each value that the line
            has; ".gz" is unpacked on the way, empty lines are passed over.
        fields: sizes of fields by name: the first has the smallest indices,
            from 0 on, and so forth; a line may lack fields, in any order. Or
            names alone: a line has a value for each, in this order. When
            `None`, as names, "field_0" and so forth.

    Returns:
        The labels, `[n]` float32 as they are written, and the indices by
        field, `[n]` rows of integers, missing ones as NA.

    Raises:
        UserError: naming file and line, for a line of another form, a value
            other than 1, or an index of no field.

    Example:
    ```python
    labels, table = read_libfm("frappe.train.libfm", FRAPPE)
    ```
    """
    return _read(Path(path), fields)[:2]


def _read(
    path: Path, fields: Fields | None
) -> tuple[np.ndarray, pd.DataFrame, np.ndarray]:
    """Labels, fields, and the number of each row's line."""
    lines, numbers = _lines(path)
    counts = pc.count_substring(lines, ":").to_numpy()
    flat = np.fromstring(
        " ".join(lines.to_pylist()).replace(":", " "), np.float64, sep=" "
    )
    starts = np.cumsum(1 + 2 * counts) - (1 + 2 * counts)
    labels = flat[starts].astype(np.float32)
    pairs = np.delete(flat, starts).reshape(-1, 2)
    rows = np.repeat(np.arange(len(counts)), counts)
    _require(path, numbers[rows], pairs[:, 1] == 1, pairs[:, 1], "values", "1")
    indices = pairs[:, 0].astype(np.int64)
    if isinstance(fields, Mapping):
        table = _by_range(path, fields, rows, indices, numbers)
    else:
        table = _by_place(path, fields, counts, indices, numbers)
    return labels, table, numbers


def _lines(path: Path) -> tuple[pa.Array, np.ndarray]:
    """The lines that are not empty, and their numbers from 1."""
    try:
        delimited.check_utf8(path)
        with delimited.open_binary(path) as file:
            text = file.read().decode("utf-8-sig")
    except (OSError, EOFError) as error:
        raise delimited.unreadable(path, error) from error
    lines = pc.split_pattern(pa.array([text], pa.large_string()), "\n")
    lines = pc.utf8_trim_whitespace(lines.flatten())
    numbers = np.flatnonzero(pc.not_equal(lines, "").to_numpy(False)) + 1
    lines = lines.take(numbers - 1)
    if not len(lines):
        raise UserError(
            f"`{path}` should have lines of `label index:value ...`. Received: "
            "an empty file. Give a file with data."
        )
    good = pc.match_substring_regex(lines, _LINE).to_numpy(False)
    if not good.all():
        row = int(good.argmin())
        raise UserError(
            f"`{path}`, line {numbers[row]}: a line should be `label "
            f"index:value ...`. Received: {lines[row].as_py()[:80]!r}. Correct "
            "the line."
        )
    return lines, numbers


def _require(
    path: Path,
    lines: np.ndarray,
    good: np.ndarray,
    received: np.ndarray,
    what: str,
    wanted: str,
) -> None:
    if not good.all():
        row = int(good.argmin())
        raise UserError(
            f"`{path}`, line {lines[row]}: {what} should be {wanted}. "
            f"Received: {received[row]:g}. Correct the line, or give the "
            "fields that the file has."
        )


def _by_range(
    path: Path,
    fields: Mapping[str, int],
    rows: np.ndarray,
    indices: np.ndarray,
    numbers: np.ndarray,
) -> pd.DataFrame:
    ends = np.cumsum(list(fields.values()))
    wanted = f"below {ends[-1]}, the size of all fields"
    lines = numbers[rows]
    _require(path, lines, indices < ends[-1], indices, "indices", wanted)
    field = np.searchsorted(ends, indices, side="right")
    places = rows * len(fields) + field
    first = ~pd.Series(places).duplicated().to_numpy()
    _require(path, lines, first, indices, "indices", "one for each field")
    cells = np.full((len(numbers), len(fields)), -1, np.int64)
    cells.reshape(-1)[places] = indices
    return pd.DataFrame(
        {name: _maybe_missing(cells[:, i]) for i, name in enumerate(fields)}
    )


def _maybe_missing(cells: np.ndarray) -> np.ndarray | pd.arrays.IntegerArray:
    missing = cells < 0
    return pd.arrays.IntegerArray(cells, missing) if missing.any() else cells


def _by_place(
    path: Path,
    fields: Sequence[str] | None,
    counts: np.ndarray,
    indices: np.ndarray,
    numbers: np.ndarray,
) -> pd.DataFrame:
    if fields is None:
        fields = _places(counts[0])
    good = counts == len(fields)
    wanted = f"{len(fields)}, one for each field"
    _require(path, numbers, good, counts, "the number of values", wanted)
    cells = indices.reshape(len(counts), len(fields))
    return pd.DataFrame(cells, columns=list(fields))


def load_libfm(
    path: str | Path,
    fields: Fields | None = None,
    *,
    name: str = "libfm",
    user: str | None = None,
    item: str | None = None,
    task: str = "click",
    hash_buckets: int | None = None,
    validation: float = 0.1,
    test: float = 0.1,
) -> ExampleSplit:
    """Reads files of libFM as examples.

    Args:
        path: one file, or a folder of files with .libfm or .txt, of which
            those named train, validation and test are the parts, each of
            one file or of several. Without such names all is cut by order.
        fields: see `read_libfm`.
        name: what the data are called.
        user: the field of the user ids, which no line may lack, or None.
        item: the field of the item ids, likewise.
        task: what the labels are called. Those of "click" become 1 where they
            are above 0 and 0 elsewhere; others stay as they are written.
        hash_buckets: into which the ids of users and items are hashed; None
            gives every id of the training rows an embedding of its own.
        validation: share of the lines to validate where it is not given.
        test: share of the lines to test where it is not given.

    Returns:
        Examples without histories.

    Raises:
        UserError: naming file and line, for whatever cannot be read.

    Example:
    ```python
    parts = load_libfm(
        "data/frappe", FRAPPE, name="frappe", user="user", item="item"
    )
    ```
    """
    files = logs.log_files(Path(path), EXTENSIONS)
    owners = {user: Owner.USER, item: Owner.ITEM}
    binary = task == "click"

    def column(field: str) -> Column:
        if field in owners:
            buckets = {"hash_buckets": hash_buckets}
            return Column(field, owners[field], Encoding.ID, **buckets)
        return Column(field, Owner.EVENT, Encoding.CATEGORY)

    ids = [name for name in (user, item) if name is not None]
    by_part = logs.by_part(files)
    # What is learned from has the fields that all files should have.
    first = by_part.get("train", files)[0]
    names = fields if fields is not None else _names(first)
    _check_ids(ids, names)

    def read(some: list[Path]) -> Examples:
        parts = [_with_ids(file, names, ids) for file in some]
        table = logs.concatenate([frame for _, frame in parts])
        labels = np.concatenate([values for values, _ in parts])
        return Examples(
            table=table,
            columns=tuple(column(field) for field in table.columns),
            labels={task: np.float32(labels > 0) if binary else labels},
            weights=np.ones(len(table), np.float32),
            groups=None if user is None else table[user].to_numpy(),
            items=None if item is None else table[item].to_numpy(),
        )

    return logs.read_parts(name, by_part, files, read, validation, test)


def _names(path: Path) -> list[str]:
    """Names for the fields of a file that has none, by its first line."""
    try:
        lines = (line for _, line in delimited.numbered_lines(path))
        first = next((line for line in lines if line.strip()), b"")
    except (OSError, EOFError) as error:
        raise delimited.unreadable(path, error) from error
    return _places(first.count(b":"))


def _places(count: int) -> list[str]:
    return [f"field_{place}" for place in range(count)]


def _check_ids(ids: Sequence[str], fields: Fields) -> None:
    wrong = [name for name in ids if name not in fields]
    if wrong or len({*ids}) < len(ids):
        raise UserError(
            "`user` and `item` should be different fields. Received: "
            f"{(wrong or ids)[0]!r} with the fields {', '.join(fields)}. Name "
            "one of these."
        )


def _with_ids(
    path: Path, fields: Fields, ids: Sequence[str]
) -> tuple[np.ndarray, pd.DataFrame]:
    """Reads a file whose lines all say who is shown what."""
    labels, table, numbers = _read(path, fields)
    for name in ids:
        missing = table[name].isna().to_numpy()
        if missing.any():
            raise UserError(
                f"`{path}`, line {numbers[missing.argmax()]}: a line should "
                f"have a value of the field {name}, which is an id. Received: "
                f"none (lines like it: {missing.sum()}). Correct the line, or "
                "do not name the field as an id."
            )
    return labels, table
