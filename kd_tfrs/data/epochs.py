"""Epochs of batches that depend on their number alone, and prefetching."""

from __future__ import annotations

import abc
from collections.abc import Callable
from typing import Any

import tensorflow as tf

Batch = dict[str, Any]
Join = Callable[[Batch, tf.Tensor], Batch]


class EpochBatches(abc.ABC):
    """Base of the shuffled batches of events.

    Every epoch depends on `seed` and its number only, so a resumed run sees
    the same batches as an uninterrupted one. All batches have the same shape:
    the last, smaller batch of an epoch is dropped.

    Args:
        num_events: events of an epoch.
        batch_size: events per step, limited to `num_events`.
        seed: seed of the order and of the draws.
    """

    def __init__(self, num_events: int, batch_size: int, seed: int) -> None:
        self.num_events = num_events
        self.batch_size = min(batch_size, num_events)
        self.seed = seed

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}({self.num_events:,} events, "
            f"{self.steps_per_epoch:,} steps of {self.batch_size:,})"
        )

    @property
    def steps_per_epoch(self) -> int:
        """Full batches in an epoch."""
        return self.num_events // self.batch_size

    def dataset(
        self, epochs: int, start_epoch: int = 0, join: Join | None = None
    ) -> tf.data.Dataset:
        """The batches of the epochs `start_epoch .. epochs - 1`, in order.

        Args:
            epochs: epoch after the last.
            start_epoch: first epoch, counted from 0.
            join: adds rows or entries to a batch, such as `Distiller.join`;
                called in the graph with the batch and a `[2]` int32 seed of
                the step.

        Returns:
            A dataset of `(epochs - start_epoch) * steps_per_epoch` batches.
        """
        numbers = tf.data.Dataset.range(
            start_epoch, epochs, output_type=tf.int32
        )
        steps = numbers.flat_map(
            lambda epoch: tf.data.Dataset.zip(
                (self._picks(epoch), self._step_seeds(epoch))
            )
        )
        batches = steps.map(
            lambda pick, seed: self._batch(pick, seed, join),
            num_parallel_calls=2,
            deterministic=True,
        )
        count = max(0, epochs - start_epoch) * self.steps_per_epoch
        batches = batches.apply(tf.data.experimental.assert_cardinality(count))
        return prefetched(batches)

    @abc.abstractmethod
    def _picks(self, epoch: tf.Tensor) -> tf.data.Dataset:
        """An element for every step of an epoch, in the epoch's order."""

    @abc.abstractmethod
    def _batch(self, pick: Any, seed: tf.Tensor, join: Join | None) -> Batch:
        """The batch of an element; `join` is called once."""

    def _in_steps(self, rows: tf.Tensor) -> tf.data.Dataset:
        """Rows of an epoch, `[batch]` for each step."""
        steps, size = self.steps_per_epoch, self.batch_size
        return tf.data.Dataset.from_tensor_slices(
            tf.reshape(rows[: steps * size], [steps, size])
        )

    def _step_seeds(self, epoch: tf.Tensor) -> tf.data.Dataset:
        steps = self.steps_per_epoch
        numbers = epoch * steps + tf.range(steps)
        seeds = tf.stack([tf.fill([steps], self.seed + 1), numbers], axis=1)
        return tf.data.Dataset.from_tensor_slices(seeds)


def shuffle(rows: tf.Tensor, seed: int, epoch: tf.Tensor) -> tf.Tensor:
    """Shuffles rows by a seed and the number of the epoch."""
    return tf.random.experimental.stateless_shuffle(
        rows, seed=tf.stack([seed, epoch])
    )


def prefetched(dataset: tf.data.Dataset, batches: int = 4) -> tf.data.Dataset:
    """Prefetches a fixed number of batches, without tf.data's tuner.

    The buffer size is fixed, so the tuner has nothing to choose. In TensorFlow
    2.21 the thread of the tuner sleeps for 10 ms, 20 ms, 40 ms, ... (a minute
    at most), and deleting an iterator waits for that thread. With the tuner, a
    `fit` of less than a minute may take up to twice as long.

    Example:
    >>> list(prefetched(tf.data.Dataset.range(3)).as_numpy_iterator())
    [0, 1, 2]
    """
    options = tf.data.Options()
    options.autotune.enabled = False
    return dataset.prefetch(batches).with_options(options)
