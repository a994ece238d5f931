"""Tables of texts as Markdown, for a console, and as CSV.

A table is a list of rows of cells, the header first.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

# Title, and a function from a row to its cell.
Column = tuple[str, Callable[[Any], str]]
Cells = list[list[str]]
MISSING = "-"


def column(title: str, key: str, write: Callable[[Any], str] = str) -> Column:
    """A column of values of rows that are dicts.

    Args:
        title: of the column.
        key: of the value, or two keys with a point between them.
        write: makes the cell of a value that is there.

    Returns:
        The column; a missing value is "-".

    Example:
    >>> title, cell = column("AUC", "metrics.auc", "{:.2f}".format)
    >>> cell({"metrics": {"auc": 0.7}}), cell({})
    ('0.70', '-')
    """
    outer, _, inner = key.partition(".")

    def cell(row: Mapping[str, Any]) -> str:
        value = row.get(outer)
        if inner:
            value = (value or {}).get(inner)
        return MISSING if value is None else write(value)

    return title, cell


def as_cells(rows: Sequence[Any], columns: Sequence[Column]) -> Cells:
    """The cells of rows, without columns that are empty in all of them.

    Args:
        rows: anything that the columns read.
        columns: title and content of each; the first one is always kept.

    Returns:
        The header, and the cells of each row.

    Example:
    >>> as_cells([{"auc": 0.7}], [("stage", str), ("empty", lambda row: "-")])
    [['stage'], ["{'auc': 0.7}"]]
    """
    filled = []
    for title, cell in columns:
        texts = [cell(row) for row in rows]
        if not filled or not rows or any(text != MISSING for text in texts):
            filled.append([title, *texts])
    return [list(row) for row in zip(*filled, strict=True)]


def as_markdown(cells: Sequence[Sequence[str]], sides: str = "l") -> str:
    r"""A table in Markdown.

    Args:
        cells: the header first.
        sides: a letter for each column, "l" to align it to the left and "r"
            to the right; further columns are aligned to the right.

    Returns:
        The table, with a line break at the end.

    Example:
    >>> as_markdown([["stage", "auc"], ["teacher", "0.7"]])
    '| stage | auc |\n| :-- | --: |\n| teacher | 0.7 |\n'
    """
    header, *rows = cells
    letters = sides.ljust(len(header), "r")
    rule = [":--" if side == "l" else "--:" for side in letters]
    return "".join(f"| {' | '.join(row)} |\n" for row in [header, rule, *rows])


def as_text(
    columns: Mapping[str, Sequence[str]], *, two_lines: bool = False
) -> list[str]:
    """A table for a console, numbers to the right.

    Args:
        columns: the title and the cells of each column.
        two_lines: write titles on two lines, broken at their last space.

    Returns:
        Lines.

    Example:
    >>> as_text({"stage": ["stage", "teacher"], "auc": ["auc", "0.7"]})
    ['stage    auc', '-------  ---', 'teacher  0.7']
    """
    blocks = []
    for i, (title, *cells) in enumerate(columns.values()):
        above, _, below = title.rpartition(" " if two_lines else "\n")
        width = max(map(len, (above, below, *cells)))
        rows = [above, below, "-" * width, *cells]
        blocks.append(
            [row.rjust(width) if i else row.ljust(width) for row in rows]
        )
    lines = ["  ".join(row).rstrip() for row in zip(*blocks, strict=True)]
    return lines if two_lines else lines[1:]


def as_csv(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> str:
    r"""Rows as CSV.

    Args:
        rows: values by column; others are left out, missing ones are empty.
        columns: names, in order.

    Returns:
        The text of a CSV file.

    Example:
    >>> as_csv([{"seed": 0, "auc": 0.7}], ["seed", "auc", "epochs"])
    'seed,auc,epochs\n0,0.7,\n'
    """
    text = io.StringIO()
    writer = csv.DictWriter(
        text, columns, extrasaction="ignore", lineterminator="\n"
    )
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def mean_and_deviation(
    values: Sequence[float | None],
) -> dict[str, float | None]:
    """Mean and standard deviation over seeds.

    Args:
        values: one for each seed.

    Returns:
        "mean" and "deviation"; both `None` where a value is missing.

    Example:
    >>> mean_and_deviation([1.0, 3.0])["mean"]
    2.0
    """
    if any(value is None for value in values):
        return {"mean": None, "deviation": None}
    several = len(values) > 1
    return {
        "mean": float(np.mean(values)),
        "deviation": float(np.std(values, ddof=1)) if several else 0.0,
    }


def mean_cell(spread: Mapping[str, float | None]) -> str:
    """A mean with its standard deviation; see `mean_and_deviation`."""
    if spread["mean"] is None:
        return MISSING
    return f"{spread['mean']:.4f} ({spread['deviation']:.4f})"
