"""Comparison of an export with its model by value."""

from __future__ import annotations

import dataclasses
import os

import numpy as np

from kd_tfrs.evaluation.retrieval import SavedModelScorer, Scorer
from kd_tfrs.export.parity import check_difference, largest_difference


@dataclasses.dataclass(frozen=True)
class Parity:
    """Differences between two scorers.

    Args:
        users: number of compared users.
        k: length of the lists.
        identical_lists: share of users with equal ids in both lists.
        max_score_difference: largest difference of two scores at one place,
            or of one listed item; infinite where only one list has an item.
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
        actual: the scorer to compare with the reference.
        user_ids: `[n]` raw ids.
        k: length of the lists.

    Returns:
        The differences.

    Example:
    ```python
    compare_scorers(keras_scorer, SavedModelScorer(path), users, k=100)
    ```
    """
    ids_a, scores_a = expected.recommend(user_ids, k)
    ids_b, scores_b = actual.recommend(user_ids, k)
    listed_a, listed_b = scores_a > -np.inf, scores_b > -np.inf
    same = (ids_a == ids_b) | ~listed_a
    # Equal scores do not imply equal ids, so each scorer also scores the items
    # that the other scorer lists.
    scored_a = actual.score(user_ids, ids_a)
    scored_b = expected.score(user_ids, ids_b)
    differences = (
        largest_difference(scores_a, scores_b),
        largest_difference(scores_a[listed_a], scored_a[listed_a]),
        largest_difference(scores_b[listed_b], scored_b[listed_b]),
    )
    return Parity(
        users=len(user_ids),
        k=k,
        identical_lists=float(
            (same & (listed_a == listed_b)).all(axis=1).mean()
        ),
        max_score_difference=max(differences),
    )


def verify_export(
    path: str | os.PathLike,
    expected: Scorer,
    user_ids: np.ndarray,
    *,
    k: int = 100,
    tolerance: float = 1e-4,
) -> Parity:
    """Loads an export back and compares it with the model by value.

    Scores at each place must agree within `tolerance`. Lists may differ only
    where scores tie within `tolerance`: the scores of `score` for the expected
    lists are compared as well.

    Args:
        path: a version folder.
        expected: a scorer of the Keras model.
        user_ids: `[n]` raw ids of real users.
        k: length of the lists, at most the number of items.
        tolerance: largest difference of two scores.

    Returns:
        The differences.

    Raises:
        UserError: the scores differ by more than `tolerance`.

    Example:
    ```python
    verify_export("models/retrieval/3", scorer, users)
    ```
    """
    parity = compare_scorers(expected, SavedModelScorer(path), user_ids, k)
    check_difference(
        parity.max_score_difference, tolerance, f"{parity.users} users"
    )
    return parity
