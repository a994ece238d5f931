"""Labels of impressions by the name of a task."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np
import pandas as pd

from kd_tfrs.data.schema import Schema
from kd_tfrs.errors import UserError

RATING, LIKED = "rating", "liked"


def task_labels(
    events: pd.DataFrame, schema: Schema, task: str, liked_from: float = 4.0
) -> np.ndarray:
    """Computes the labels of a task.

    Args:
        events: `[n]` events.
        schema: schema of the events.
        task: a column of the events. If there is no such column, "rating" is
            the schema's label and "liked" is whether that label is at least
            `liked_from`.
        liked_from: the lowest label that counts as liked.

    Returns:
        `[n]` float32, NaN where an event has no label.

    Raises:
        UserError: when there is no such column, or a value is no number.

    Example:
    >>> from kd_tfrs.data.synthetic.interactions import SCHEMA
    >>> events = pd.DataFrame({"rating": [3.0, 4.0, None]})
    >>> task_labels(events, SCHEMA, "liked")
    array([ 0.,  1., nan], dtype=float32)
    """
    column, is_label = _meaning(events.columns, schema, task)
    values = label_numbers(events[column], column)
    if is_label:
        return values
    liked = np.float32(values >= liked_from)
    return np.where(np.isnan(values), np.float32(np.nan), liked)


def check_tasks(
    columns: Collection[str], schema: Schema, tasks: Sequence[str]
) -> None:
    """Refuses tasks without a label, and tasks with the same label.

    Raises:
        UserError: when a task has no label, or two tasks have the same one.

    Example:
    >>> from kd_tfrs.data.synthetic.interactions import SCHEMA
    >>> check_tasks(["rating"], SCHEMA, ["liked", "rating"])
    """
    task_of = {}
    for task in tasks:
        meaning = _meaning(columns, schema, task)
        other = task_of.setdefault(meaning, task)
        if other != task:
            raise UserError(
                "`tasks` should be different labels. Received: "
                f"{other!r} and {task!r}, which are both the column "
                f"{meaning[0]!r}. Leave one out, or name another column as "
                "the label."
            )


def require_labels(by_part: Mapping[str, np.ndarray], task: str) -> None:
    """Refuses a task without labels in the training part.

    Raises:
        UserError: when no event, or no training event, has a label.
    """
    counts = {k: int((~np.isnan(x)).sum()) for k, x in by_part.items()}
    if counts["train"]:
        return
    if any(counts.values()):
        raise UserError(
            f"Task {task!r} should have labels in the training part. "
            f"Received: no training label, and {sum(counts.values())} others. "
            "Choose another split, or leave the task out."
        )
    raise UserError(
        f"Task {task!r} should have labels. Received: "
        f"{sum(map(len, by_part.values()))} events without one. Name a column "
        "that has numbers."
    )


def label_numbers(values: pd.Series, name: str) -> np.ndarray:
    """Converts a column of labels to numbers.

    Args:
        values: `[n]` cells; a null or blank cell is a missing label.
        name: name of the column, for the message.

    Returns:
        `[n]` float32, NaN where there is no label.

    Raises:
        UserError: when a value is text or infinite.

    Example:
    >>> label_numbers(pd.Series(["1", ""]), "click")
    array([ 1., nan], dtype=float32)
    """
    missing = values.isna().to_numpy(bool)
    if not pd.api.types.is_numeric_dtype(values.dtype):
        values = values.astype(object)
        missing = missing | (values.astype(str).str.strip() == "").to_numpy()
    numbers = pd.to_numeric(values, errors="coerce")
    # The overflow is reported below, without a warning of NumPy.
    with np.errstate(over="ignore"):
        numbers = numbers.to_numpy(np.float32, na_value=np.nan)
    bad = ~np.isfinite(numbers) & ~missing
    if bad.any():
        row = int(bad.argmax())
        raise UserError(
            f"Labels {name!r} should be numbers, or empty. Received: "
            f"{values.iloc[row]!r} in event {row + 1}, and "
            f"{int(bad.sum()) - 1} more like it. Drop these events or name "
            "another column."
        )
    return numbers


def _meaning(
    columns: Collection[str], schema: Schema, task: str
) -> tuple[str, bool]:
    """The column of a task, and whether its values are the labels."""
    ids = {schema.user_id, schema.item_id, schema.time}
    if task in columns and task not in ids:
        return task, True
    derived = task in (RATING, LIKED) and task not in columns
    if not derived or schema.label is None:
        raise UserError(
            f"A task should be {RATING} or {LIKED} (of data with a label), or "
            "a column of the events that is no id or time. Received: "
            f"{task!r} with label = {schema.label!r} and columns "
            f"{sorted({*columns} - ids)}. Name one of them."
        )
    return schema.label, task == RATING
