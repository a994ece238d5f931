"""Features as decision trees take them: one matrix of numbers and codes."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pandas as pd

from kd_tfrs.data.schema import Encoding
from kd_tfrs.models.features import Feature
from kd_tfrs.workflow.ranking.prepare import HISTORY, Inputs, RankingPrepared

# Columns of a list: of long vocabularies the most frequent values.
_MAX_TOKENS = 64


@dataclasses.dataclass(frozen=True)
class Matrix:
    """Features as trees take them.

    Args:
        cells: `[rows, columns]` float32, NaN where a number is missing.
        names: of the columns.
        categories: names of those that are codes.
        ids: names of those of them that are ids.
    """

    cells: np.ndarray
    names: tuple[str, ...]
    categories: tuple[str, ...]
    ids: tuple[str, ...]

    def without_ids(self) -> Matrix:
        """The same without ids."""
        kept = [i for i, name in enumerate(self.names) if name not in self.ids]
        return Matrix(
            self.cells[:, kept],
            tuple(self.names[i] for i in kept),
            tuple(c for c in self.categories if c not in self.ids),
            (),
        )


def request_matrix(
    prepared: RankingPrepared, inputs: Inputs, count: int
) -> Matrix:
    """Test examples to time a call on."""
    rows = np.resize(np.arange(len(prepared.split.test)), count)
    return as_matrix(prepared, inputs, "test", rows)


def as_matrix(
    prepared: RankingPrepared,
    inputs: Inputs,
    part: str,
    rows: np.ndarray | None = None,
) -> Matrix:
    """What a network sees, for trees.

    Ids, categories and buckets are codes; numbers are raw; of a list, each of
    its 64 most frequent values is a column of 0 and 1; of a history, there
    are its length and its newest item.

    Args:
        prepared: the data.
        inputs: which features.
        part: "train", "validation" or "test".
        rows: which of its rows; all when `None`.

    Returns:
        The matrix.
    """
    tables = prepared.tables[part]
    raw = getattr(prepared.split, part).table
    rows = slice(None) if rows is None else rows
    columns: dict[str, np.ndarray] = {}
    categories, ids = [], []
    for feature in inputs.features:
        made = _columns(feature, tables[feature.name][rows], raw, rows)
        columns |= made
        if not feature.length and feature.encoding is not Encoding.NUMBER:
            categories += made
            ids += made if feature.encoding is Encoding.ID else []
    if inputs.history_length is not None:
        history = tables[HISTORY][rows]
        columns["history_length"] = (history > 0).sum(axis=1)
        columns["history_newest"] = history[:, 0]
        categories.append("history_newest")
        ids.append("history_newest")
    values = np.stack([np.float32(x) for x in columns.values()], axis=1)
    return Matrix(values, tuple(columns), tuple(categories), tuple(ids))


def _columns(
    feature: Feature, codes: np.ndarray, raw: pd.DataFrame, rows: Any
) -> dict[str, np.ndarray]:
    if feature.encoding is Encoding.NUMBER:
        values = pd.to_numeric(raw[feature.name])
        return {
            feature.name: values.to_numpy(np.float32, na_value=np.nan)[rows]
        }
    if not feature.length:
        return {feature.name: codes}
    last = min(feature.vocabulary_size, _MAX_TOKENS + 2)
    return {
        f"{feature.name}_{code}": (codes == code).any(axis=1)
        for code in range(1, last)
    }
