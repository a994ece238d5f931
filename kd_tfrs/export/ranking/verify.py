"""A ranker put in place for serving, once it says what the model says."""

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
    """What an export is asked before it counts.

    Args:
        expected: the model in process.
        table: `[n]` raw rows to be scored.
        history: `[n, h]` their histories, where the network has them.
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
    """How close an export came.

    Args:
        rows: rows that were scored.
        requests: lists that were ranked.
        max_logit_difference: largest difference of two logits.
        max_score_difference: of two scores in one place of a list, or of one
            item in two lists; infinite where an item is in one of them only.
        identical_lists: share of lists that are equal id by id; 1 without
            any.
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
        module: what is served.
        base_dir: the model's folder; versions are its numbered children.
        check: what is compared before the folder is renamed into place.
        items: a table to put beside the model, see `export_saved_model`.

    Returns:
        The new version's folder.

    Raises:
        UserError: the folder cannot be written, or the export differs from
            the model; the versions that were there stay as they are.

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
        check: what it is asked, and how far it may be off.

    Returns:
        What was found.

    Raises:
        UserError: it differs by more.
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
        check: what both are asked.
        actual: what is held against `check.expected`.

    Returns:
        What was found.
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
    """Of two lists: place by place, and item by item both ways."""
    (ids, scores), (others, other_scores) = lists
    return max(
        _difference(scores, other_scores),
        _difference(scores, _scores_of(ids, others, other_scores)),
        _difference(other_scores, _scores_of(others, ids, scores)),
    )


def _scores_of(
    wanted: np.ndarray, ids: np.ndarray, scores: np.ndarray
) -> np.ndarray:
    """What a list says of some items.

    Of one that it does not have it says no more than its last score, which is
    the item's own where ties alone have kept it out.
    """
    known = dict(zip(ids.tolist(), scores, strict=True))
    return np.array([known.get(i, scores[-1]) for i in wanted.tolist()])


def _difference(one: np.ndarray, other: np.ndarray) -> float:
    """Infinite where only one of two is listed, or a score is not a number."""
    with np.errstate(invalid="ignore"):
        found = np.where(one == other, 0.0, np.abs(one - other))
    return float(np.where(np.isnan(found), np.inf, found).max(initial=0.0))
