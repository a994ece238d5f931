"""The Parquet shards of a teacher cache."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import tensorflow as tf
from tqdm.auto import tqdm

from kd_tfrs.distillation.retrieval.teachers import Side, Teacher
from kd_tfrs.errors import UserError
from kd_tfrs.files import replacing

_BLOCK_ROWS = 512


class Shard(NamedTuple):
    """A file of a cache: some rows of one side.

    Args:
        name: of the file.
        side: "query" or "candidate".
        start: first row.
        stop: one past the last row.
    """

    name: str
    side: Side
    start: int
    stop: int


def list_shards(counts: Mapping[Side, int], shard_rows: int) -> list[Shard]:
    """All shards of a cache, in the order of writing.

    Args:
        counts: rows of every side that has shards.
        shard_rows: rows of a shard at most.

    Returns:
        The shards.
    """
    plural = {"query": "queries", "candidate": "candidates"}
    return [
        Shard(
            f"{plural[side]}-{i:05d}.parquet",
            side,
            start,
            min(start + shard_rows, count),
        )
        for side, count in counts.items()
        for i, start in enumerate(range(0, count, shard_rows))
    ]


def write_shard(
    teacher: Teacher,
    ranker: Teacher | None,
    manifest: dict,
    shard: Shard,
    directory: Path,
    bar: tqdm,
) -> None:
    """Computes a shard, writes it and renames it into place.

    Args:
        teacher: for embeddings and outputs.
        ranker: teacher of the lists of the shard's side: the teacher itself,
            or the reversed one; `None` for no lists.
        manifest: of the cache.
        shard: the shard to write.
        directory: of the cache.
        bar: progress bar, updated after every block of rows.
    """
    names = manifest["outputs"][shard.side]
    if manifest["kind"] == "embeddings":
        names = ["embedding", *names]
    k = manifest["k" if shard.side == "query" else "item_k"]
    blocks: dict[str, list[np.ndarray]] = {}
    for first in range(shard.start, shard.stop, _BLOCK_ROWS):
        rows = tf.range(first, min(first + _BLOCK_ROWS, shard.stop))
        block = {
            name if name == "embedding" else f"output_{name}": _cast(
                teacher.features(shard.side, rows, name), manifest["dtype"]
            )
            for name in names
        }
        if ranker is not None:
            listed, scores = ranker.top_k(rows, k)
            block["list_row"] = listed.numpy()
            block["list_score"] = _cast(scores, manifest["dtype"])
        for column, values in block.items():
            blocks.setdefault(column, []).append(values)
        bar.update(len(rows))
    table = pa.table(
        {
            column: _fixed_size_list(np.concatenate(values))
            for column, values in blocks.items()
        }
    )
    with replacing(directory / shard.name) as partial:
        pq.write_table(table, partial)


def read_shards(
    directory: Path, shards: Sequence[Shard]
) -> dict[str, np.ndarray]:
    """Reads the shards of one side.

    Args:
        directory: of the cache.
        shards: in the order of their rows; none give no columns.

    Returns:
        `[rows, width]` by column.
    """
    if not shards:
        return {}
    tables = [pq.read_table(directory / shard.name) for shard in shards]
    table = pa.concat_tables(tables).combine_chunks()
    return {
        column: _matrix(table[column].combine_chunks())
        for column in table.column_names
    }


def _cast(values: tf.Tensor, dtype: str) -> np.ndarray:
    exact = values.numpy()
    with np.errstate(over="ignore"):
        cast = exact.astype(dtype)
    # -inf pads a short list and stays; a value beyond the range of float16
    # must not become -inf.
    if np.any(np.isfinite(exact) & ~np.isfinite(cast)):
        raise UserError(
            f"`dtype` = {dtype!r} should hold every score and embedding, up to "
            f"{np.finfo(dtype).max:g}. Received: "
            f"{np.abs(exact[np.isfinite(exact)]).max():g}. Use float32."
        )
    return cast


def _fixed_size_list(values: np.ndarray) -> pa.Array:
    flat = pa.array(np.ascontiguousarray(values).reshape(-1))
    return pa.FixedSizeListArray.from_arrays(flat, values.shape[1])


def _matrix(column: pa.Array) -> np.ndarray:
    if isinstance(column, pa.ChunkedArray):
        column = column.chunk(0)
    width = column.type.list_size
    return column.flatten().to_numpy(zero_copy_only=False).reshape(-1, width)
