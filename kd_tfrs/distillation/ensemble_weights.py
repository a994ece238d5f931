"""Weights of several teachers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from kd_tfrs.errors import UserError


def ensemble_weights(
    weights: Sequence[float] | None, count: int
) -> tuple[float, ...]:
    """The weights of several teachers, normalised.

    Args:
        weights: not negative, one of them positive; all the same when `None`.
        count: of the teachers.

    Returns:
        The weights divided by their sum.

    Raises:
        UserError: `weights` are others than these.
    """
    values = np.ones(count) if weights is None else np.asarray(weights, float)
    good = np.isfinite(values).all() and values.min() >= 0 and values.sum() > 0
    if values.shape != (count,) or not good:
        raise UserError(
            f"`weights` should be {count} numbers that are not negative, one "
            f"of them positive. Received: `weights` = {weights}."
        )
    return tuple((values / values.sum()).tolist())
