"""Files and splits of logs without tables of users and items."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from kd_tfrs.data.ranking.examples import PARTS, Examples, ExampleSplit
from kd_tfrs.data.sources.citeulike import SPLIT_NAMES
from kd_tfrs.errors import UserError

_NOT_DATA = ("readme", "license", "licence")


def log_files(path: Path, extensions: Collection[str]) -> list[Path]:
    """The files of a log: the file itself, or those of a folder.

    Args:
        path: a file or a folder.
        extensions: extensions of a folder's files, such as ".txt", before an
            optional ".gz"; "" for files without one.

    Returns:
        At least one path; `day_2` comes before `day_10`.

    Raises:
        UserError: when there is no such file.
    """
    if path.is_file():
        return [path]
    files = sorted(path.iterdir(), key=_natural) if path.is_dir() else []
    matching = [file for file in files if _fits(file, extensions)]
    if not matching:
        kinds = ", ".join(e or "no extension" for e in extensions)
        raise UserError(
            f"`{path}` should be a file, or a folder of files with {kinds} "
            "(and .gz). Received: none. Check the path."
        )
    return matching


def _natural(path: Path) -> list[tuple[int, str]]:
    pieces = re.split(r"(\d+)", path.name.lower())
    return [(int(p), "") if p.isdigit() else (-1, p) for p in pieces]


def _fits(path: Path, extensions: Collection[str]) -> bool:
    name = path.name.lower()
    if not path.is_file() or name.startswith((".", "_", *_NOT_DATA)):
        return False
    return Path(name.removesuffix(".gz")).suffix in extensions


def by_part(files: Collection[Path]) -> dict[str, list[Path]]:
    """Assigns files to training, validation and test by their names.

    Args:
        files: paths such as `frappe.train.libfm`, `train_2.libfm` or
            `test.txt.gz`.

    Returns:
        Paths by "train", "validation" and "test"; parts without a file are
        absent. The files of a part are in natural order, `train_2` before
        `train_10`.

    Raises:
        UserError: a file's name has the names of two parts.

    Example:
    >>> parts = by_part([Path("train_10"), Path("test"), Path("train_2")])
    >>> [path.name for path in parts["train"]]
    ['train_2', 'train_10']
    """
    parts = {}
    for path in sorted(files, key=_natural):
        words = re.split(r"[._-]", path.name.lower())
        names = sorted(
            {SPLIT_NAMES[word] for word in words if word in SPLIT_NAMES}
        )
        if len(names) > 1 and len(files) > 1:
            # Otherwise training rows would also be test rows.
            raise UserError(
                f"`{path}` should be of one part by its name. Received: "
                f"{' and '.join(names)}. Rename it."
            )
        if len(names) == 1:
            parts.setdefault(names[0], []).append(path)
    return parts


def split_by_order(
    examples: Examples, validation: float, test: float | None
) -> dict[str, Examples]:
    """Holds out the last rows for test, and the rows before for validation.

    Args:
        examples: `[n]` rows, as a log in order of time has them.
        validation: share of the rows to validate, in (0, 1).
        test: share of the rows to test, in (0, 1); None for no such part.

    Returns:
        Examples by "train", "validation" and, unless `None`, "test".

    Raises:
        UserError: when the rows are too few or a share is out of range.
    """
    total = len(examples)
    shares = [share for share in (validation, test) if share is not None]
    sizes = [max(1, round(total * share)) for share in shares]
    if not all(0.0 < share < 1.0 for share in shares) or sum(sizes) >= total:
        raise UserError(
            "`validation` and `test` should be shares above 0 that leave "
            f"something to train. Received: {validation} and {test} of {total} "
            "rows. Give smaller shares or more rows."
        )
    edges = np.cumsum([0, total - sum(sizes), *sizes]).tolist()
    return {
        part: examples.take(slice(first, stop))
        for part, first, stop in zip(PARTS, edges, edges[1:], strict=False)
    }


def read_parts(
    name: str,
    parts: Mapping[str, list[Path]],
    whole: Collection[Path],
    read: Callable[[list[Path]], Examples],
    validation: float,
    test: float,
) -> ExampleSplit:
    """Reads the given parts of a log, or splits it by order.

    Args:
        name: name of the data set.
        parts: files by part. Without a test file, all of `whole` is split by
            order; without a validation file, the last of the training rows
            are for validation.
        whole: files to split by order.
        read: reads files, one after the other, into examples.
        validation: share of rows to validate, in (0, 1).
        test: share of rows to test, in (0, 1).

    Returns:
        The examples by part.
    """
    if not {"train", "test"} <= set(parts):
        examples = split_by_order(read(list(whole)), validation, test)
    else:
        examples = {part: read(files) for part, files in parts.items()}
        if "validation" not in examples:
            examples |= split_by_order(examples["train"], validation, None)
    return ExampleSplit(**{part: examples[part] for part in PARTS}, name=name)


def concatenate(frames: list[pd.DataFrame]) -> pd.DataFrame:
    """Rows of frames one after the other; categories stay categories."""
    if len(frames) == 1:
        return frames[0]
    for column in frames[0].columns:
        if isinstance(frames[0][column].dtype, pd.CategoricalDtype):
            values = [frame[column] for frame in frames]
            union = pd.api.types.union_categoricals(values)
            for frame in frames:
                frame[column] = frame[column].cat.set_categories(
                    union.categories
                )
    return pd.concat(frames, ignore_index=True)
