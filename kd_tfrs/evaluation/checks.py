"""Checks of arguments that several modules make."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from kd_tfrs.errors import UserError


def check_k(k: int, name: str = "k") -> None:
    """Raises `UserError` unless a number is a positive integer.

    Raises:
        UserError: any other value.

    Example:
    >>> check_k(1)
    """
    if isinstance(k, bool) or not isinstance(k, (int, np.integer)) or k < 1:
        raise UserError(
            f"`{name}` should be a positive integer. Received: `{name}` = "
            f"{k!r}. Give {name} >= 1."
        )


def checked_ks(ks: Sequence[int], depth: int) -> tuple[int, ...]:
    """Checks the lengths of lists.

    Raises:
        UserError: no lengths, lengths that are not positive integers, or
            lengths beyond the depth.

    Example:
    >>> checked_ks([20, 10], depth=100)
    (10, 20)
    """
    for k in (*ks, depth):
        check_k(k)
    if not ks or max(ks) > depth:
        raise UserError(
            f"`ks` should be one or more lengths up to the depth {depth}. "
            f"Received: {list(ks)}. Raise the depth or shorten the lists."
        )
    return tuple(sorted({int(k) for k in ks}))
