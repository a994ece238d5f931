"""Comparison of an export with its model by value."""

from __future__ import annotations

import numpy as np

from kd_tfrs.errors import UserError


def largest_difference(one: np.ndarray, other: np.ndarray) -> float:
    """The largest difference of two arrays of scores.

    Args:
        one: scores, -inf where a list has ended.
        other: of the same shape.

    Returns:
        Infinite where a list ends before the other, or a score is NaN.

    Example:
    >>> largest_difference(np.array([2.0, -np.inf]), np.array([1.5, -np.inf]))
    0.5
    """
    with np.errstate(invalid="ignore"):
        gaps = np.where(one == other, 0.0, np.abs(one - other))
    return float(np.where(np.isnan(gaps), np.inf, gaps).max(initial=0.0))


def check_difference(difference: float, tolerance: float, over: str) -> None:
    """Checks that an export scores as its model does.

    Args:
        difference: the largest one that was found.
        tolerance: the largest one that is allowed.
        over: what was compared, for the error.

    Raises:
        UserError: it exceeds the tolerance.

    Example:
    >>> check_difference(1e-6, tolerance=1e-4, over="200 users")
    """
    if not difference <= tolerance:
        raise UserError(
            f"The export should score as the model does, within {tolerance:g}. "
            f"Received: a difference of {difference:.3g} over {over}. The old "
            "versions stay in place."
        )
