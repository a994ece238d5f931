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
    """Labels of some events.

    Args:
        events: `[n]` events.
        schema: names their label.
        task: a column of the events; if there is none of this name, "rating"
            for the schema's label and "liked" for whether that is at least
            `liked_from`.
        liked_from: the lowest label that is liked.

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
    column, as_it_is = _meaning(events.columns, schema, task)
    values = label_numbers(events[column], column)
    if as_it_is:
        return values
    liked = np.float32(values >= liked_from)
    return np.where(np.isnan(values), np.float32(np.nan), liked)


def check_tasks(
    columns: Collection[str], schema: Schema, tasks: Sequence[str]
) -> None:
    """Refuses tasks that are nothing, and two that are one.

    Args:
        columns: of the events.
        schema: names their label.
        tasks: see `task_labels`.

    Raises:
        UserError: a task is not there, or is what another one is.

    Example:
    >>> from kd_tfrs.data.synthetic.interactions import SCHEMA
    >>> check_tasks(["rating"], SCHEMA, ["liked", "rating"])
    """
    known = {}
    for task in tasks:
        meaning = _meaning(columns, schema, task)
        other = known.setdefault(meaning, task)
        if other != task:
            raise UserError(
                "`tasks` should be different labels. Received: "
                f"{other!r} and {task!r}, which are both the column "
                f"{meaning[0]!r}. Leave one out, or name another column as "
                "the label."
            )


def require_labels(by_part: Mapping[str, np.ndarray], task: str) -> None:
    """Refuses a task that nothing can be learned of.

    Args:
        by_part: labels by part, "train" among them; NaN where there is none.
        task: what they are called.

    Raises:
        UserError: no event has a label, or none to train on.
    """
    counts = {k: int((~np.isnan(x)).sum()) for k, x in by_part.items()}
    if counts["train"]:
        return
    if any(counts.values()):
        raise UserError(
            f"Task {task!r} should have labels in the training part. "
            f"Received: none there, and {sum(counts.values())} in the others. "
            "Choose another split, or leave the task out."
        )
    raise UserError(
        f"Task {task!r} should have labels. Received: "
        f"{sum(map(len, by_part.values()))} events without one. Name a column "
        "that has numbers."
    )


def label_numbers(values: pd.Series, name: str) -> np.ndarray:
    """A column of labels as numbers.

    Args:
        values: `[n]` cells; a null or blank one has no label.
        name: of the column, for the message.

    Returns:
        `[n]` float32, NaN where there is no label.

    Raises:
        UserError: a value is text or infinite.

    Example:
    >>> label_numbers(pd.Series(["1", ""]), "click")
    array([ 1., nan], dtype=float32)
    """
    missing = values.isna().to_numpy(bool)
    if not pd.api.types.is_numeric_dtype(values.dtype):
        values = values.astype(object)
        missing = missing | (values.astype(str).str.strip() == "").to_numpy()
    numbers = pd.to_numeric(values, errors="coerce")
    # What float32 cannot hold is told below, and not by NumPy as well.
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
    """The column that a task is of, and whether the label is as it stands."""
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
