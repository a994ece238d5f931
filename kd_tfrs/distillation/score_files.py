"""Tables of scores of other programs, by ids."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pandas as pd

from kd_tfrs.errors import UserError


def read_table(table: pd.DataFrame | str | os.PathLike) -> pd.DataFrame:
    """Reads a table of scores.

    Args:
        table: a DataFrame, or the path of a Parquet or CSV file.

    Returns:
        The table.

    Raises:
        UserError: it is none of them.
    """
    if isinstance(table, pd.DataFrame):
        return table
    path = Path(table)
    if not path.is_file():
        raise UserError(
            "`table` should be a DataFrame, or a Parquet or CSV file. "
            f"Received: {str(path)!r}, which is no file. Correct the path."
        )
    if path.suffix == ".parquet":
        return pd.read_parquet(path)
    if ".csv" in path.suffixes:
        return pd.read_csv(path)
    raise UserError(
        "`table` should be a .parquet or .csv file. Received: "
        f"{path.name!r}. Read it into a DataFrame, and give that."
    )


def check_table(
    table: pd.DataFrame, query: str, candidate: str, score: str
) -> None:
    """Checks a table of scores.

    Args:
        table: one row for each pair with a score.
        query: name of the column of the query's id.
        candidate: name of the column of the candidate's id.
        score: name of the column of scores.

    Raises:
        UserError: it lacks a column, has a pair twice, is empty, or a score
            is not finite.
    """
    if not len(table):
        raise UserError(
            "`table` should have scores. Received: no row. Write the scores "
            "of the teacher into it."
        )
    missing = [n for n in (query, candidate, score) if n not in table]
    if missing:
        raise UserError(
            f"`table` should have the columns {query}, {candidate} and "
            f"{score}. Received: {', '.join(map(str, table.columns))}, "
            f"without {', '.join(missing)}. Name its columns by `columns` and "
            "`score`."
        )
    repeated = int(table.duplicated([query, candidate]).sum())
    if repeated:
        raise UserError(
            "`table` should have one score for a pair. Received: "
            f"{repeated} repeated pairs. Drop the duplicates."
        )
    bad = int((~np.isfinite(table[score].to_numpy(np.float64))).sum())
    if bad:
        raise UserError(
            f"`table` should have finite scores. Received: {bad} of "
            f"{len(table)} rows with NaN or infinity. Drop these rows."
        )
