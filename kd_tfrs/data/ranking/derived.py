"""Features that are derived from the events' times, labels and counts."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from kd_tfrs.data.schema import Column, Encoding, Owner, Schema
from kd_tfrs.errors import UserError

_COUNT_BUCKETS = 16
_HOUR_SECONDS = 3_600
_DAY_SECONDS = 86_400
_FIRST_WEEKDAY = 3  # 1970 began on a Thursday

# A count has a long tail, so it is cut into buckets of equal size. The owner
# of a feature determines its source when serving: statistics of the user come
# with the request, statistics of an item are in the table of items.
DERIVED = {
    column.name: column
    for column in (
        Column(
            "user_events",
            Owner.USER,
            Encoding.BUCKETS,
            num_buckets=_COUNT_BUCKETS,
        ),
        Column("user_mean_label", Owner.USER, Encoding.NUMBER),
        Column(
            "item_events",
            Owner.ITEM,
            Encoding.BUCKETS,
            num_buckets=_COUNT_BUCKETS,
        ),
        Column("item_mean_label", Owner.ITEM, Encoding.NUMBER),
        Column("hour", Owner.EVENT, Encoding.CATEGORY),
        Column("weekday", Owner.EVENT, Encoding.CATEGORY),
    )
}
_NEED_LABEL = ("user_mean_label", "item_mean_label")


def choose_derived(
    schema: Schema, names: Collection[str] | None
) -> tuple[str, ...]:
    """Chooses the features to derive.

    Args:
        schema: columns of the data. All derived features need time, and the
            means need a label. A column of the data is never replaced.
        names: names of derived features, or None for all possible ones.

    Returns:
        Names in the order of `DERIVED`.

    Raises:
        UserError: when a name is unknown or cannot be derived.
    """
    own = {column.name for column in schema.columns}
    possible = [
        name
        for name in DERIVED
        if schema.time is not None
        and name not in own
        and (schema.label is not None or name not in _NEED_LABEL)
    ]
    if names is None:
        return tuple(possible)
    wrong = sorted(set(names) - set(possible))
    if wrong:
        raise UserError(
            f"`derived` should be among {', '.join(possible) or 'none'} for "
            f"these data. Received: {wrong[0]!r} with time = {schema.time!r} "
            f"and label = {schema.label!r}. Leave it out."
        )
    return tuple(name for name in DERIVED if name in names)


def time_of_day(times: np.ndarray) -> dict[str, np.ndarray]:
    """Hours and weekdays in UTC.

    Args:
        times: `[n]` seconds since 1970.

    Returns:
        `hour`, `[n]` int8 in [0, 24), and `weekday`, `[n]` int8 in [0, 7),
        where Monday is 0.

    Example:
    >>> time_of_day(np.array([0, 86_400 * 4]))["weekday"].tolist()
    [3, 0]
    """
    seconds = np.floor(times).astype(np.int64)
    hour = seconds // _HOUR_SECONDS % 24
    weekday = (seconds // _DAY_SECONDS + _FIRST_WEEKDAY) % 7
    return {"hour": hour.astype(np.int8), "weekday": weekday.astype(np.int8)}
