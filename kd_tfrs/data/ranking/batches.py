"""tf.data batches of impressions; row numbers are batched, then gathered."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from kd_tfrs.data.epochs import (
    Batch,
    EpochBatches,
    Join,
    prefetched,
    shuffle,
)
from kd_tfrs.data.ranking.priors import (
    check_class_weights,
    check_rate,
    prior_logit_offset,
)
from kd_tfrs.errors import UserError

_OWN = ("features", "labels", "weight", "row")


class RankingBatches(EpochBatches):
    """Shuffled batches of impressions that are in memory.

    See `EpochBatches` for epochs; each drops other rows.

    A batch is a dict:

    * `features`: encoded columns, `[batch]` or `[batch, length]` each;
    * `labels`: by task, `[batch]` float32;
    * `weight`: `[batch]` float32, class weights included;
    * `row`: `[batch]` int32, the row of each impression in the arrays;
    * the entries that `extras` and `join` add.

    Args:
        features: encoded columns by name, `[n, ...]` each.
        labels: by task, `[n]`.
        weights: `[n]` non-negative weights; ones when `None`.
        batch_size: impressions per step; limited to those of an epoch.
        seed: seed of the permutations and of `join`.
        task: the task by which negatives are sampled and classes are
            weighted; the first of `labels` when `None`. An impression is
            positive when its label is above 0. An impression without a label
            (NaN) has no class: it is in every epoch and has no class weight.
        negative_rate: share of the negatives in an epoch, in (0, 1]; an epoch
            contains all positives. Every epoch draws the same number of
            negatives anew. The sampled model overestimates probabilities: add
            `logit_offset` to the trained logits. The offset is exact for
            `task` only; other tasks of the same batch are shifted by less.
        class_weights: weights of the classes 0 and 1, or None; see
            `balanced_class_weights`. They shift logits as well, which
            `logit_offset` undoes.
        extras: more arrays by row, such as a teacher's logits: names to
            arrays `[n, ...]` or to nested dicts of such.

    Raises:
        UserError: when there is no row, lengths differ, or a number is out of
            range.

    Example:
    ```python
    batches = RankingBatches(
        features.encode(train.table), train.labels, train.weights,
        batch_size=1024, negative_rate=0.1, extras={"teacher": logits},
    )
    model.fit(
        batches.dataset(epochs=3),
        epochs=3,
        steps_per_epoch=batches.steps_per_epoch,
    )
    probability = tf.sigmoid(logits + batches.logit_offset)
    ```
    """

    def __init__(
        self,
        features: Mapping[str, np.ndarray],
        labels: Mapping[str, np.ndarray],
        weights: np.ndarray | None = None,
        *,
        batch_size: int = 1024,
        seed: int = 0,
        task: str | None = None,
        negative_rate: float = 1.0,
        class_weights: Mapping[int, float] | None = None,
        extras: Mapping[str, Any] | None = None,
    ) -> None:
        self.task = _choose_task(labels, task)
        self.num_rows = len(labels[self.task])
        if weights is None:
            weights = np.ones(self.num_rows)
        tables = {**(extras or {}), "features": dict(features)}
        tables["labels"] = {
            name: np.asarray(values, np.float32)
            for name, values in labels.items()
        }
        tables["weight"] = np.asarray(weights, np.float32)
        _check(self.num_rows, tables, extras, batch_size)
        # NaN is neither: other tasks may have a label.
        own = tables["labels"][self.task]
        positive, negative = own > 0, own <= 0
        if class_weights is not None:
            check_class_weights(class_weights)
            by_class = np.where(positive, class_weights[1], 1.0)
            by_class = np.where(negative, class_weights[0], by_class)
            tables["weight"] = np.float32(tables["weight"] * by_class)
        num_events = self._keep(negative, negative_rate)
        self.logit_offset = prior_logit_offset(
            self.negative_rate, class_weights
        )
        super().__init__(num_events, batch_size, seed)
        # Eager tensors are captured by reference, so that the graph has no
        # copy of a table.
        self._tables = tf.nest.map_structure(tf.constant, tables)

    def _keep(self, negative: np.ndarray, negative_rate: float) -> int:
        """Sets the negatives of an epoch; returns its number of events."""
        check_rate(negative_rate)
        self._always = self._sometimes = None
        self.negative_rate = 1.0
        always, sometimes = np.flatnonzero(~negative), np.flatnonzero(negative)
        if negative_rate == 1.0 or not len(sometimes):
            return self.num_rows
        self._kept = max(1, round(negative_rate * len(sometimes)))
        # The actual rate, with a whole number of impressions.
        self.negative_rate = self._kept / len(sometimes)
        self._always = tf.constant(always.astype(np.int32))
        self._sometimes = tf.constant(sometimes.astype(np.int32))
        return len(always) + self._kept

    def in_order(self, batch_size: int | None = None) -> tf.data.Dataset:
        """Every row once, in order, for evaluation and for a teacher.

        Nothing is sampled; the last batch may be smaller. Class weights are
        in `weight` here as well.

        Args:
            batch_size: impressions a batch; that of training when `None`.

        Returns:
            A dataset of all rows.
        """
        size = self.batch_size if batch_size is None else batch_size
        rows = tf.data.Dataset.range(self.num_rows, output_type=tf.int32)
        return prefetched(rows.batch(size).map(self._gather))

    def _picks(self, epoch: tf.Tensor) -> tf.data.Dataset:
        rows = tf.range(self.num_rows)
        if self._sometimes is not None:
            drawn = shuffle(self._sometimes, self.seed + 2, epoch)
            rows = tf.concat([self._always, drawn[: self._kept]], axis=0)
        return self._in_steps(self._order(rows, epoch))

    def _batch(self, pick: Any, seed: tf.Tensor, join: Join | None) -> Batch:
        batch = self._gather(pick)
        return batch if join is None else join(batch, seed)

    def _order(self, rows: tf.Tensor, epoch: tf.Tensor) -> tf.Tensor:
        """Shuffles the rows of an epoch, `[events]` to `[events]`."""
        return shuffle(rows, self.seed, epoch)

    def _gather(self, rows: tf.Tensor) -> Batch:
        batch = tf.nest.map_structure(
            lambda table: tf.gather(table, rows), self._tables
        )
        return {**batch, "row": rows}


def _choose_task(labels: Mapping[str, np.ndarray], task: str | None) -> str:
    task = next(iter(labels), None) if task is None else task
    if task not in labels:
        raise UserError(
            f"`task` should be one of the labels. Received: `task` = {task!r} "
            f"and labels {sorted(labels)}. Name one of them."
        )
    return task


def _check(
    num_rows: int,
    tables: Mapping[str, Any],
    extras: Mapping[str, Any] | None,
    batch_size: int,
) -> None:
    if not num_rows or batch_size < 1:
        raise UserError(
            "Training needs at least one example and a positive `batch_size`. "
            f"Received: {num_rows} examples and `batch_size` = {batch_size}. "
            "Check the split and the numbers."
        )
    reserved = sorted(set(extras or {}) & set(_OWN))
    if reserved:
        raise UserError(
            f"`extras` should not be named {', '.join(_OWN)}. Received: "
            f"{reserved[0]!r}. Rename it."
        )
    lengths = {len(table) for table in tf.nest.flatten(dict(tables))}
    if lengths != {num_rows}:
        raise UserError(
            "Features, labels, weights and extras should have one value a "
            f"row. Received: {sorted(lengths | {num_rows})} rows. Give arrays "
            "of the same length."
        )
