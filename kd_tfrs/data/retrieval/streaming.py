"""Training from Parquet shards that are larger than memory."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import tensorflow as tf

from kd_tfrs.data import cleaning
from kd_tfrs.data import values as cells
from kd_tfrs.data.catalogue import Catalogue
from kd_tfrs.data.retrieval.batches import EventBatches, Events, Tables
from kd_tfrs.data.retrieval.shards import IdCounts, Paths, Shards, shuffled
from kd_tfrs.data.schema import Encoding, Owner, Schema
from kd_tfrs.errors import UserError

_EVENT = np.dtype(
    [("user", np.int32), ("item", np.int32), ("weight", np.float32)]
)


def catalogue_from_shards(
    path: Paths,
    schema: Schema,
    users: pd.DataFrame | None = None,
    items: pd.DataFrame | None = None,
    *,
    progress: bool = False,
) -> Catalogue:
    """Builds a catalogue in one pass over shards.

    Memory grows with the number of distinct ids, not of events.

    Args:
        path: a Parquet file, a folder of shards, or a list of files, with the
            training events only.
        schema: the columns. Columns of features need a table.
        users: one row per user, with the schema's columns of users.
        items: one row per item, likewise. The catalogue also contains items
            without an event; ids without a row in the table are added.
        progress: whether to show a progress bar.

    Returns:
        The catalogue that `Catalogue.build` would give for the same events.
        Ids are int64 when all are whole numbers, otherwise strings.

    Raises:
        UserError: when a shard cannot be read, lacks a column or an id, or
            when there is no event.

    Example:
    ```python
    catalogue = catalogue_from_shards("train/", schema, items=items)
    ```
    """
    names = [schema.user_id, schema.item_id]
    shards = Shards(path, names)
    counts = {name: IdCounts() for name in names}
    for file, frame in shards.blocks(progress=progress):
        for name, count in counts.items():
            if cells.missing_ids(frame[name]).any():
                raise UserError(
                    f"Every event of `{file}` should have a `{name}`. "
                    "Received: a missing one. Drop such events."
                )
            count.add(frame[name])
    user_table, user_events = _side(counts, users, schema, Owner.USER)
    item_table, item_events = _side(counts, items, schema, Owner.ITEM)
    return Catalogue(
        users=user_table,
        items=item_table,
        user_column=schema.user_id,
        item_column=schema.item_id,
        user_events=np.concatenate([[0], user_events]),
        item_events=item_events,
    )


class StreamedBatches(EventBatches):
    """Batches of events that stay on disk, see `EventBatches`.

    Every epoch reads the shards and their row groups in another order, and
    shuffles the rows within a window that slides over the rows read. Memory
    holds the window (12 bytes per row), a few blocks of 65,536 rows, the
    tables and the index of ids. Events are not cleaned: a repeated event
    counts twice.

    Args:
        path: a Parquet file, a folder of shards, or a list of files, with the
            training events only.
        catalogue: rows of the ids, and the names of their columns.
        query_tables: encoded user columns by row.
        candidate_tables: encoded item columns by row.
        weight_column: name of the events' non-negative weights; 1 when
            `None`.
        batch_size: events per step, limited to the number of events.
        num_uniform_negatives: extra candidates drawn uniformly each step.
        shuffle_rows: rows of the window, at least `batch_size`. With a window
            much smaller than a shard, neighbours on disk stay close.
        seed: seed of the orders and the draws.
        check: whether to read all shards once in the constructor, so that an
            id that the catalogue lacks raises an error there. Otherwise such
            an event raises TensorFlow's `InvalidArgumentError` with the same
            message during the epoch.
        progress: whether to show a progress bar for the check.

    Raises:
        UserError: when a shard cannot be read or lacks a column, an event has
            an id that the catalogue lacks or an impossible weight, or a
            number is out of range.

    Example:
    ```python
    catalogue = catalogue_from_shards("train/", schema, items=items)
    batches = StreamedBatches(
        "train/", catalogue, query_tables, candidate_tables, seed=7
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
        path: Paths,
        catalogue: Catalogue,
        query_tables: Tables,
        candidate_tables: Tables,
        *,
        weight_column: str | None = None,
        batch_size: int = 1024,
        num_uniform_negatives: int = 0,
        shuffle_rows: int = 1_000_000,
        seed: int = 0,
        check: bool = True,
        progress: bool = False,
    ) -> None:
        names = [catalogue.user_column, catalogue.item_column]
        weights = [weight_column] if weight_column else []
        self._shards = Shards(path, names + weights)
        super().__init__(
            self._shards.num_rows,
            query_tables,
            candidate_tables,
            catalogue.item_events,
            batch_size=batch_size,
            num_uniform_negatives=num_uniform_negatives,
            seed=seed,
        )
        if shuffle_rows < self.batch_size:
            raise UserError(
                "`shuffle_rows` should be at least `batch_size`. Received: "
                f"`shuffle_rows` = {shuffle_rows} and `batch_size` = "
                f"{self.batch_size}. Give a larger window."
            )
        self.shuffle_rows = min(shuffle_rows, self.num_events)
        # Built once: every look-up in a new index would hash all ids again.
        self._users = pd.Index(catalogue.user_ids, name=names[0])
        self._items = pd.Index(catalogue.item_ids, name=names[1])
        self._weight_column = weight_column
        if check:
            for file, frame in self._shards.blocks(progress=progress):
                self._encode(file, frame)

    def _picks(self, epoch: tf.Tensor) -> tf.data.Dataset:
        blocks = tf.data.Dataset.from_generator(
            self._blocks,
            args=(epoch,),
            output_signature=tuple(
                tf.TensorSpec([None], _EVENT[name]) for name in _EVENT.names
            ),
        )
        return blocks.prefetch(2).rebatch(self.batch_size, drop_remainder=True)

    def _events_of(self, pick: Any) -> Events:
        return pick

    def _blocks(self, epoch: np.ndarray) -> Iterator[tuple[np.ndarray, ...]]:
        rng = np.random.default_rng([self.seed & 0xFFFFFFFF, int(epoch)])
        blocks = (
            self._encode(file, frame)
            for file, frame in self._shards.blocks(rng, self.shuffle_rows)
        )
        for block in shuffled(blocks, self.shuffle_rows, rng):
            yield tuple(block[name] for name in _EVENT.names)

    def _encode(self, file: Path, frame: pd.DataFrame) -> np.ndarray:
        events = np.ones(len(frame), _EVENT)
        # Row 0 is the unknown user.
        events["user"] = _rows(self._users, frame, file) + 1
        events["item"] = _rows(self._items, frame, file)
        if self._weight_column is not None:
            events["weight"] = _weights(frame[self._weight_column], file)
        return events


def _side(
    counts: dict[str, IdCounts],
    table: pd.DataFrame | None,
    schema: Schema,
    owner: Owner,
) -> tuple[pd.DataFrame, np.ndarray]:
    """The table of one owner, ascending by id, and the events of its rows."""
    name = schema.user_id if owner is Owner.USER else schema.item_id
    total = counts[name].total()
    if table is None:
        # Without a table, the ids are the only columns.
        schema = Schema(
            tuple(c for c in schema.columns if c.encoding is Encoding.ID)
        )
        table = pd.DataFrame({name: total.index})
    table = cleaning.raw_table(table, schema, owner, f"{owner.value}s")
    listed = table.loc[~cells.missing_ids(table[name]), name]
    ids = pd.concat([pd.Series(total.index), listed], ignore_index=True)
    ids, table = cleaning.unify(
        ids.to_frame(name), table, schema, owner, counts={}
    )
    rows = pd.Index(table[name]).get_indexer(ids[name][: len(total)])
    # Exact up to 2^53 events.
    events = np.bincount(rows, total.to_numpy(), minlength=len(table))
    return table, events.astype(np.int64)


def _rows(index: pd.Index, frame: pd.DataFrame, file: Path) -> np.ndarray:
    """Positions of the ids in the index, as the catalogue writes them."""
    ids = frame[index.name]
    valid = ids.notna().to_numpy(bool)
    if valid.all():
        whole = cells.whole_numbers(ids) if ids.dtype.kind == "f" else None
        if not pd.api.types.is_numeric_dtype(index.dtype):
            ids = cells.as_text_ids(ids)
        elif whole is not None:
            ids = whole
        rows = index.get_indexer(ids)
        valid = rows >= 0
    if not valid.all():
        lost = frame[index.name][~valid].iloc[0]
        raise UserError(
            f"Every event of `{file}` should have a `{index.name}` of the "
            f"catalogue. Received: {lost!r}, which it lacks. Build the "
            "catalogue from these shards, or drop such events."
        )
    return rows


def _weights(values: pd.Series, file: Path) -> np.ndarray:
    weights = pd.to_numeric(values, errors="coerce").to_numpy(
        np.float32, na_value=np.nan
    )
    bad = ~(np.isfinite(weights) & (weights >= 0))
    if bad.any():
        raise UserError(
            f"`{values.name}` of `{file}` should be finite and not negative. "
            f"Received: {values[bad].iloc[0]!r}. Drop such events."
        )
    return weights
