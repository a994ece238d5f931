"""Impressions to be scored: joined features, labels by task, histories.

No feature of a row depends on its own event, on another event of the same
time, or on a later one: counts, means and histories are computed from strictly
earlier events.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from kd_tfrs.data.interactions import Interactions
from kd_tfrs.data.ranking.derived import DERIVED, choose_derived
from kd_tfrs.data.ranking.event_history import EventHistory, plain_ids
from kd_tfrs.data.ranking.joining import join_columns
from kd_tfrs.data.schema import Column, Encoding, Schema
from kd_tfrs.data.splits import Split
from kd_tfrs.data.targets import check_tasks, require_labels, task_labels
from kd_tfrs.errors import UserError

DEFAULT_HISTORY = 20
PARTS = ("train", "validation", "test")
_NO_FEATURE = (Encoding.TIME, Encoding.LABEL, Encoding.WEIGHT)


@dataclass(frozen=True, eq=False)
class Examples:
    """Impressions to be scored, one row each.

    Args:
        table: `[n]` rows of raw columns by schema name: the user's, the
            item's and the event's. Text is stored as pandas categories.
        columns: the features among them, each with its owner; those with
            `training_only` are for teachers alone.
        labels: by task, `[n]` float32, NaN where a row has no label.
        weights: `[n]` float32, ones where the data have none.
        groups: `[n]` user ids, for metrics per user, or None.
        items: `[n]` item ids, or None.
        history: `[n, length]` item ids of the user's strictly earlier events,
            newest first, padded with "" (text) or -1 (numbers); or None.

    Raises:
        UserError: when the parts differ in length.
    """

    table: pd.DataFrame
    columns: tuple[Column, ...]
    labels: dict[str, np.ndarray]
    weights: np.ndarray
    groups: np.ndarray | None = None
    items: np.ndarray | None = None
    history: np.ndarray | None = None

    def __repr__(self) -> str:
        return (
            f"Examples({len(self.table):,} rows of {len(self.columns)} "
            f"features, labels {', '.join(self.labels)})"
        )

    def __post_init__(self) -> None:
        lengths = {name: len(rows) for name, rows in self._arrays().items()}
        if len({len(self.table), *lengths.values()}) > 1:
            raise UserError(
                "Examples should have one value a row everywhere. Received: "
                f"{len(self.table)} rows in the table and {lengths}. Give "
                "arrays of the same length."
            )

    def _arrays(self) -> dict[str, np.ndarray]:
        labels = {f"labels[{k!r}]": v for k, v in self.labels.items()}
        others = {
            name: getattr(self, name)
            for name in ("weights", "groups", "items", "history")
        }
        return labels | {k: v for k, v in others.items() if v is not None}

    def __len__(self) -> int:
        return len(self.table)

    @property
    def served_columns(self) -> tuple[Column, ...]:
        """The features that are known when serving."""
        return tuple(c for c in self.columns if not c.training_only)

    def take(self, rows: np.ndarray | slice) -> Examples:
        """Selects rows.

        Args:
            rows: `[m]` row numbers, a `[n]` mask, or a slice.

        Returns:
            New examples in the order of `rows`.
        """
        parts = {
            name: None if array is None else array[rows]
            for name in ("weights", "groups", "items", "history")
            for array in [getattr(self, name)]
        }
        return dataclasses.replace(
            self,
            table=self.table.iloc[rows].reset_index(drop=True),
            labels={name: array[rows] for name, array in self.labels.items()},
            **parts,
        )


@dataclass(frozen=True, eq=False)
class ExampleSplit:
    """Examples for training, validation and test.

    Args:
        train: training examples; vocabularies and moments come from these
            rows.
        validation: examples for model selection.
        test: examples for the reported metrics.
        name: name of the data set.
        interactions: source of the examples, with the tables of all users and
            items; None for logs that have neither.
        truth: by part and task, the `[n]` true probabilities of synthetic
            data; None for real data.
        parts: split of the events that the examples are built from; None for
            logs.
        liked_from: the lowest label that counts as liked.
        history_task: see `build_examples`.
    """

    train: Examples
    validation: Examples
    test: Examples
    name: str = "data"
    interactions: Interactions | None = None
    truth: Mapping[str, Mapping[str, np.ndarray]] | None = None
    parts: Split | None = None
    liked_from: float = 4.0
    history_task: str | None = None

    def __repr__(self) -> str:
        return f"ExampleSplit({self.name!r}: {self})"

    def __str__(self) -> str:
        sizes = ", ".join(f"{len(getattr(self, p)):,} {p}" for p in PARTS)
        rates = ", ".join(
            f"{task} {_mean(labels)}"
            for task, labels in self.train.labels.items()
        )
        return f"{self.name}: {sizes} examples; mean label {rates}"


def _mean(labels: np.ndarray) -> str:
    present = labels[~np.isnan(labels)]
    count = "" if len(present) == len(labels) else f" of {len(present):,}"
    return f"{present.mean():.3f}{count}"


def build_examples(
    interactions: Interactions,
    split: Split,
    tasks: Sequence[str] = ("liked",),
    history_length: int | None = None,
    *,
    liked_from: float = 4.0,
    history_task: str | None = None,
    derived: Collection[str] | None = None,
    leave_out: Collection[str] = (),
    online: bool = False,
) -> ExampleSplit:
    """Turns the events of a split into examples.

    In addition to the columns of the schema, these features are derived, each
    from events with a strictly smaller time: `user_events`, `item_events`
    (their numbers), `user_mean_label`, `item_mean_label` (means of the
    schema's label, missing without an event), and from the event's own time
    `hour` and `weekday` (UTC, Monday is 0).

    Args:
        interactions: tables of users, items and events.
        split: parts of its events.
        tasks: names of labels. A name is a column of the events, which is
            then not a feature. If there is no such column, "rating" is the
            schema's label and "liked" is whether that label is at least
            `liked_from`. A missing label is NaN, which models and metrics
            ignore.
        history_length: items in a history; 0 for none. When `None`, 20 for
            data with time.
        liked_from: the lowest label that counts as liked.
        history_task: histories contain only the events with a label above 0
            of this task, such as clicks among impressions. They contain all
            events when `None`.
        derived: names of the derived features; when `None`, all that the data
            allow.
        leave_out: columns of the schema that are not features, such as
            outcomes that are not among the tasks.
        online: whether the features of held-out rows also use the earlier
            events of validation and test, as in a service that is updated
            with every event. When False they use training events only, as in
            a service that is updated once a day. The features of training
            rows always use training events only.

    Returns:
        The examples, rows in the order of the split's events.

    Raises:
        UserError: when a task, a column or the time is missing, two tasks
            are the same label, or no training event has a task's label.

    Example:
    ```python
    data = load("movielens-100k")
    parts = build_examples(data, by_time(data), tasks=["liked", "rating"])
    ```
    """
    schema = interactions.schema
    length = _check_history(schema, history_length, history_task)
    chosen = choose_derived(schema, derived)
    columns = _features(schema, tasks, leave_out, chosen, length)
    check_tasks(split.train.columns, schema, tasks)
    frames = {part: getattr(split, part) for part in PARTS}
    build = _Builder(
        interactions, tuple(tasks), length, liked_from, history_task
    )
    examples, seen, event_history = {}, [], None
    for part in PARTS:
        # The features of training rows never depend on held-out events.
        if online or not seen:
            seen.append(frames[part])
            event_history = build.event_history(seen)
        examples[part] = build.examples(frames[part], event_history, columns)
    for task in tasks:
        labels = {part: examples[part].labels[task] for part in PARTS}
        require_labels(labels, task)
    return ExampleSplit(
        **examples,
        name=interactions.name,
        interactions=interactions,
        parts=split,
        liked_from=liked_from,
        history_task=history_task,
    )


def _check_history(
    schema: Schema, history_length: int | None, history_task: str | None
) -> int:
    if history_length is None:
        history_length = 0 if schema.time is None else DEFAULT_HISTORY
    if history_length < 0 or (history_length and schema.time is None):
        raise UserError(
            "`history_length` should be at least 0, and 0 for data without "
            f"time. Received: `history_length` = {history_length} and time = "
            f"{schema.time!r}. Name the time column or give 0."
        )
    if history_task is not None and not history_length:
        raise UserError(
            "`history_task` should be given with histories only. Received: "
            f"`history_task` = {history_task!r} without histories. Leave it "
            "out."
        )
    return history_length


def _features(
    schema: Schema,
    tasks: Sequence[str],
    leave_out: Collection[str],
    derived: tuple[str, ...],
    length: int,
) -> tuple[Column, ...]:
    if isinstance(tasks, str) or not tasks or len({*tasks}) < len(tasks):
        raise UserError(
            "`tasks` should be a list of different names. Received: `tasks` "
            f"= {tasks!r}. Give one task at least, such as ['liked']."
        )
    names = {column.name for column in schema.columns}
    unknown = sorted(set(leave_out) - names)
    reserved = sorted(names & {"history"}) if length else []
    if unknown or reserved:
        raise UserError(
            "`leave_out` should name columns of the schema, and no column "
            f"should be named history. Received: {(unknown + reserved)[0]!r} "
            f"and columns {sorted(names)}. Correct the name."
        )
    own = tuple(
        column
        for column in schema.columns
        if column.encoding not in _NO_FEATURE
        and column.name not in {*tasks, *leave_out}
    )
    return own + tuple(DERIVED[name] for name in derived)


@dataclass(frozen=True)
class _Builder:
    interactions: Interactions
    tasks: tuple[str, ...]
    length: int
    liked_from: float
    history_task: str | None

    def event_history(self, frames: list[pd.DataFrame]) -> EventHistory | None:
        if self.interactions.schema.time is None:
            return None
        events = pd.concat(frames) if len(frames) > 1 else frames[0]
        return EventHistory.of(
            self.interactions, events, self.history_task, self.liked_from
        )

    def examples(
        self,
        events: pd.DataFrame,
        event_history: EventHistory | None,
        columns: tuple[Column, ...],
    ) -> Examples:
        schema = self.interactions.schema
        users = events[schema.user_id]
        weights = np.ones(len(events), np.float32)
        if schema.weight:
            weights = events[schema.weight].to_numpy(np.float32)
        history = None
        if self.length:
            times = events[schema.time].to_numpy()
            history = event_history.history(users, times, self.length)
        return Examples(
            table=join_columns(
                self.interactions, events, columns, event_history
            ),
            columns=columns,
            labels={
                task: task_labels(events, schema, task, self.liked_from)
                for task in self.tasks
            },
            weights=weights,
            groups=plain_ids(users),
            items=plain_ids(events[schema.item_id]),
            history=history,
        )
