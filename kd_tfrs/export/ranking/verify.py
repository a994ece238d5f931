"""Comparison of an exported ranker with its model by value."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from kd_tfrs.export.parity import check_difference, largest_difference
from kd_tfrs.export.ranking.client import SavedModelRanker
from kd_tfrs.export.ranking.keras_ranker import KerasRanker


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

    Example:
    ```python
    expected = KerasRanker(model.network, model.tasks, inputs, tables)
    check = RankingCheck(expected, test.table[:500], test.history[:500])
    verify = functools.partial(verify_ranking, check=check)
    version = export_saved_model(module, "models/ranking", verify=verify)
    ```
    """
    parity = compare_rankers(check, SavedModelRanker(path))
    check_difference(
        max(parity.max_logit_difference, parity.max_score_difference),
        check.tolerance,
        f"{parity.rows} rows and {parity.requests} lists",
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
    logits = max(largest_difference(one[task], other[task]) for task in one)
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
        largest_difference(scores, other_scores),
        largest_difference(scores, _scores_of(ids, others, other_scores)),
        largest_difference(other_scores, _scores_of(others, ids, scores)),
    )


def _scores_of(
    wanted: np.ndarray, ids: np.ndarray, scores: np.ndarray
) -> np.ndarray:
    """Scores of some items; the last one where only a tie excluded an item."""
    by_id = dict(zip(ids.tolist(), scores, strict=True))
    return np.array([by_id.get(i, scores[-1]) for i in wanted.tolist()])
