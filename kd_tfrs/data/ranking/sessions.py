"""Batches of impressions that keep the rows of a session together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from kd_tfrs.data.ranking.batches import RankingBatches
from kd_tfrs.errors import UserError

SESSION = "session"


class SessionBatches(RankingBatches):
    """`RankingBatches` that shuffle sessions rather than rows.

    An epoch has the same rows and the same number of batches; every batch
    also has `session`, `[batch]` int32. Sessions are in random order, and so
    are the rows of each session. A session at the end of a batch is cut in
    two. The rows of a batch are similar, so gradients are noisier than over
    shuffled rows: use it for losses that compare the rows of a session.

    Args:
        sessions: `[n]` of any type, equal for rows of one session; the user
            ids, or `session_numbers`.
        features: see `RankingBatches`, as all that follow.
        labels: by task, `[n]`.
        weights: `[n]`, or `None`.
        extras: more arrays by row, or `None`.
        **options: more of `RankingBatches`.

    Raises:
        UserError: see `RankingBatches`.

    Example:
    ```python
    batches = SessionBatches(
        examples.groups, encoded, examples.labels, examples.weights,
        batch_size=1024,
    )
    ```
    """

    def __init__(
        self,
        sessions: np.ndarray,
        features: Mapping[str, np.ndarray],
        labels: Mapping[str, np.ndarray],
        weights: np.ndarray | None = None,
        *,
        extras: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> None:
        _check(extras)
        unique, numbers = np.unique(sessions, return_inverse=True)
        numbers = numbers.astype(np.int32)
        super().__init__(
            features,
            labels,
            weights,
            extras={**(extras or {}), SESSION: numbers},
            **options,
        )
        self.num_sessions = len(unique)

    def _order(self, rows: tf.Tensor, epoch: tf.Tensor) -> tf.Tensor:
        rows = super()._order(rows, epoch)
        places = tf.random.experimental.stateless_shuffle(
            tf.range(self.num_sessions), seed=tf.stack([self.seed + 3, epoch])
        )
        of_rows = tf.gather(self._tables[SESSION], rows)
        # A stable sort keeps the random order within a session.
        by_place = tf.argsort(tf.gather(places, of_rows), stable=True)
        return tf.gather(rows, by_place)


def session_numbers(
    users: np.ndarray, times: np.ndarray, gap: float
) -> np.ndarray:
    """Cuts every user's rows into sessions at long pauses.

    Args:
        users: `[n]` user ids, in any order.
        times: `[n]` numbers.
        gap: a pause longer than this starts a session, not negative, in the
            unit of `times`; 1800 for half an hour in seconds.

    Returns:
        `[n]` int32, different for different users and sessions.

    Raises:
        UserError: `gap` is negative, or lengths differ.

    Example:
    >>> session_numbers(["a", "b", "a", "a"], [0, 5, 10, 99], 30).tolist()
    [0, 2, 0, 1]
    """
    times = np.asarray(times)
    users = np.unique(users, return_inverse=True)[1]
    if len(users) != len(times) or not gap >= 0:
        raise UserError(
            "`gap` should not be negative, and every row have a user and a "
            f"time. Received: `gap` = {gap}, {len(users)} users and "
            f"{len(times)} times."
        )
    order = np.lexsort((times, users))
    starts = np.diff(users[order]) != 0
    starts |= np.diff(times[order]) > gap
    numbers = np.zeros(len(users), np.int32)
    numbers[order[1:]] = np.cumsum(starts)
    return numbers


def _check(extras: Mapping[str, Any] | None) -> None:
    if SESSION in (extras or {}):
        raise UserError(
            f"`extras` should not be named {SESSION}, which is the name of "
            "`sessions` in a batch. Received: both. Rename it."
        )
