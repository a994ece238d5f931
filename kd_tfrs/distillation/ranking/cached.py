"""Cached outputs of a teacher of rankers, by row, in memory or on disk."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import tensorflow as tf
from tqdm.auto import tqdm

from kd_tfrs.distillation.ranking.teachers import (
    LOGITS,
    Outputs,
    RankingBatch,
    RankingTeacher,
    without_gradients,
)
from kd_tfrs.errors import UserError
from kd_tfrs.files import replacing

_DTYPES = ("float32", "float16")


class OrderedBatches(Protocol):
    """Batches that can be read row by row, as `RankingBatches` can."""

    num_rows: int

    def in_order(self) -> tf.data.Dataset:
        """Every row once."""


class CachedTeacher(RankingTeacher):
    """The cached outputs of another teacher, by row.

    Row numbers are those of the batches that it was made of: another part of
    the data, such as validation, has rows of its own and needs a cache of its
    own, or one cache of both with another `row_key`.

    Args:
        outputs: `[rows, ...]` by name, float32 or float16, in memory or
            memory-mapped; a step reads only the rows of its batch from a
            memory-mapped array. NaN where a row has no output.
        row_key: entry of a batch with its rows in the cache, `[batch]` int32.

    Raises:
        UserError: arrays differ in length, or are no floats.

    Example:
    ```python
    cached = CachedTeacher.of(NetworkTeacher(trained), batches)
    cached.save("run/knowledge")
    cached = CachedTeacher.load("run/knowledge")  # memory-mapped
    ```
    """

    def __init__(
        self, outputs: Mapping[str, np.ndarray], row_key: str = "row"
    ) -> None:
        _check(outputs)
        self.arrays = dict(outputs)
        self.row_key = row_key
        # Eager tensors are captured by reference, not copied into graphs.
        self._tables = {
            name: None if isinstance(x, np.memmap) else tf.constant(x)
            for name, x in self.arrays.items()
        }

    @classmethod
    def of(
        cls,
        teacher: RankingTeacher,
        batches: OrderedBatches,
        outputs: Sequence[str] | None = None,
        *,
        dtype: str = "float32",
        row_key: str = "row",
        progress: bool = True,
    ) -> CachedTeacher:
        """Computes the outputs of a teacher for every row once.

        Args:
            teacher: any other teacher.
            batches: all rows, see `RankingBatches.in_order`.
            outputs: names of the outputs to keep; all logits when `None`.
            dtype: "float32" or "float16", which has three digits.
            row_key: see the class.
            progress: show a progress bar.

        Returns:
            The cached teacher, in memory.

        Raises:
            UserError: there is no such output, or `dtype` is neither.
        """
        if dtype not in _DTYPES:
            raise UserError(
                f"`dtype` of a cache should be float32 or float16. Received: "
                f"`dtype` = {dtype!r}."
            )
        arrays: dict[str, np.ndarray] = {}
        compute = tf.function(teacher.outputs, reduce_retracing=True)
        with tqdm(
            total=batches.num_rows,
            desc="teacher cache",
            unit="row",
            disable=not progress,
        ) as bar:
            for batch in batches.in_order():
                kept = choose(compute(batch), outputs, type(teacher).__name__)
                rows = batch["row"].numpy()
                _write(arrays, kept, rows, batches.num_rows, dtype)
                bar.update(len(rows))
        return cls(arrays, row_key)

    def save(self, directory: str | os.PathLike) -> None:
        """Writes every array to a file, which is renamed when complete.

        Args:
            directory: created when missing; arrays of the same names are
                replaced.
        """
        directory = Path(directory)
        directory.mkdir(parents=True, exist_ok=True)
        for name, array in self.arrays.items():
            path = directory / f"{name}.npy"
            with replacing(path) as partial, partial.open("wb") as file:
                np.save(file, array)

    @classmethod
    def load(
        cls, directory: str | os.PathLike, row_key: str = "row"
    ) -> CachedTeacher:
        """Reads the files of `save`, memory-mapped.

        Args:
            directory: of the cache.
            row_key: see the class.

        Returns:
            The cached teacher.

        Raises:
            UserError: there is no cache.
        """
        files = sorted(Path(directory).glob("[!.]*.npy"))
        if not files:
            raise UserError(
                f"No teacher cache in {directory}: it has no .npy files. "
                "Make it with `CachedTeacher.of(...).save(...)`."
            )
        arrays = {file.stem: np.load(file, mmap_mode="r") for file in files}
        return cls(arrays, row_key)

    @property
    def widths(self) -> Mapping[str, int]:
        """See `RankingTeacher`."""
        return {
            name: int(np.prod(x.shape[1:], dtype=int))
            for name, x in self.arrays.items()
        }

    def outputs(self, batch: RankingBatch) -> Outputs:
        """See `RankingTeacher.outputs`."""
        if self.row_key not in batch:
            raise UserError(
                f"A batch should have {self.row_key!r}, the rows of the "
                f"teacher's cache. Received: {sorted(batch)}. Take "
                "RankingBatches, with `extras` for a key of your own."
            )
        rows = batch[self.row_key]
        return without_gradients(
            {name: self._read(name, rows) for name in self.arrays}
        )

    def _read(self, name: str, rows: tf.Tensor) -> tf.Tensor:
        if self._tables[name] is not None:
            return tf.gather(self._tables[name], rows)
        array = self.arrays[name]
        # Stateless, so that outputs that no loss compares are not read.
        values = tf.numpy_function(
            lambda at: np.asarray(array[at]),
            [rows],
            tf.as_dtype(array.dtype),
            stateful=False,
        )
        values.set_shape([rows.shape[0], *array.shape[1:]])
        return values


def choose(
    outputs: Outputs, names: Sequence[str] | None, owner: str
) -> Outputs:
    """Selects outputs of a teacher by name.

    Args:
        outputs: all of them.
        names: names to select; all logits when `None`.
        owner: name of the teacher, for the error.

    Returns:
        The selected outputs.

    Raises:
        UserError: one is missing.
    """
    if names is None:
        names = [name for name in outputs if name.startswith(LOGITS)]
    missing = [name for name in names if name not in outputs]
    if missing or not names:
        raise UserError(
            f"`outputs` should be among those of `{owner}`. Received: "
            f"{missing or 'none'}; it has {sorted(outputs)}."
        )
    return {name: outputs[name] for name in names}


def _write(
    arrays: dict[str, np.ndarray],
    outputs: Outputs,
    rows: np.ndarray,
    num_rows: int,
    dtype: str,
) -> None:
    for name, values in outputs.items():
        if name not in arrays:
            shape = (num_rows, *values.shape[1:])
            arrays[name] = np.full(shape, np.nan, dtype)
        arrays[name][rows] = values.numpy()


def _check(outputs: Mapping[str, np.ndarray]) -> None:
    lengths = {len(x) for x in outputs.values()}
    types = {str(x.dtype) for x in outputs.values()}
    if len(lengths) != 1 or not types <= set(_DTYPES):
        raise UserError(
            "`outputs` of a cache should be float32 or float16 arrays of one "
            f"value a row. Received: {sorted(types)} of {sorted(lengths)} "
            "rows."
        )
