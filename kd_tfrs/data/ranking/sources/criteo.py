"""Criteo's display advertising logs: 13 integers, 26 hashed categories."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from kd_tfrs.data.formats import delimited
from kd_tfrs.data.ranking.examples import Examples, ExampleSplit
from kd_tfrs.data.ranking.sources import logs
from kd_tfrs.data.schema import Column, Encoding, Owner
from kd_tfrs.errors import UserError

TASK = "click"
NUMBERS = tuple(f"I{place}" for place in range(1, 14))
CATEGORIES = tuple(f"C{place}" for place in range(1, 27))
DEFAULT_HASH_BUCKETS = 1 << 14
_LABEL = "label"
EXTENSIONS = (".txt", ".tsv", "")
_HEXADECIMAL = "^[0-9a-fA-F]{1,16}$"


def criteo_columns(
    hash_buckets: int = DEFAULT_HASH_BUCKETS,
) -> tuple[Column, ...]:
    """The 39 features."""
    numbers = (Column(n, Owner.EVENT, Encoding.NUMBER) for n in NUMBERS)
    categories = (
        Column(n, Owner.EVENT, Encoding.CATEGORY, hash_buckets=hash_buckets)
        for n in CATEGORIES
    )
    return (*numbers, *categories)


def signed_log(values: np.ndarray) -> np.ndarray:
    r"""Squeezes counts with long tails: $\mathrm{sign}(x) \log(1 + |x|)$.

    Args:
        values: `[n]` numbers, NaN where missing.

    Returns:
        `[n]`, NaN where missing.

    Example:
    >>> signed_log(np.array([-1.0, 0.0, 9.0])).round(2).tolist()
    [-0.69, 0.0, 2.3]
    """
    return np.sign(values) * np.log1p(np.abs(values))


def read_criteo(path: str | Path) -> pd.DataFrame:
    """Reads one file of the log.

    Args:
        path: lines of a label (0 or 1), 13 integers and 26 hexadecimal
            numbers, separated by tabs, without a header; all but the label
            may be empty. ".gz" is unpacked on the way.

    Returns:
        One row a line: `label`, I1 to I13 as float64 (by `signed_log`, NaN
        where empty), C1 to C26 as text categories ("" where empty).

    Raises:
        UserError: naming file and line, for whatever is not so.

    Example:
    ```python
    table = read_criteo("criteo/train.txt")
    ```
    """
    path = Path(path)
    names = [_LABEL, *NUMBERS, *CATEGORIES]
    table = delimited.read_delimited(
        path, "\t", names=names, text=CATEGORIES, quoted=False
    )
    columns = {_LABEL: _labels(path, table[_LABEL])}
    for name in NUMBERS:
        columns[name] = signed_log(_numbers(path, name, table[name]))
    for name in CATEGORIES:
        columns[name] = _categories(path, name, table[name])
    return pd.DataFrame(columns)


def _labels(path: Path, values: pa.ChunkedArray) -> np.ndarray:
    good = pc.is_in(values.cast(pa.string()), pa.array(["0", "1"]))
    _require(path, "the label", "0 or 1", values, good)
    return values.to_numpy().astype(np.float32)


def _numbers(path: Path, name: str, values: pa.ChunkedArray) -> np.ndarray:
    if pa.types.is_null(values.type):
        return np.full(len(values), np.nan)
    if not (
        pa.types.is_integer(values.type) or pa.types.is_floating(values.type)
    ):
        text = values.cast(pa.string())
        good = pc.match_substring_regex(text, r"^\s*-?[0-9]*\s*$")
        _require(path, name, "an integer or empty", text, good)
        values = values.cast(pa.float64())
    return values.to_pandas().to_numpy(np.float64, na_value=np.nan)


def _categories(
    path: Path, name: str, values: pa.ChunkedArray
) -> pd.Categorical:
    good = pc.match_substring_regex(pc.unique(values), _HEXADECIMAL)
    if not pc.all(good).as_py():
        good = pc.match_substring_regex(values, _HEXADECIMAL)
        good = pc.fill_null(good, True)
        _require(path, name, "hexadecimal or empty", values, good)
    return pd.Categorical(values.fill_null("").dictionary_encode().to_pandas())


def _require(
    path: Path,
    what: str,
    wanted: str,
    values: pa.ChunkedArray,
    good: pa.ChunkedArray,
) -> None:
    bad = ~pc.fill_null(good, True).to_numpy()
    if bad.any():
        row = int(bad.argmax())
        raise UserError(
            f"`{path}`, line {row + 1}: {what} should be {wanted}. Received: "
            f"{values[row].as_py()!r}. Lines of Criteo's logs are a label, 13 "
            "integers and 26 hexadecimal numbers, separated by tabs."
        )


def load_criteo(
    path: str | Path,
    *,
    hash_buckets: int = DEFAULT_HASH_BUCKETS,
    validation: float = 0.1,
    test: float = 0.1,
) -> ExampleSplit:
    """Reads a whole log as examples of the task "click".

    Args:
        path: one file, or a folder of files with .txt, .tsv or no extension
            (and .gz). When files named train and test both have labels, they
            are the parts (and those named valid, or else the last of train,
            validate); a part may be several files (`train_1`, `train_2`).
            Otherwise train, or all files in the order of their names
            (`day_0`, `day_1`, ...), is cut by order, which in Criteo's logs
            is the order of time.
        hash_buckets: of each category, 2 or more.
        validation: share of the lines to validate, in (0, 1).
        test: share of the lines to test, in (0, 1).

    Returns:
        Examples without users, items and histories.

    Raises:
        UserError: naming file and line, for whatever cannot be read.

    Example:
    ```python
    parts = load_criteo("data/criteo", hash_buckets=100_000)
    ```
    """
    path = Path(path)
    files = logs.log_files(path, EXTENSIONS)
    # The test file of Kaggle's contest came without labels.
    labelled = [file for file in files if _has_label(file)]
    parts = logs.by_part(labelled)
    whole = parts.get("train") or labelled or files
    columns = criteo_columns(hash_buckets)

    def read(some: list[Path]) -> Examples:
        table = logs.concatenate([read_criteo(file) for file in some])
        labels = table.pop(_LABEL).to_numpy(np.float32)
        weights = np.ones(len(table), np.float32)
        return Examples(table, columns, {TASK: labels}, weights)

    return logs.read_parts("criteo", parts, whole, read, validation, test)


def _has_label(path: Path) -> bool:
    fields = len(NUMBERS) + len(CATEGORIES)
    try:
        first = next(delimited.numbered_lines(path), (1, b""))[1]
    except (OSError, EOFError) as error:
        raise delimited.unreadable(path, error) from error
    return first.count(b"\t") != fields - 1
