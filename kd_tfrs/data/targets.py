"""Labels of impressions by the name of a task."""

from __future__ import annotations

import numpy as np
import pandas as pd

from kd_tfrs.data.schema import Schema
from kd_tfrs.errors import UserError

RATING, LIKED = "rating", "liked"


def task_labels(
    events: pd.DataFrame, schema: Schema, task: str, liked_from: float = 4.0
) -> np.ndarray:
    """Labels of some events.

    Args:
        events: `[n]` events.
        schema: names their label.
        task: "rating" for the schema's label, "liked" for whether that is at
            least `liked_from`, otherwise a column of the events.
        liked_from: the lowest label that is liked.

    Returns:
        `[n]` float32, finite.

    Raises:
        UserError: when there is no such column, or a value is no number.

    Example:
    >>> from kd_tfrs.data.synthetic import SCHEMA
    >>> events = pd.DataFrame({"rating": [3.0, 4.0]})
    >>> task_labels(events, SCHEMA, "liked")
    array([0., 1.], dtype=float32)
    """
    known = {*events.columns} - {schema.user_id, schema.item_id, schema.time}
    if task in known:
        return _numbers(events[task], task)
    if task not in (RATING, LIKED) or schema.label is None:
        raise UserError(
            f"A task should be {RATING} or {LIKED} (of data with a label), or "
            f"a column of the events. Received: {task!r} with label = "
            f"{schema.label!r} and columns {sorted(known)}. Name one of them."
        )
    values = _numbers(events[schema.label], schema.label)
    return values if task == RATING else np.float32(values >= liked_from)


def _numbers(values: pd.Series, name: str) -> np.ndarray:
    numeric = pd.api.types.is_numeric_dtype(values.dtype)
    numbers = values if numeric else values.astype(object)
    numbers = pd.to_numeric(numbers, errors="coerce")
    numbers = numbers.to_numpy(np.float32, na_value=np.nan)
    bad = ~np.isfinite(numbers)
    if bad.any():
        row = int(bad.argmax())
        raise UserError(
            f"Labels {name!r} should be numbers. Received: "
            f"{values.iloc[row]!r} in event {row + 1}, and {int(bad.sum())} "
            "like it. Drop these events or name another column."
        )
    return numbers
