"""Checks of arguments that several modules make."""

from __future__ import annotations

import numpy as np

from kd_tfrs.errors import UserError


def check_k(k: int, name: str = "k") -> None:
    """Raises `UserError` unless a number is a positive integer.

    Args:
        k: the value that a caller gave.
        name: what the caller calls it.

    Raises:
        UserError: it is something else.

    Example:
    >>> check_k(1)
    """
    if isinstance(k, bool) or not isinstance(k, (int, np.integer)) or k < 1:
        raise UserError(
            f"`{name}` should be a positive integer. Received: `{name}` = "
            f"{k!r}. Give {name} >= 1."
        )
