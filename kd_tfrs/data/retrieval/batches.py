"""tf.data batches for retrieval; row numbers are batched, then gathered."""

from __future__ import annotations

import abc
from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from kd_tfrs.data.epochs import Batch, EpochBatches, Join, shuffle
from kd_tfrs.errors import UserError

Tables = Mapping[str, np.ndarray]
Events = tuple[tf.Tensor, tf.Tensor, tf.Tensor]


def gather_features(tables: Tables, rows: tf.Tensor) -> Batch:
    """Gathers the encoded features of rows.

    Args:
        tables: encoded columns, each `[num_rows, ...]`.
        rows: `[batch]` rows.

    Returns:
        The same columns, each `[batch, ...]`.
    """
    return {name: tf.gather(table, rows) for name, table in tables.items()}


def sampling_probability(
    item_events: np.ndarray, batch_size: int, num_uniform_negatives: int
) -> np.ndarray:
    r"""Probability of an item to be a candidate of a batch, up to a constant.

    $$q_j \propto B \frac{n_j}{\sum_i n_i} + N \frac{1}{|I|}$$

    Args:
        item_events: `[num_items]` training events of each item, `n`.
        batch_size: events of a batch, `B`.
        num_uniform_negatives: items drawn uniformly beside them, `N`.

    Returns:
        `[num_items]` float32, scaled so that the largest is 1: TFRS clips
        probabilities at 1e-6, and a softmax is invariant to the constant.

    References:
        Yang et al. 2020, "Mixed Negative Sampling for Learning Two-tower
        Neural Networks in Recommendations", eq. 3.
    """
    share = item_events / max(1, item_events.sum())
    mixed = batch_size * share + num_uniform_negatives / len(item_events)
    return (mixed / mixed.max()).astype(np.float32)


class EventBatches(EpochBatches):
    """Batches of (user, item) events with in-batch and uniform candidates.

    A subclass provides the events: `RetrievalBatches` from memory,
    `StreamedBatches` from shards on disk. See `EpochBatches` for epochs.

    A batch is a dict:

    * `query`, `candidate`: encoded features, `[queries, ...]` and
      `[candidates, ...]`;
    * `query_row`, `candidate_row`: their rows, int32;
    * `event_weight`: `[batch]`; the first `batch` queries and candidates are
      the events themselves;
    * `catalogue_rows`: `[2]`, numbers of user rows and of item rows;
    * `candidate_probability`: `[batch + num_uniform_negatives]`, the
      candidates that the softmax loss sees;
    * the queries and candidates that `join` adds at the end.

    Args:
        num_events: events of an epoch.
        query_tables: encoded user columns by row.
        candidate_tables: encoded item columns by row.
        item_events: `[num_items]` training events of each item.
        batch_size: events per step, limited to `num_events`.
        num_uniform_negatives: extra candidates drawn uniformly each step.
        seed: seed of the permutations and the draws.
    """

    def __init__(
        self,
        num_events: int,
        query_tables: Tables,
        candidate_tables: Tables,
        item_events: np.ndarray,
        *,
        batch_size: int,
        num_uniform_negatives: int,
        seed: int,
    ) -> None:
        if not num_events:
            raise UserError(
                "Training needs at least one event. Received: 0 events. "
                "Check the split and the filters."
            )
        if batch_size < 1 or num_uniform_negatives < 0:
            raise UserError(
                "`batch_size` should be positive and `num_uniform_negatives` "
                f"not negative. Received: {batch_size} and "
                f"{num_uniform_negatives}. Correct the two numbers."
            )
        super().__init__(num_events, batch_size, seed)
        self.num_uniform_negatives = num_uniform_negatives
        self.num_items = len(item_events)
        self._query_tables = _constants(query_tables)
        self._candidate_tables = _constants(candidate_tables)
        self._num_rows = [
            len(next(iter(tables.values()), ()))
            for tables in (query_tables, candidate_tables)
        ]
        self._probability = tf.constant(
            sampling_probability(
                np.asarray(item_events), self.batch_size, num_uniform_negatives
            )
        )

    @abc.abstractmethod
    def _events_of(self, pick: Any) -> Events:
        """User rows, item rows and weights, each `[batch]`, of an element."""

    def _batch(self, pick: Any, seed: tf.Tensor, join: Join | None) -> Batch:
        rows = self._row_batch(*self._events_of(pick), seed)
        return self._with_features(rows if join is None else join(rows, seed))

    def _row_batch(
        self,
        users: tf.Tensor,
        items: tf.Tensor,
        weights: tf.Tensor,
        step_seed: tf.Tensor,
    ) -> Batch:
        if self.num_uniform_negatives:
            negatives = tf.random.stateless_uniform(
                [self.num_uniform_negatives],
                seed=step_seed,
                maxval=self.num_items,
                dtype=tf.int32,
            )
            items = tf.concat([items, negatives], axis=0)
        return {
            "query_row": users,
            "candidate_row": items,
            "event_weight": weights,
            "candidate_probability": tf.gather(self._probability, items),
        }

    def _with_features(self, rows: Batch) -> Batch:
        return {
            **rows,
            "catalogue_rows": tf.constant(self._num_rows, tf.int32),
            "query": gather_features(self._query_tables, rows["query_row"]),
            "candidate": gather_features(
                self._candidate_tables, rows["candidate_row"]
            ),
        }


class RetrievalBatches(EventBatches):
    """Batches of events that are in memory, see `EventBatches`.

    Every epoch is a permutation of the events, with another remainder that is
    dropped.

    Args:
        user_rows: `[n]` int32 user rows of the events.
        item_rows: `[n]` int32 item rows of the events.
        query_tables: encoded user columns by row.
        candidate_tables: encoded item columns by row.
        item_events: `[num_items]` training events of each item.
        batch_size: events per step, limited to `n`.
        num_uniform_negatives: extra candidates drawn uniformly each step.
        weights: `[n]` non-negative weights of the events; 1 when `None`.
        seed: seed of the permutations and the draws.

    Raises:
        UserError: when there is no event, or a number is out of range.

    Example:
    ```python
    batches = RetrievalBatches(
        users, items, query_tables, candidate_tables, catalogue.item_events,
        batch_size=1024, seed=7,
    )
    model.fit(
        batches.dataset(epochs=3),
        epochs=3,
        steps_per_epoch=batches.steps_per_epoch,
    )
    ```
    """

    def __init__(
        self,
        user_rows: np.ndarray,
        item_rows: np.ndarray,
        query_tables: Tables,
        candidate_tables: Tables,
        item_events: np.ndarray,
        *,
        batch_size: int = 1024,
        num_uniform_negatives: int = 0,
        weights: np.ndarray | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(
            len(user_rows),
            query_tables,
            candidate_tables,
            item_events,
            batch_size=batch_size,
            num_uniform_negatives=num_uniform_negatives,
            seed=seed,
        )
        if weights is None:
            weights = np.ones(len(user_rows))
        self._events = (
            tf.constant(np.asarray(user_rows, np.int32)),
            tf.constant(np.asarray(item_rows, np.int32)),
            tf.constant(np.asarray(weights, np.float32)),
        )

    def _picks(self, epoch: tf.Tensor) -> tf.data.Dataset:
        rows = tf.range(self.num_events)
        return self._in_steps(shuffle(rows, self.seed, epoch))

    def _events_of(self, pick: tf.Tensor) -> Events:
        return tuple(tf.gather(column, pick) for column in self._events)


def _constants(tables: Tables) -> dict[str, tf.Tensor]:
    # Eager tensors are captured by reference, so that the graph has no copy of
    # a table.
    return {name: tf.constant(table) for name, table in tables.items()}
