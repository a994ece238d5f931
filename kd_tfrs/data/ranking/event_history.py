"""Counts, means and histories of the events before a moment, vectorised."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from kd_tfrs.data.interactions import Interactions
from kd_tfrs.data.targets import task_labels

PADDING_TEXT = ""
PADDING_NUMBER = -1


@dataclass(frozen=True, eq=False)
class Window:
    """A run of earlier events for each query, oldest first.

    Args:
        order: `[events]` event numbers, sorted by key, then by time.
        first: `[n]` position in `order` at which the run begins.
        stop: `[n]` position in `order` after the last event of the run.
    """

    order: np.ndarray
    first: np.ndarray
    stop: np.ndarray

    def counts(self) -> np.ndarray:
        """`[n]` int64 numbers of earlier events."""
        return self.stop - self.first

    def means(self, values: np.ndarray) -> np.ndarray:
        """Means over the earlier events.

        Args:
            values: `[events]` numbers by event; NaN are ignored.

        Returns:
            `[n]` float64, NaN where no earlier event has a number.
        """
        ordered = values[self.order]
        present = ~np.isnan(ordered)
        # One NaN would be in every sum after it.
        counts = self._sums(present.astype(np.int64))
        sums = self._sums(np.where(present, ordered, 0.0))
        return np.where(counts, sums / np.maximum(counts, 1), np.nan)

    def _sums(self, ordered: np.ndarray) -> np.ndarray:
        total = np.concatenate([np.zeros(1, ordered.dtype), np.cumsum(ordered)])
        return total[self.stop] - total[self.first]

    def newest(self, ids: np.ndarray, length: int) -> np.ndarray:
        """Ids of the latest earlier events, newest first.

        Args:
            ids: `[events]` ids by event, numbers or text.
            length: maximum number of ids, 1 or more.

        Returns:
            `[n, length]` ids, padded with -1 (numbers) or "" (text).
        """
        numeric = ids.dtype.kind in "iu"
        padding = PADDING_NUMBER if numeric else PADDING_TEXT
        ordered = np.append(ids[self.order], ids.dtype.type(padding))
        result = np.empty((len(self.first), length), ids.dtype)
        for back in range(length):
            place = self.stop - 1 - back
            # The padding is the last element, which has the index -1.
            result[:, back] = ordered[np.where(place < self.first, -1, place)]
        return result


class SortedEvents:
    """Events sorted by key and time, for look-ups of what came earlier.

    Events of the same time keep their order, and none of them counts as
    earlier than another.

    Args:
        keys: `[events]` row of the user or item of each event, integers of at
            least 0.
        times: `[events]` time of each event.

    Example:
    >>> index = SortedEvents(np.array([0, 0, 1]), np.array([5, 7, 6]))
    >>> index.before(np.array([0, 0, 1]), np.array([7, 8, 8])).counts()
    array([1, 2, 1])
    """

    def __init__(self, keys: np.ndarray, times: np.ndarray) -> None:
        self._moments = np.unique(times)
        ranks = np.searchsorted(self._moments, times)
        marks = self._mark(keys, ranks)
        self._order = np.argsort(marks, kind="stable")
        self._marks = marks[self._order]
        every = np.arange(int(keys.max(initial=-1)) + 2)
        self._first = np.searchsorted(self._marks, self._mark(every, 0))

    def before(self, keys: np.ndarray, times: np.ndarray) -> Window:
        """Returns the events of each key with a smaller time.

        Args:
            keys: `[n]` rows of users or items.
            times: `[n]` moments; infinity selects all events.

        Returns:
            A window of `n` runs.
        """
        first = self._first[np.minimum(keys, len(self._first) - 1)]
        marks = self._mark(keys, np.searchsorted(self._moments, times))
        # Sorted queries search neighbouring positions, which stay in the
        # processor's cache.
        by_mark = np.argsort(marks)
        stop = np.empty_like(first)
        stop[by_mark] = np.searchsorted(self._marks, marks[by_mark])
        return Window(self._order, first, stop)

    def _mark(self, keys: np.ndarray, ranks: np.ndarray | int) -> np.ndarray:
        # One number that sorts by key, then by time.
        return keys.astype(np.int64) * (len(self._moments) + 1) + ranks


class EventHistory:
    """Statistics of users and items over the events before a moment.

    Args:
        interactions: the ids of all users and items, and the schema, which
            has a time.
        events: `[events]` rows that the statistics are computed from.
        in_history: `[events]` mask of the events that histories contain.
    """

    def __init__(
        self,
        interactions: Interactions,
        events: pd.DataFrame,
        in_history: np.ndarray,
    ) -> None:
        schema = interactions.schema
        names = {"user": schema.user_id, "item": schema.item_id}
        self._indexes = {
            "user": pd.Index(interactions.users[names["user"]]),
            "item": pd.Index(interactions.items[names["item"]]),
        }
        self._labels = None
        if schema.label is not None:
            self._labels = events[schema.label].to_numpy(np.float64)
        keys = {
            owner: self._indexes[owner].get_indexer(events[name])
            for owner, name in names.items()
        }
        times = events[schema.time].to_numpy()
        self._by_owner = {
            owner: SortedEvents(keys[owner], times) for owner in names
        }
        self._in_history = SortedEvents(
            keys["user"][in_history], times[in_history]
        )
        self._history_items = plain_ids(events[schema.item_id])[in_history]

    @classmethod
    def of(
        cls,
        interactions: Interactions,
        events: pd.DataFrame,
        history_task: str | None = None,
        liked_from: float = 4.0,
    ) -> EventHistory:
        """Builds the statistics with the histories of one task.

        Args:
            interactions: see the class.
            events: see the class.
            history_task: histories contain the events with a label above 0
                of this task, and no event without a label. They contain all
                events when `None`.
            liked_from: see `task_labels`.

        Returns:
            The event history.
        """
        mask = np.ones(len(events), bool)
        if history_task is not None:
            schema = interactions.schema
            # A missing label is NaN, which is not above 0.
            mask = task_labels(events, schema, history_task, liked_from) > 0
        return cls(interactions, events, mask)

    def so_far(
        self, owner: str, ids: pd.Series, times: np.ndarray
    ) -> dict[str, np.ndarray]:
        """Event counts and mean labels of users or items before given times.

        Args:
            owner: "user" or "item".
            ids: `[n]` ids that the tables of `interactions` contain.
            times: `[n]` moments.

        Returns:
            `{owner}_events`, `[n]` int64, and `{owner}_mean_label`, `[n]`
            float64, NaN where no earlier event has a label.
        """
        keys = self._indexes[owner].get_indexer(ids)
        window = self._by_owner[owner].before(keys, times)
        columns = {f"{owner}_events": window.counts()}
        if self._labels is not None:
            columns[f"{owner}_mean_label"] = window.means(self._labels)
        return columns

    def history(
        self, users: pd.Series, times: np.ndarray, length: int
    ) -> np.ndarray:
        """Items of the users' earlier events.

        Args:
            users: `[n]` ids that the table of users contains.
            times: `[n]` moments.
            length: maximum number of items, 1 or more.

        Returns:
            `[n, length]` item ids, newest first, see `Window.newest`.
        """
        keys = self._indexes["user"].get_indexer(users)
        window = self._in_history.before(keys, times)
        return window.newest(self._history_items, length)


def plain_ids(ids: pd.Series) -> np.ndarray:
    """`[n]` ids as int64, or as an array of Python strings."""
    if pd.api.types.is_integer_dtype(ids.dtype):
        return ids.to_numpy(np.int64)
    return ids.to_numpy(dtype=object)
