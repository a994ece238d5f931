"""Popular items of a catalogue."""

from __future__ import annotations

import numpy as np

# Share of the training events that the head of the catalogue takes.
HEAD_SHARE = 0.8


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
