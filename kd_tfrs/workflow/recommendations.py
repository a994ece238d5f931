"""Recommendations as a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd


def as_table(
    queries: Sequence[Any],
    ids: np.ndarray,
    scores: np.ndarray,
    titles: Mapping[Any, str] | None = None,
) -> pd.DataFrame:
    """Recommendations as a table, one row each.

    Args:
        queries: `[b]` raw ids.
        ids: `[b, k]` raw ids of items, best first.
        scores: `[b, k]`; -inf where fewer than `k` items are left.
        titles: of items by id; `None` adds no column of titles.

    Returns:
        Columns `query`, `rank` from 1, `item`, `score` and maybe `title`.

    Example:
    >>> as_table([7], np.array([[3, 0]]), np.array([[1.5, -np.inf]]))
       query  rank  item  score
    0      7     1     3    1.5
    """
    k = ids.shape[1]
    table = pd.DataFrame(
        {
            "query": np.repeat(np.asarray(queries), k),
            "rank": np.tile(np.arange(1, k + 1), len(ids)),
            "item": ids.ravel(),
            "score": scores.ravel(),
        }
    )
    table = table[np.isfinite(table["score"])].reset_index(drop=True)
    if titles:
        table["title"] = table["item"].map(titles)
    return table


def item_titles(items: pd.DataFrame, item_id: str) -> dict[Any, str]:
    """Titles by id of a table of items; none where it has none."""
    if "title" not in items:
        return {}
    return dict(zip(items[item_id].tolist(), items["title"], strict=True))


def exported_titles(version: Path) -> dict[Any, str]:
    """Titles by id of the items beside an export; none where it has none."""
    path = version / "assets.extra" / "items.parquet"
    if not path.exists():
        return {}
    items = pd.read_parquet(path)
    return item_titles(items, items.columns[0])
