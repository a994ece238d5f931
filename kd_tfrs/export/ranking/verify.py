"""Export of a ranker, verified against the model."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from kd_tfrs.errors import UserError
from kd_tfrs.export.ranking.client import SavedModelRanker
from kd_tfrs.export.ranking.keras_ranker import KerasRanker
from kd_tfrs.export.ranking.signatures import RankingModule
from kd_tfrs.export.saved_model import export_saved_model


@dataclasses.dataclass(frozen=True, eq=False)
class RankingCheck:
    """Rows and requests on which an export is compared with the model.

    Args:
        expected: the model in process.
        table: `[n]` raw rows to score.
        history: `[n, h]` histories of the rows, where the network has them.
        requests: requests for `rank`, see `KerasRanker.rank`: user, items, k
            and context.
        tolerance: largest difference of two logits.
    """

    expected: KerasRanker
    table: pd.DataFrame
    history: np.ndarray | None = None
    requests: Sequence[tuple[Any, Any, int, Mapping[str, Any] | None]] = ()
    tolerance: float = 1e-4


@dataclasses.dataclass(frozen=True)
class RankingParity:
    """Differences between an export and the model.

    Args:
        rows: number of scored rows.
        requests: number of ranked lists.
        max_logit_difference: largest difference of two logits.
        max_score_difference: largest difference of two scores at one place of
            a list, or of one item in two lists; infinite where an item is in
            one list only.
        identical_lists: share of lists with equal ids; 1 without lists.
    """

    rows: int
    requests: int
    max_logit_difference: float
    max_score_difference: float
    identical_lists: float


def export_ranking(
    module: RankingModule,
    base_dir: str | os.PathLike,
    check: RankingCheck | None = None,
    items: pd.DataFrame | None = None,
) -> Path:
    """Exports the next version of a ranker for TensorFlow Serving.

    Args:
        module: the module to export.
        base_dir: the model's folder; versions are its numbered children.
        check: the comparison before the folder gets its version number.
        items: a table for clients, see `export_saved_model`.

    Returns:
        The new version's folder.

    Raises:
        UserError: the folder cannot be written, or the export differs from
            the model; the existing versions stay unchanged.

    Example:
    ```python
    expected = KerasRanker(model.network, model.tasks, inputs, tables)
    check = RankingCheck(expected, test.table[:500], test.history[:500])
    version = export_ranking(module, "models/ranking", check)
    ```
    """

    def verify(path: Path) -> None:
        if check is not None:
            verify_ranking(path, check)

    return export_saved_model(module, base_dir, verify=verify, items=items)


def verify_ranking(
    path: str | os.PathLike, check: RankingCheck
) -> RankingParity:
    """Loads an export back and compares it with the model by value.

    Args:
        path: a version folder.
        check: rows, requests and tolerance.

    Returns:
        The differences.

    Raises:
        UserError: a difference exceeds the tolerance.
    """
    parity = compare_rankers(check, SavedModelRanker(path))
    worst = max(parity.max_logit_difference, parity.max_score_difference)
    if not worst <= check.tolerance:
        raise UserError(
            "The export should score as the model does, within "
            f"{check.tolerance:g}. Received: a difference of {worst:.3g} over "
            f"{parity.rows} rows and {parity.requests} lists. The old versions "
            "stay in place."
        )
    return parity


def compare_rankers(
    check: RankingCheck, actual: SavedModelRanker | KerasRanker
) -> RankingParity:
    """Compares logits, and lists with their scores.

    Args:
        check: rows and requests.
        actual: the ranker to compare with `check.expected`.

    Returns:
        The differences.
    """
    one = check.expected.score(check.table, check.history)
    other = actual.score(check.table, check.history)
    logits = max(_difference(one[task], other[task]) for task in one)
    lists = [
        (check.expected.rank(*request), actual.rank(*request))
        for request in check.requests
    ]
    same = [np.array_equal(a, b) for (a, _), (b, _) in lists]
    return RankingParity(
        rows=len(check.table),
        requests=len(lists),
        max_logit_difference=logits,
        max_score_difference=max(map(_list_difference, lists), default=0.0),
        identical_lists=float(np.mean(same)) if same else 1.0,
    )


def _list_difference(lists: tuple) -> float:
    """Largest difference of two lists, by place and by item."""
    (ids, scores), (others, other_scores) = lists
    return max(
        _difference(scores, other_scores),
        _difference(scores, _scores_of(ids, others, other_scores)),
        _difference(other_scores, _scores_of(others, ids, scores)),
    )


def _scores_of(
    wanted: np.ndarray, ids: np.ndarray, scores: np.ndarray
) -> np.ndarray:
    """Scores of some items in a list.

    An item that is not in the list gets the last score of the list, which
    equals its own score where only a tie excluded it.
    """
    by_id = dict(zip(ids.tolist(), scores, strict=True))
    return np.array([by_id.get(i, scores[-1]) for i in wanted.tolist()])


def _difference(one: np.ndarray, other: np.ndarray) -> float:
    """Infinite where only one of two is listed, or a score is not a number."""
    with np.errstate(invalid="ignore"):
        gaps = np.where(one == other, 0.0, np.abs(one - other))
    return float(np.where(np.isnan(gaps), np.inf, gaps).max(initial=0.0))
