"""Scorers that can score a whole catalogue: mask, ties and top k in one place.

Ties are broken by catalogue order everywhere: of two items with the same score
the one with the smaller id comes first (numeric for integers, by code point
for text).
"""

from __future__ import annotations

import abc
from typing import Any

import numpy as np
import tensorflow as tf

from kd_tfrs.errors import UserError
from kd_tfrs.evaluation.checks import check_k
from kd_tfrs.evaluation.ids import Exclusions, IdIndex, as_ids

# 64 MB of float32 scores at a time, for any size of the catalogue.
_BLOCK_SCORES = 2**24
# Groups of columns in `top_k`: more bound tighter, fewer are faster.
_GROUPS = 512
# Share of the training events that the head of the catalogue takes.
HEAD_SHARE = 0.8


class CatalogueScorer(abc.ABC):
    """A scorer that can score its whole catalogue for a block of users.

    A subclass implements `catalogue_scores`. This class applies the mask,
    breaks ties and selects the top k.

    Args:
        user_ids: [num_users], distinct raw ids.
        item_ids: [num_items], distinct raw ids.
    """

    def __init__(self, user_ids: Any, item_ids: Any) -> None:
        self._users = IdIndex(user_ids, "user_ids")
        self._items = IdIndex(item_ids, "item_ids")

    @abc.abstractmethod
    def catalogue_scores(self, users: np.ndarray) -> np.ndarray:
        """Scores every item of the catalogue.

        Args:
            users: [n], places in the `user_ids` that were given; -1 for an
                unknown user.

        Returns:
            `float32` [n, num_items] in ascending order of the item ids, an
            array that the caller may write to.
        """

    def recommend(
        self, queries: Any, k: int, exclude: Any = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Finds the k best items of each query; see `Scorer.recommend`."""
        check_k(k)
        users = self._places(queries)
        exclude = Exclusions.of(exclude, len(users))
        columns = self._items.positions(exclude.ids)
        rows = exclude.rows
        rows, columns = rows[columns >= 0], columns[columns >= 0]
        depth = min(k, len(self._items))
        best = np.zeros((len(users), k), np.int64)
        scores = np.full((len(users), k), -np.inf, np.float32)
        for start, stop in self._blocks(len(users)):
            block = self.catalogue_scores(users[start:stop])
            here = slice(*np.searchsorted(rows, [start, stop]))
            block[rows[here] - start, columns[here]] = -np.inf
            top = top_k(block, depth)
            scores[start:stop, :depth], best[start:stop, :depth] = top
        return self._items.ids[best], scores

    def score(self, queries: Any, candidates: Any) -> np.ndarray:
        """Scores given candidates; see `Scorer.score`."""
        users = self._places(queries)
        columns = self._candidate_places(candidates, len(users))
        scores = np.empty(columns.shape, np.float32)
        for start, stop in self._blocks(len(users)):
            scores[start:stop] = self._score_block(
                users[start:stop], columns[start:stop]
            )
        scores[columns < 0] = -np.inf
        return scores

    def _score_block(self, users: np.ndarray, items: np.ndarray) -> np.ndarray:
        """Scores [n, m] items by their place in the ascending order."""
        return np.take_along_axis(self.catalogue_scores(users), items, axis=1)

    def _places(self, queries: Any) -> np.ndarray:
        """[n] places in the user ids that were given; -1 for unknown."""
        positions = self._users.positions(as_ids(queries, "queries").ravel())
        return np.where(positions >= 0, self._users.order[positions], -1)

    def _candidate_places(self, candidates: Any, rows: int) -> np.ndarray:
        """[n, m] places of candidates in the ascending order of items."""
        columns = self._items.positions(candidates)
        if columns.ndim != 2 or len(columns) != rows:
            raise UserError(
                "`candidates` should have the shape [queries, candidates] = "
                f"[{rows}, m]. Received: {list(columns.shape)}. Give one row "
                "of item ids for each query."
            )
        return columns

    def _blocks(self, num_queries: int) -> list[tuple[int, int]]:
        """Cuts the queries so that a block of scores stays in memory."""
        size = max(1, _BLOCK_SCORES // len(self._items))
        starts = range(0, num_queries, size)
        return [(start, min(start + size, num_queries)) for start in starts]


def top_k(scores: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Finds the k largest values of each row.

    Of equal values, the one with the smaller index comes first.

    Args:
        scores: `float32` [n, m].
        k: at most m.

    Returns:
        Values [n, k], largest first, and their columns [n, k].

    Example:
    >>> top_k(np.float32([[1, 3, 3]]), 2)[1].tolist()
    [[1, 2]]
    """
    best = None
    if 4 * k <= _GROUPS and scores.shape[1] >= 4 * _GROUPS:
        best = _top_k_above_bound(scores, k)
    if best is None:
        # On the CPU, TensorFlow guarantees the smaller index of equal values.
        with tf.device("CPU:0"):
            values, columns = tf.math.top_k(scores, k)
        best = values.numpy(), columns.numpy()
    return best


def _top_k_above_bound(
    scores: np.ndarray, k: int
) -> tuple[np.ndarray, np.ndarray] | None:
    """Finds the k largest five times as fast; None if many are near the top."""
    # The k-th largest of the maxima of groups of columns is a bound that at
    # least k scores reach, so no score below it is among the first k.
    rows, width = scores.shape
    even = width - width % _GROUPS
    groups = scores[:, :even].reshape(rows, even // _GROUPS, _GROUPS)
    maxima = np.partition(groups.max(axis=1), _GROUPS - k, axis=1)
    reached = scores >= maxima[:, _GROUPS - k, None]
    if np.count_nonzero(reached) > 8 * k * rows:
        return None
    flat = np.flatnonzero(reached)
    lines = flat // width
    values = scores.ravel()[flat]
    # Stable, and columns ascend already: equal values stay in their order.
    order = np.lexsort((-values, lines))
    first = np.searchsorted(lines, np.arange(rows))
    best = order[first[:, None] + np.arange(k)]
    return values[best], flat[best] % width


def head_items(counts: np.ndarray, share: float = HEAD_SHARE) -> np.ndarray:
    """The head of a catalogue: the fewest items with most of the events.

    Args:
        counts: [num_items], training events of each item.
        share: of the events that the head takes, in [0, 1].

    Returns:
        [num_items + 1], boolean; the last is False and stands for an item
        outside of the catalogue (place -1).

    Example:
    >>> head_items(np.array([1, 8, 1])).tolist()
    [False, True, False, False]
    """
    order = np.argsort(-counts, kind="stable")
    before = np.cumsum(counts[order]) - counts[order]
    in_head = np.zeros(len(counts) + 1, bool)
    in_head[order] = (before < share * counts.sum()) & (counts[order] > 0)
    return in_head
