"""Does the export say what the model says? Compared by value."""

from __future__ import annotations

import dataclasses
import os

import numpy as np

from kd_tfrs.errors import UserError
from kd_tfrs.evaluation.retrieval import SavedModelScorer, Scorer


@dataclasses.dataclass(frozen=True)
class Parity:
    """How close two scorers came.

    Args:
        users: how many users were compared.
        k: length of the lists.
        identical_lists: share of users whose lists are equal id by id.
        max_score_difference: largest difference of two scores of one place,
            or of one listed item; infinite where only one list goes on.
    """

    users: int
    k: int
    identical_lists: float
    max_score_difference: float


def compare_scorers(
    expected: Scorer, actual: Scorer, user_ids: np.ndarray, k: int = 100
) -> Parity:
    """Compares the lists and scores of two scorers.

    Args:
        expected: the reference.
        actual: what is held against it.
        user_ids: `[n]` raw ids.
        k: length of the lists.

    Returns:
        What was found.

    Example:
    ```python
    compare_scorers(keras_scorer, SavedModelScorer(path), users, k=100)
    ```
    """
    ids_a, scores_a = expected.recommend(user_ids, k)
    ids_b, scores_b = actual.recommend(user_ids, k)
    listed_a, listed_b = scores_a > -np.inf, scores_b > -np.inf
    same = (ids_a == ids_b) | ~listed_a
    # Right scores beside wrong ids are wrong: the reference is asked what it
    # thinks of the items that were listed, and the other way round.
    differences = (
        _largest_difference(scores_a, scores_b, listed_a | listed_b),
        _largest_difference(scores_a, actual.score(user_ids, ids_a), listed_a),
        _largest_difference(
            expected.score(user_ids, ids_b), scores_b, listed_b
        ),
    )
    return Parity(
        users=len(user_ids),
        k=k,
        identical_lists=float(
            (same & (listed_a == listed_b)).all(axis=1).mean()
        ),
        max_score_difference=max(differences),
    )


def _largest_difference(
    one: np.ndarray, other: np.ndarray, places: np.ndarray
) -> float:
    """Infinite where a list ends before the other, or a score is NaN."""
    found = np.abs(one[places] - other[places])
    return float(np.where(np.isnan(found), np.inf, found).max(initial=0.0))


def verify_export(
    path: str | os.PathLike,
    expected: Scorer,
    user_ids: np.ndarray,
    *,
    k: int = 100,
    tolerance: float = 1e-4,
) -> Parity:
    """Loads an export back and compares it with the model by value.

    Scores have to agree place by place within `tolerance`; lists may differ
    only where scores tie that closely, which the scores of `score` for the
    expected lists show as well.

    Args:
        path: a version folder.
        expected: a scorer of the Keras model.
        user_ids: `[n]` raw ids of real users.
        k: length of the lists, at most the number of items.
        tolerance: largest difference of two scores.

    Returns:
        What was found.

    Raises:
        UserError: they differ.

    Example:
    ```python
    verify_export("models/retrieval/3", scorer, users)
    ```
    """
    parity = compare_scorers(expected, SavedModelScorer(path), user_ids, k)
    if not parity.max_score_difference <= tolerance:
        raise UserError(
            f"The export should score as the model does, within {tolerance:g}."
            f" Received: a difference of {parity.max_score_difference:.3g} "
            f"over {parity.users} users. The old versions stay in place."
        )
    return parity
