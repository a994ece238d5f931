"""Teacher knowledge on disk: written once, in shards, for many students."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import tensorflow as tf
from tqdm.auto import tqdm

from kd_tfrs.distillation.teachers import EmbeddingTeacher, TwoTowerTeacher
from kd_tfrs.errors import UserError

_FORMAT = 1
_MANIFEST = "manifest.json"
_SHARD_ROWS = 8192
_BLOCK_ROWS = 512


def build_cache(
    teacher: TwoTowerTeacher | EmbeddingTeacher,
    directory: str | os.PathLike,
    *,
    fingerprint: str,
    k: int = 100,
    dtype: str = "float32",
    progress: bool = True,
) -> EmbeddingTeacher:
    """Writes what a teacher knows to disk, or goes on where a kill stopped it.

    Parquet shards hold an embedding for every query and candidate row, and
    for every query its `k` best unseen candidates with their scores. A shard
    is written beside and renamed, so that one that exists is whole.

    Args:
        teacher: a teacher with embeddings.
        directory: where to write; made when missing.
        fingerprint: of the teacher's weights and of the data. A cache of
            another fingerprint is refused, never overwritten.
        k: length of the lists, at least 1; at most as many as there are
            candidates are kept.
        dtype: of the embeddings and scores, "float32" or "float16".
        progress: show a progress bar.

    Returns:
        The cached teacher, as `load_cache` gives it.

    Raises:
        UserError: `directory` holds another cache, or an argument is wrong.

    Example:
    ```python
    cached = build_cache(teacher, "run/knowledge", fingerprint=digest, k=200)
    ```
    """
    _check(teacher, k, dtype)
    directory = Path(directory)
    manifest = {
        "format": _FORMAT,
        "fingerprint": fingerprint,
        "k": min(k, teacher.num_candidates),
        "dtype": dtype,
        "num_queries": teacher.num_queries,
        "num_candidates": teacher.num_candidates,
        "temperature": teacher.temperature,
        "shard_rows": _SHARD_ROWS,
    }
    _claim(directory, manifest)
    todo = [s for s in _shards(manifest) if not (directory / s[0]).exists()]
    rows = sum(stop - start for _, start, stop in todo)
    with tqdm(
        total=rows,
        desc="teacher cache",
        unit="row",
        disable=not (progress and todo),
    ) as bar:
        for name, start, stop in todo:
            table = _shard(teacher, manifest, name, start, stop, bar)
            partial = directory / f".{name}.partial"
            pq.write_table(table, partial)
            partial.rename(directory / name)
    return load_cache(directory, fingerprint=fingerprint)


def load_cache(
    directory: str | os.PathLike, *, fingerprint: str
) -> EmbeddingTeacher:
    """Reads a cache that `build_cache` has finished.

    Args:
        directory: where it is.
        fingerprint: of teacher and data; has to match.

    Returns:
        A teacher that gathers and never computes.

    Raises:
        UserError: there is no cache, it is not finished, or it is another's.

    Example:
    ```python
    teacher = load_cache("run/knowledge", fingerprint=digest)
    ```
    """
    directory = Path(directory)
    manifest = _read_manifest(directory)
    if manifest is None:
        raise UserError(
            f"No teacher cache in {directory}: {_MANIFEST} is missing. "
            "Build it with `build_cache`."
        )
    if manifest["fingerprint"] != fingerprint:
        raise UserError(
            f"The teacher cache in {directory} is of another teacher or other "
            f"data. Received: fingerprint {fingerprint[:12]}, the cache has "
            f"{manifest['fingerprint'][:12]}. Use another directory."
        )
    names = [name for name, _, _ in _shards(manifest)]
    missing = [name for name in names if not (directory / name).exists()]
    if missing:
        raise UserError(
            f"The teacher cache in {directory} is not finished: {missing[0]} "
            f"and {len(missing) - 1} more shards are missing. Call "
            "`build_cache` again; it goes on where it stopped."
        )
    queries = _read(directory, [n for n in names if n.startswith("q")])
    candidates = _read(directory, [n for n in names if n.startswith("c")])
    return EmbeddingTeacher(
        queries["embedding"],
        candidates["embedding"],
        manifest["temperature"],
        lists=(queries["list_row"], queries["list_score"]),
    )


def _check(teacher: object, k: int, dtype: str) -> None:
    if not isinstance(teacher, (TwoTowerTeacher, EmbeddingTeacher)):
        raise UserError(
            "A cache should be built of a teacher with embeddings. Received: "
            f"{type(teacher).__name__}. Listen to it live."
        )
    if k < 1:
        raise UserError(
            "`k` should be a positive integer. Received: `k` = "
            f"{k}. Give k >= 1."
        )
    if dtype not in ("float32", "float16"):
        raise UserError(
            "`dtype` of a cache should be float32 or float16. Received: "
            f"`dtype` = {dtype!r}."
        )


def _claim(directory: Path, manifest: dict) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    found = _read_manifest(directory)
    if found is None:
        partial = directory / f".{_MANIFEST}.partial"
        partial.write_text(json.dumps(manifest, indent=1) + "\n")
        partial.rename(directory / _MANIFEST)
    elif found != manifest:
        changed = [k for k in manifest if found.get(k) != manifest[k]]
        raise UserError(
            f"The teacher cache in {directory} is another one: "
            + ", ".join(
                f"`{k}` is {found.get(k)!r}, asked for {manifest[k]!r}"
                for k in changed
            )
            + ". Use another directory, or delete this one."
        )


def _read_manifest(directory: Path) -> dict | None:
    path = directory / _MANIFEST
    return json.loads(path.read_text()) if path.exists() else None


def _shards(manifest: dict) -> Iterator[tuple[str, int, int]]:
    for kind, count in (
        ("candidates", manifest["num_candidates"]),
        ("queries", manifest["num_queries"]),
    ):
        size = manifest["shard_rows"]
        for i, start in enumerate(range(0, count, size)):
            name = f"{kind}-{i:05d}.parquet"
            yield name, start, min(start + size, count)


def _shard(
    teacher: TwoTowerTeacher | EmbeddingTeacher,
    manifest: dict,
    name: str,
    start: int,
    stop: int,
    bar: tqdm,
) -> pa.Table:
    is_query = name.startswith("q")
    embed = teacher.embed_queries if is_query else teacher.embed_candidates
    columns: dict[str, list[np.ndarray]] = {}
    for first in range(start, stop, _BLOCK_ROWS):
        rows = tf.range(first, min(first + _BLOCK_ROWS, stop))
        block = {"embedding": _cast(embed(rows), manifest["dtype"])}
        if is_query:
            listed, scores = teacher.top_k(rows, manifest["k"])
            block["list_row"] = listed.numpy()
            block["list_score"] = _cast(scores, manifest["dtype"])
        for column, values in block.items():
            columns.setdefault(column, []).append(values)
        bar.update(len(rows))
    return pa.table(
        {
            column: _fixed_size_list(np.concatenate(values))
            for column, values in columns.items()
        }
    )


def _cast(values: tf.Tensor, dtype: str) -> np.ndarray:
    exact = values.numpy()
    with np.errstate(over="ignore"):
        cast = exact.astype(dtype)
    # -inf fills a short list and stays; what float16 cannot hold must not
    # turn into it.
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


def _read(directory: Path, names: list[str]) -> dict[str, np.ndarray]:
    tables = [pq.read_table(directory / name) for name in names]
    table = pa.concat_tables(tables).combine_chunks()
    return {
        column: _matrix(table[column].combine_chunks())
        for column in table.column_names
    }


def _matrix(column: pa.Array) -> np.ndarray:
    if isinstance(column, pa.ChunkedArray):
        column = column.chunk(0)
    width = column.type.list_size
    return column.flatten().to_numpy(zero_copy_only=False).reshape(-1, width)
