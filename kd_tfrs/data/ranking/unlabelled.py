"""Impressions that never were, for a teacher to judge."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from kd_tfrs.data.schema import Owner
from kd_tfrs.errors import UserError


def unlabelled_rows(
    features: Mapping[str, np.ndarray],
    owners: Mapping[str, Owner],
    count: int,
    seed: int = 0,
) -> dict[str, np.ndarray]:
    """Pairs the user and moment of one row with the item of another.

    A teacher has seen the labels of its training rows, and says of these more
    than it would of others. Of rows without a label it says what it has
    learned, and of as many of them as one likes.

    Args:
        features: encoded features by name, `[n, ...]`.
        owners: whose each feature is; what belongs to an item goes with it.
        count: rows to make, 1 or more; users and items come as often as they
            do in `features`.
        seed: the same seed gives the same rows.

    Returns:
        The same features, `[count, ...]`.

    Raises:
        UserError: there is nothing to pair: no feature of an item, or none
            but these; or `count` is below 1.

    Example:
    >>> owners = {"user": Owner.USER, "item": Owner.ITEM}
    >>> rows = {"user": np.arange(3), "item": np.arange(3)}
    >>> sorted(unlabelled_rows(rows, owners, 2))
    ['item', 'user']

    References:
        Bucila, Caruana and Niculescu-Mizil 2006, "Model Compression", which
        labels invented rows by an ensemble; there they lie between
        neighbours, here they are real users beside real items.
    """
    of_item = [owners[name] is Owner.ITEM for name in features]
    if count < 1 or all(of_item) or not any(of_item):
        raise UserError(
            "Rows without a label need features of items, features of others "
            f"and a count of 1 or more. Received: {dict(owners)} and "
            f"`count` = {count}. Leave them out for data without items."
        )
    total = len(next(iter(features.values())))
    rng = np.random.default_rng(seed)
    asked, shown = rng.integers(0, total, (2, count))
    return {
        name: values[shown if own else asked]
        for (name, values), own in zip(features.items(), of_item, strict=True)
    }
