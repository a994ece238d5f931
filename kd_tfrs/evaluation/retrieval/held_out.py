"""Held-out events as arrays: users, excluded items and relevant items.

They are prepared once for a split and used by every evaluation on it.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp

from kd_tfrs.errors import UserError
from kd_tfrs.evaluation.ids import Exclusions, IdIndex, as_ids, shown

# Items of which a random key is drawn at a time by `HeldOut.unseen`.
_BLOCK_KEYS = 2**24


class HeldOut:
    """Held-out events and excluded events, as places in the catalogue.

    Args:
        train: training events.
        held_out: held-out events.
        items: [num_items], raw ids of the catalogue.
        exclude: further events to leave out: a frame, several, or None.
        user_col: name of the user column.
        item_col: name of the item column.

    Raises:
        UserError: no held-out events, a missing column, or an event that is
            held out and excluded at once.

    Example:
    ```python
    data = HeldOut(train, test, item_ids, None, "user_id", "item_id")
    ids, scores = scorer.recommend(data.users, 10, data.exclusions)
    hits = data.hits(data.ranked(ids, scores))
    ```
    """

    def __init__(
        self,
        train: pd.DataFrame,
        held_out: pd.DataFrame,
        items: Any,
        exclude: pd.DataFrame | Sequence[pd.DataFrame] | None,
        user_col: str,
        item_col: str,
    ) -> None:
        if isinstance(exclude, pd.DataFrame):
            exclude = [exclude]
        parts = [train, *(exclude or [])]
        for frame in (held_out, *parts):
            _check_columns(frame, user_col, item_col)
        if held_out.empty:
            raise UserError(
                "`held_out` should hold at least one event. Received: none. "
                "Hold out a larger part."
            )
        self.catalogue = IdIndex(items, "items")
        self._users = IdIndex(
            np.unique(as_ids(held_out[user_col], user_col)), user_col
        )
        pairs = [
            (
                self._users.positions(frame[user_col]),
                self.catalogue.positions(frame[item_col]),
            )
            for frame in parts
        ]
        train_users, train_items = pairs[0]
        self.user_counts = _counts(train_users, len(self._users))
        self.item_counts = _counts(train_items, len(self.catalogue))
        self._train = train, user_col, item_col
        # An event is one number: user * catalogue size + item.
        self._excluded = np.unique(
            np.concatenate([self._keys(*pair) for pair in pairs])
        )
        self._set_relevant(held_out[user_col], held_out[item_col])

    def _set_relevant(self, users: pd.Series, items: pd.Series) -> None:
        """Counts the distinct held-out items of each user."""
        distinct = pd.DataFrame({"user": users, "item": items})
        distinct = distinct.drop_duplicates()
        rows = self._users.positions(distinct["user"])
        places = self.catalogue.positions(distinct["item"])
        self.relevant = _counts(rows, len(self._users))
        self._unknown = _counts(rows[places < 0], len(self._users))
        self._relevant = np.sort(self._keys(rows, places))
        both = self._relevant[_isin(self._relevant, self._excluded)]
        if len(both):
            user, item = divmod(int(both[0]), len(self.catalogue))
            raise UserError(
                "An event should not be held out and excluded at once. "
                f"Received: {len(both)} such events, among them user "
                f"{shown(self.users[user])} with item "
                f"{shown(self.catalogue.ids[item])}. Drop repeated events "
                "before the split."
            )

    @property
    def users(self) -> np.ndarray:
        """[users] raw ids of users with held-out events, ascending."""
        return self._users.ids

    @cached_property
    def exclusions(self) -> Exclusions:
        """The excluded items of each of `users`."""
        rows, places = np.divmod(self._excluded, len(self.catalogue))
        bounds = np.searchsorted(rows, np.arange(len(self.users) + 1))
        return Exclusions(bounds, self.catalogue.ids[places])

    @cached_property
    def taken_by(self) -> sp.csr_matrix:
        """[num_items, all training users] 1 where the user took the item."""
        train, user_col, item_col = self._train
        codes, users = pd.factorize(as_ids(train[user_col], user_col))
        items = self.catalogue.positions(train[item_col])
        shape = len(self.catalogue), max(1, len(users))
        return event_matrix(items, codes, shape)

    def ranked(self, ids: np.ndarray, scores: np.ndarray) -> np.ndarray:
        """Turns recommendations into places in the catalogue.

        Args:
            ids: [users, depth], raw item ids.
            scores: [users, depth], -inf where a list has ended.

        Returns:
            [users, depth], -1 where a list has ended.

        Raises:
            UserError: unknown, excluded or repeated items, or NaN scores.
        """
        there = scores > -np.inf
        if np.isnan(scores).any():
            raise UserError(
                "Scores should be numbers. Received: NaN. The model has "
                "diverged: lower its learning rate."
            )
        places = self.catalogue.positions(ids)
        if (there & (places < 0)).any():
            unknown = np.asarray(ids)[there & (places < 0)][0]
            raise UserError(
                "A scorer should recommend from the catalogue. Received: "
                f"item {shown(unknown)}. Give `items` all items of the model."
            )
        places = np.where(there, places, -1)
        self._check_lists(places)
        return places

    def _check_lists(self, ranked: np.ndarray) -> None:
        """Raises where a list holds an excluded or a repeated item."""
        keys = self._keys(np.arange(len(ranked))[:, None], ranked)
        keys = np.sort(keys)
        excluded = _isin(keys, self._excluded).sum()
        repeated = (keys[1:] == keys[:-1]).sum()
        if excluded or repeated:
            raise UserError(
                "A scorer should leave out excluded items and name an item "
                f"once. Received: {excluded} excluded and {repeated} repeated "
                "recommendations. Mend its `recommend`."
            )

    def hits(self, ranked: np.ndarray) -> np.ndarray:
        """Marks the relevant recommendations.

        Args:
            ranked: [users, depth], places in the catalogue, -1 for none.

        Returns:
            [users, depth], boolean.
        """
        rows = np.arange(len(ranked))[:, None]
        keys = rows * len(self.catalogue) + ranked
        return _isin(keys, self._relevant) & (ranked >= 0)

    def count_relevant(self, which: np.ndarray) -> np.ndarray:
        """Counts the relevant items of each user in a part of the catalogue.

        Args:
            which: [num_items + 1], boolean; the last value is for items
                outside of the catalogue.

        Returns:
            [users].
        """
        rows, places = np.divmod(self._relevant, len(self.catalogue))
        counts = _counts(rows[which[places]], len(self.users))
        return counts + self._unknown * which[-1]

    def events(self) -> tuple[np.ndarray, np.ndarray]:
        """Lists the held-out events of items in the catalogue.

        Returns:
            Rows into `users` [events], ascending, and places in the catalogue
            [events].
        """
        return np.divmod(self._relevant, len(self.catalogue))

    def unseen(self, rows: np.ndarray, count: int, seed: int) -> np.ndarray:
        """Draws items without events of the user, without replacement.

        Args:
            rows: [events], ascending rows into `users`.
            count: items for each event.
            seed: of the draw.

        Returns:
            [events, count], places in the catalogue.

        Raises:
            UserError: a user with fewer than `count` such items.
        """
        size = len(self.catalogue)
        seen = np.sort(np.concatenate([self._excluded, self._relevant]))
        taken = _counts(seen // size, len(self.users))[rows]
        if size - taken.max() < count:
            raise UserError(
                "`num_negatives` should be at most the items that each user "
                f"left, here {size - taken.max()}. Received: {count}. Draw "
                "fewer."
            )
        drawn = np.empty((len(rows), count), np.int64)
        random = np.random.default_rng(seed)
        step = max(1, _BLOCK_KEYS // size)
        for start in range(0, len(rows), step):
            block = rows[start : start + step]
            # The smallest random keys are a draw without replacement.
            keys = random.random((len(block), size), dtype=np.float32)
            line, item = _spread(block, seen, size)
            keys[line, item] = np.inf
            drawn[start : start + step] = np.argpartition(keys, count - 1)[
                :, :count
            ]
        return drawn

    def _keys(self, rows: np.ndarray, places: np.ndarray) -> np.ndarray:
        """One number for each event; unknown users and items are left out."""
        is_known = (rows >= 0) & (places >= 0)
        keys = rows * len(self.catalogue) + places
        return keys[is_known]


def event_matrix(
    rows: np.ndarray, columns: np.ndarray, shape: tuple[int, int]
) -> sp.csr_matrix:
    """Builds a matrix with 1 for each pair of places that has an event.

    Args:
        rows: [events], -1 where an event is left out.
        columns: [events], -1 likewise.
        shape: of the matrix.

    Returns:
        `float32`; a repeated event counts once.

    Example:
    >>> event_matrix(np.zeros(2, int), np.array([1, -1]), (1, 2)).toarray()
    array([[0., 1.]], dtype=float32)
    """
    known = (rows >= 0) & (columns >= 0)
    ones = np.ones(int(known.sum()), np.float32)
    events = sp.csr_matrix((ones, (rows[known], columns[known])), shape=shape)
    events.data[:] = 1.0
    return events


def _check_columns(frame: pd.DataFrame, *columns: str) -> None:
    for column in columns:
        if column not in frame.columns:
            raise UserError(
                f"Events should have the column `{column}`. Received: "
                f"{list(map(str, frame.columns))}. Rename it, or give "
                "`user_col` and `item_col`."
            )


def _counts(places: np.ndarray, size: int) -> np.ndarray:
    """Counts places; -1 is left out."""
    return np.bincount(places[places >= 0], minlength=size)


def _isin(values: np.ndarray, ascending: np.ndarray) -> np.ndarray:
    """Marks the values that are in a sorted array."""
    if not len(ascending):
        return np.zeros(values.shape, bool)
    places = np.searchsorted(ascending, values)
    return ascending[np.minimum(places, len(ascending) - 1)] == values


def _spread(
    block: np.ndarray, seen: np.ndarray, size: int
) -> tuple[np.ndarray, np.ndarray]:
    """Lines of a block of users, and the items that each user took."""
    low = np.searchsorted(seen, block * size)
    high = np.searchsorted(seen, (block + 1) * size)
    line = np.repeat(np.arange(len(block)), high - low)
    within = np.arange(len(line)) - np.repeat(
        np.cumsum(high - low) - (high - low), high - low
    )
    return line, seen[low[line] + within] - block[line] * size
