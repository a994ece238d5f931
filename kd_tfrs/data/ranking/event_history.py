"""What came strictly before: counts, means and histories without a loop."""

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
    """For every question a run of earlier events, oldest first.

    Args:
        order: `[events]` event numbers, sorted by key, then by time.
        first: `[n]` where the run begins in `order`.
        stop: `[n]` one past its last.
    """

    order: np.ndarray
    first: np.ndarray
    stop: np.ndarray

    def counts(self) -> np.ndarray:
        """`[n]` int64, how many events came before."""
        return self.stop - self.first

    def means(self, values: np.ndarray) -> np.ndarray:
        """Means of what came before.

        Args:
            values: `[events]` numbers by event; NaN are passed over.

        Returns:
            `[n]` float64, NaN where no number came before.
        """
        ordered = values[self.order]
        known = ~np.isnan(ordered)
        # One NaN would be in every sum after it.
        counts = self._sums(known.astype(np.int64))
        sums = self._sums(np.where(known, ordered, 0.0))
        return np.where(counts, sums / np.maximum(counts, 1), np.nan)

    def _sums(self, ordered: np.ndarray) -> np.ndarray:
        total = np.concatenate([np.zeros(1, ordered.dtype), np.cumsum(ordered)])
        return total[self.stop] - total[self.first]

    def newest(self, ids: np.ndarray, length: int) -> np.ndarray:
        """Ids of the last events before, newest first.

        Args:
            ids: `[events]` ids by event, numbers or text.
            length: how many at most, 1 or more.

        Returns:
            `[n, length]`; -1 among numbers and "" among text where there is
            none.
        """
        numeric = ids.dtype.kind in "iu"
        padding = PADDING_NUMBER if numeric else PADDING_TEXT
        ordered = np.append(ids[self.order], ids.dtype.type(padding))
        result = np.empty((len(self.first), length), ids.dtype)
        for back in range(length):
            place = self.stop - 1 - back
            # The padding stands at the end, which is also place -1.
            result[:, back] = ordered[np.where(place < self.first, -1, place)]
        return result


class Past:
    """Events sorted by key and time, to be asked what came before a moment.

    Events of one time are ordered as they stand, and none of them is before
    the other.

    Args:
        keys: `[events]` whose event it is, integers of at least 0.
        times: `[events]` when.

    Example:
    >>> past = Past(np.array([0, 0, 1]), np.array([5, 7, 6]))
    >>> past.before(np.array([0, 0, 1]), np.array([7, 8, 8])).counts()
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
        """The events of each key with a smaller time.

        Args:
            keys: `[n]` whose events.
            times: `[n]` moments; infinity asks for all.

        Returns:
            A window of `n` runs.
        """
        first = self._first[np.minimum(keys, len(self._first) - 1)]
        marks = self._mark(keys, np.searchsorted(self._moments, times))
        # Asked in order, a million questions find their places in the
        # processor's cache.
        by_mark = np.argsort(marks)
        stop = np.empty_like(first)
        stop[by_mark] = np.searchsorted(self._marks, marks[by_mark])
        return Window(self._order, first, stop)

    def _mark(self, keys: np.ndarray, ranks: np.ndarray | int) -> np.ndarray:
        # One number that sorts by key, then by time.
        return keys.astype(np.int64) * (len(self._moments) + 1) + ranks


class EventHistory:
    """What some events tell about users and items at any later moment.

    Args:
        interactions: the ids of all users and items, and the schema, which
            has a time.
        events: `[events]` rows to be looked back at.
        taken: `[events]` which of them count as taken by the user.
    """

    def __init__(
        self,
        interactions: Interactions,
        events: pd.DataFrame,
        taken: np.ndarray,
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
        self._past = {owner: Past(keys[owner], times) for owner in names}
        self._taken = Past(keys["user"][taken], times[taken])
        self._taken_items = plain_ids(events[schema.item_id])[taken]

    @classmethod
    def of(
        cls,
        interactions: Interactions,
        events: pd.DataFrame,
        taken: str | None = None,
        liked_from: float = 4.0,
    ) -> EventHistory:
        """Looks back at events, of which a task says what was taken.

        Args:
            interactions: see the class.
            events: see the class.
            taken: a task; events whose label is above 0 were taken, those
                without one were not. All were when `None`.
            liked_from: see `task_labels`.

        Returns:
            The record.
        """
        mask = np.ones(len(events), bool)
        if taken is not None:
            schema = interactions.schema
            # Nothing is above 0 where there is no label, which is NaN.
            mask = task_labels(events, schema, taken, liked_from) > 0
        return cls(interactions, events, mask)

    def so_far(
        self, owner: str, ids: pd.Series, times: np.ndarray
    ) -> dict[str, np.ndarray]:
        """Counts and mean labels of users or items before some moments.

        Args:
            owner: "user" or "item".
            ids: `[n]` known ids.
            times: `[n]` moments.

        Returns:
            `{owner}_events`, `[n]` int64, and `{owner}_mean_label`, `[n]`
            float64 with NaN where no label came before.
        """
        keys = self._indexes[owner].get_indexer(ids)
        window = self._past[owner].before(keys, times)
        columns = {f"{owner}_events": window.counts()}
        if self._labels is not None:
            columns[f"{owner}_mean_label"] = window.means(self._labels)
        return columns

    def history(
        self, users: pd.Series, times: np.ndarray, length: int
    ) -> np.ndarray:
        """What users took before some moments.

        Args:
            users: `[n]` known ids.
            times: `[n]` moments.
            length: items kept, 1 or more.

        Returns:
            `[n, length]` item ids, newest first, see `Window.newest`.
        """
        keys = self._indexes["user"].get_indexer(users)
        window = self._taken.before(keys, times)
        return window.newest(self._taken_items, length)


def plain_ids(ids: pd.Series) -> np.ndarray:
    """`[n]` ids as int64, or as an array of Python strings."""
    if pd.api.types.is_integer_dtype(ids.dtype):
        return ids.to_numpy(np.int64)
    return ids.to_numpy(dtype=object)
