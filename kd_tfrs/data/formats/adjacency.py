"""Adjacency lists: a line is `user item item ...`, all of them integers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from kd_tfrs.data.formats import delimited
from kd_tfrs.errors import UserError

_MAX_DIGITS = 18  # more may not fit in 64 bits
_BLANK = np.zeros(256, dtype=bool)
_BLANK[list(b" \t\r\n")] = True
_DIGIT = np.zeros(256, dtype=bool)
_DIGIT[list(b"0123456789")] = True


def read_adjacency(path: str | Path) -> pd.DataFrame:
    """Reads one adjacency list.

    Args:
        path: a text file, possibly gzipped; users without an item are
            dropped, and several lines may have the same user.

    Returns:
        `[events]` rows of int64 `user_id` and `item_id`, in the file's order.

    Raises:
        UserError: when a line has values other than integers >= 0, or the
            file has no event.

    Example:
    ```python
    events = read_adjacency("amazon-book/test.txt")
    ```
    """
    path = Path(path)
    try:
        with delimited.open_binary(path) as file:
            data = file.read()
    except (OSError, EOFError) as error:
        raise delimited.unreadable(path, error) from error
    codes = np.frombuffer(data, dtype=np.uint8)
    blank = _BLANK[codes]
    wrong = ~(blank | _DIGIT[codes])
    if wrong.any():
        raise _not_integer(path, data, int(wrong.argmax()))
    starts, stops = _tokens(blank)
    too_long = stops - starts > _MAX_DIGITS
    if too_long.any():
        raise _not_integer(path, data, int(starts[too_long.argmax()]))
    events = _events(codes, starts, data)
    if events.empty:
        raise UserError(
            f"`{path}` should have lines of `user item item ...`. Received: no "
            f"line with an item. Give a file with data."
        )
    return events


def _tokens(blank: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Start and stop positions of every run of non-blank bytes."""
    padded = np.concatenate([[True], blank, [True]])
    change = np.diff(padded.view(np.int8))
    return np.flatnonzero(change == -1), np.flatnonzero(change == 1)


def _events(codes: np.ndarray, starts: np.ndarray, data: bytes) -> pd.DataFrame:
    values = np.fromstring(data.decode("ascii"), dtype=np.int64, sep=" ")
    ends = np.flatnonzero(codes == ord("\n"))
    lines = np.searchsorted(ends, starts)
    is_user = np.diff(lines, prepend=-1) > 0
    users = values[is_user][np.cumsum(is_user) - 1]
    frame = pd.DataFrame({"user_id": users, "item_id": values})
    return frame[~is_user].reset_index(drop=True)


def _not_integer(path: Path, data: bytes, position: int) -> UserError:
    line = data.count(b"\n", 0, position) + 1
    start = data.rfind(b"\n", 0, position) + 1
    left = data[start : position + 1].split()[-1]
    right = data[position + 1 :][:40].split(b"\n")[0]
    rest = b"" if right[:1].isspace() else right.split()[0] if right else b""
    token = (left + rest).decode("utf-8", "backslashreplace")
    return UserError(
        f"`{path}`, line {line}: an adjacency list should hold integers >= 0 "
        f"of at most {_MAX_DIGITS} digits, as `user item item ...`. Received: "
        f"{token!r}. Correct the line; name a table with a header .csv or .tsv."
    )
