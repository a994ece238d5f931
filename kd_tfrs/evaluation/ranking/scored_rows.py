"""Impressions with labels and scores, checked once for all metrics."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from kd_tfrs.errors import UserError
from kd_tfrs.evaluation.ids import as_ids


@dataclass(frozen=True, eq=False)
class ScoredRows:
    """Checked impressions; made by `scored_rows`.

    Args:
        labels: `float64` [n].
        scores: `float64` [n], finite.
        weights: `float64` [n], finite, at least 0.
        users: `int64` [n], place of each row's user, from 0.
        num_users: number of users, including users without a row.

    Example:
    >>> scored_rows([1, 0], [2.0, 1.0], groups=["b", "a"]).users.tolist()
    [1, 0]
    """

    labels: np.ndarray
    scores: np.ndarray
    weights: np.ndarray
    users: np.ndarray
    num_users: int

    def take(self, which: np.ndarray) -> ScoredRows:
        """Selects rows; the users stay the same.

        Args:
            which: a boolean mask [n] or places of rows.

        Returns:
            The rows.
        """
        return ScoredRows(
            self.labels[which],
            self.scores[which],
            self.weights[which],
            self.users[which],
            self.num_users,
        )


def scored_rows(
    labels: Any, scores: Any, weights: Any = None, groups: Any = None
) -> ScoredRows:
    """Checks impressions.

    Rows of weight 0 are left out of every metric.

    Args:
        labels: [n], finite numbers.
        scores: [n], finite numbers, higher is better.
        weights: [n], at least 0; ones by default.
        groups: [n], user ids; all rows are of one user by default.

    Returns:
        The rows of positive weight.

    Raises:
        UserError: arrays that are not [n], not finite, or negative weights.

    Example:
    >>> scored_rows([1, 0], [2.0, 1.0], weights=[0, 3]).labels.tolist()
    [0.0]
    """
    labels = finite_column(labels, "labels")
    scores = finite_column(scores, "scores", len(labels))
    weights = checked_weights(weights, len(labels))
    users, names = user_places(groups, weights > 0)
    rows = ScoredRows(labels, scores, weights, users, len(names))
    return rows if weights.all() else rows.take(weights > 0)


def finite_column(
    values: Any, name: str, length: int | None = None
) -> np.ndarray:
    """Checks a column of finite numbers.

    Args:
        values: [n].
        name: name of the column in an error.
        length: expected n; any by default.

    Returns:
        `float64` [n].

    Raises:
        UserError: another shape, or values that are not finite numbers.

    Example:
    >>> finite_column([True, False], "labels").tolist()
    [1.0, 0.0]
    """
    try:
        array = np.asarray(values, np.float64)
    except (TypeError, ValueError) as error:
        raise UserError(
            f"`{name}` should be numbers. Received: {type(values).__name__} "
            f"({error}). Convert them to float."
        ) from error
    wanted = "n" if length is None else length
    if array.ndim != 1 or length not in (None, len(array)):
        raise UserError(
            f"`{name}` should have the shape [{wanted}], one value a row. "
            f"Received: shape {list(array.shape)}. Give all columns of the "
            "same rows; np.ravel turns [n, 1] into [n]."
        )
    if not np.isfinite(array).all():
        raise UserError(
            f"`{name}` should be finite. Received: "
            f"{int((~np.isfinite(array)).sum())} values of {len(array)} that "
            "are not. If a model made them, it has diverged: lower its "
            "learning rate."
        )
    return array


def checked_weights(weights: Any, length: int) -> np.ndarray:
    """Checks the weights of rows.

    Args:
        weights: [length], at least 0; None for ones.
        length: number of rows.

    Returns:
        `float64` [length].

    Raises:
        UserError: another shape, not finite, or a negative weight.

    Example:
    >>> checked_weights(None, 2).tolist()
    [1.0, 1.0]
    """
    if weights is None:
        return np.ones(length)
    array = finite_column(weights, "weights", length)
    if (array < 0).any():
        raise UserError(
            "`weights` should be at least 0. Received: "
            f"{array.min()}. A weight of 0 leaves a row out."
        )
    return array


def user_places(
    groups: Any, present: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Numbers the users of the rows that are present.

    Args:
        groups: [n], user ids, integers or text; None for one user.
        present: [n], boolean.

    Returns:
        `int64` [n] places, -1 for rows that are not present, and the [users]
        ids in ascending order.

    Raises:
        UserError: another shape, or ids of mixed kinds.

    Example:
    >>> places, ids = user_places(["b", "a", "b"], np.ones(3, bool))
    >>> places.tolist(), ids.tolist()
    ([1, 0, 1], ['a', 'b'])
    """
    places = np.where(present, 0, -1)
    if groups is None:
        return places, np.zeros(1, np.int64)
    ids = as_ids(groups, "groups")
    if ids.shape != present.shape:
        raise UserError(
            f"`groups` should have the shape [{len(present)}], one user id a "
            f"row. Received: shape {list(ids.shape)}. Give the users of the "
            "same rows."
        )
    places[present], names = pd.factorize(ids[present], sort=True)
    return places, names


def check_binary(rows: ScoredRows) -> None:
    """Raises where a label is neither 0 nor 1.

    Raises:
        UserError: another label.

    Example:
    >>> check_binary(scored_rows([0, 1], [0.0, 0.0]))
    """
    other = (rows.labels != 0) & (rows.labels != 1)
    if other.any():
        raise UserError(
            "`labels` of a binary task should be 0 or 1. Received: "
            f"{rows.labels[other][0]}. Take ratings as `kind='rating'`, or "
            "make labels of them, such as rating >= 4."
        )


def sigmoid(logits: np.ndarray) -> np.ndarray:
    """Turns logits into probabilities, without overflow.

    `sigmoid(z) = 1 / (1 + exp(-z))`

    Args:
        logits: of any shape.

    Returns:
        In [0, 1], of the same shape.

    Example:
    >>> sigmoid(np.array([-1e4, 0.0, 1e4])).tolist()
    [0.0, 0.5, 1.0]
    """
    return np.exp(-np.logaddexp(0.0, -np.asarray(logits, np.float64)))
