"""Unlabelled impressions, for which a teacher predicts targets."""

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
    """Pairs the user and the context of one row with the item of another.

    The predictions of a teacher on its training rows are biased by the labels
    of these rows. On unlabelled rows they are not, and the number of rows is
    unlimited.

    Args:
        features: encoded features by name, `[n, ...]`.
        owners: owner of each feature by name; all features of an item are
            drawn together.
        count: number of rows, 1 or more; users and items are drawn with their
            frequencies in `features`.
        seed: the same seed gives the same rows.

    Returns:
        The same features, `[count, ...]`.

    Raises:
        UserError: when there is no feature of an item or no other feature, or
            `count` is below 1.

    Example:
    >>> owners = {"user": Owner.USER, "item": Owner.ITEM}
    >>> rows = {"user": np.arange(3), "item": np.arange(3)}
    >>> sorted(unlabelled_rows(rows, owners, 2))
    ['item', 'user']

    References:
        Bucila, Caruana and Niculescu-Mizil 2006, "Model Compression". An
        ensemble labels synthetic rows there, which interpolate between
        neighbours; here rows are pairs of existing users and items.
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
    user_rows, item_rows = rng.integers(0, total, (2, count))
    return {
        name: values[item_rows if is_item else user_rows]
        for (name, values), is_item in zip(
            features.items(), of_item, strict=True
        )
    }
