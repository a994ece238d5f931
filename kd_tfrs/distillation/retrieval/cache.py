"""Teacher caches on disk: written once, in shards, for many students."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from tqdm.auto import tqdm

from kd_tfrs.distillation.retrieval.cache_shards import (
    Shard,
    list_shards,
    read_shards,
    write_shard,
)
from kd_tfrs.distillation.retrieval.teachers import (
    EmbeddingTeacher,
    Side,
    Teacher,
    TwoTowerTeacher,
)
from kd_tfrs.distillation.retrieval.teachers.base import SIDES
from kd_tfrs.distillation.retrieval.teachers.lists import ListTeacher, Unlisted
from kd_tfrs.errors import UserError
from kd_tfrs.files import replacing

_FORMAT = 2
_MANIFEST = "manifest.json"
_SHARD_ROWS = 8192


class Fingerprint(NamedTuple):
    """Identifies the teacher and the data of a cache.

    Args:
        teacher: of the teacher's weights and of its options.
        data: of the data and of the split.

    Example:
    >>> Fingerprint("a81c", "77d0").teacher
    'a81c'
    """

    teacher: str
    data: str = ""

    @classmethod
    def of(cls, given: Fingerprint | tuple[str, str] | str) -> Fingerprint:
        """A fingerprint from a tuple, or from the teacher's string alone."""
        return cls(given) if isinstance(given, str) else cls(*given)


def build_cache(
    teacher: Teacher,
    directory: str | os.PathLike,
    *,
    fingerprint: Fingerprint | str,
    k: int = 100,
    item_k: int | None = None,
    outputs: Sequence[str] = (),
    dtype: str = "float32",
    unlisted: Unlisted = None,
    progress: bool = True,
) -> EmbeddingTeacher | ListTeacher:
    """Writes a teacher's lists and embeddings, or resumes an unfinished cache.

    Parquet shards hold, for every query, its `k` best unseen candidates with
    their scores. For a teacher with embeddings they also hold an embedding of
    every query and candidate row. A shard is renamed into place when it is
    complete. One cache serves any number of students.

    Args:
        teacher: any teacher.
        directory: of the cache; created when missing.
        fingerprint: of teacher and data; a string is the teacher's. A cache
            with another fingerprint raises an error and is not overwritten.
        k: length of the lists, at least 1; at most as many as there are
            candidates are kept.
        item_k: length of the lists of users for every item, which `ItemSide`
            needs; `None` keeps none.
        outputs: named hidden outputs that are kept beside the embedding, of
            the sides that have them.
        dtype: of embeddings, outputs and scores, "float32" or "float16".
        unlisted: see `ListTeacher`; only for a teacher without embeddings.
        progress: show a progress bar.

    Returns:
        The cached teacher, as `load_cache` gives it.

    Raises:
        UserError: `directory` holds another cache, or an argument is wrong.

    Example:
    ```python
    whose = Fingerprint(weights_digest, interactions.fingerprint())
    cached = build_cache(
        teacher, "run/knowledge", fingerprint=whose, k=200,
        outputs=("hidden_0",),
    )
    ```
    """
    _check(k, item_k, dtype)
    directory = Path(directory)
    manifest = _describe(teacher, Fingerprint.of(fingerprint), k, item_k, dtype)
    manifest["outputs"] = _find_outputs(teacher, outputs)
    _check_unlisted(manifest["kind"], unlisted)
    _claim(directory, manifest)
    todo = [
        shard
        for shard in _shards(manifest)
        if not (directory / shard.name).exists()
    ]
    with tqdm(
        total=sum(shard.stop - shard.start for shard in todo),
        desc="teacher cache",
        unit="row",
        disable=not (progress and todo),
    ) as bar:
        reverse = teacher.reversed() if item_k and todo else None
        for shard in todo:
            ranker = teacher if shard.side == "query" else reverse
            write_shard(teacher, ranker, manifest, shard, directory, bar)
    return load_cache(directory, fingerprint=fingerprint, unlisted=unlisted)


def load_cache(
    directory: str | os.PathLike,
    *,
    fingerprint: Fingerprint | str,
    unlisted: Unlisted = None,
) -> EmbeddingTeacher | ListTeacher:
    """Reads a complete cache of `build_cache`.

    Args:
        directory: of the cache.
        fingerprint: of teacher and data; both have to match.
        unlisted: see `ListTeacher`; only for a cache without embeddings.

    Returns:
        An `EmbeddingTeacher`, or a `ListTeacher` where the teacher has no
        embeddings. Both gather and do not compute.

    Raises:
        UserError: there is no cache, it is unfinished, or its fingerprint
            differs.

    Example:
    ```python
    teacher = load_cache("run/knowledge", fingerprint=whose)
    ```
    """
    directory = Path(directory)
    manifest = _read_manifest(directory)
    if manifest is None:
        raise UserError(
            f"No teacher cache in {directory}: {_MANIFEST} is missing. "
            "Build it with `build_cache`."
        )
    _check_fingerprint(directory, manifest, Fingerprint.of(fingerprint))
    _check_unlisted(manifest["kind"], unlisted)
    shards = _shards(manifest)
    missing = [s.name for s in shards if not (directory / s.name).exists()]
    if missing:
        raise UserError(
            f"The teacher cache in {directory} is not finished: {missing[0]} "
            f"and {len(missing) - 1} more shards are missing. Call "
            "`build_cache` again; it goes on where it stopped."
        )
    return _as_teacher(directory, manifest, shards, unlisted)


def _as_teacher(
    directory: Path, manifest: dict, shards: list[Shard], unlisted: Unlisted
) -> EmbeddingTeacher | ListTeacher:
    columns_of = {
        side: read_shards(directory, [s for s in shards if s.side == side])
        for side in SIDES
    }
    lists = {
        side: (columns["list_row"], columns["list_score"])
        for side, columns in columns_of.items()
        if "list_row" in columns
    }
    if manifest["kind"] == "lists":
        return ListTeacher(
            lists["query"],
            manifest["num_candidates"],
            unlisted,
            lists.get("candidate"),
        )
    return EmbeddingTeacher(
        columns_of["query"]["embedding"],
        columns_of["candidate"]["embedding"],
        manifest["temperature"],
        lists=lists["query"],
        hidden={
            side: {name: columns_of[side][f"output_{name}"] for name in names}
            for side, names in manifest["outputs"].items()
        },
        item_lists=lists.get("candidate"),
    )


def _check(k: int, item_k: int | None, dtype: str) -> None:
    for name, value in {"k": k, "item_k": item_k}.items():
        if value is not None and value < 1:
            raise UserError(
                f"`{name}` should be a positive integer. Received: `{name}` = "
                f"{value}. Give {name} >= 1."
            )
    if dtype not in ("float32", "float16"):
        raise UserError(
            "`dtype` of a cache should be float32 or float16. Received: "
            f"`dtype` = {dtype!r}."
        )


def _check_unlisted(kind: str, unlisted: Unlisted) -> None:
    if kind != "lists" and unlisted is not None:
        raise UserError(
            "`unlisted` should be left out for a teacher with embeddings: its "
            f"cache scores all candidates. Received: `unlisted` = {unlisted!r}."
        )


def _describe(
    teacher: Teacher,
    fingerprint: Fingerprint,
    k: int,
    item_k: int | None,
    dtype: str,
) -> dict:
    embeds = isinstance(teacher, (TwoTowerTeacher, EmbeddingTeacher))
    return {
        "format": _FORMAT,
        "kind": "embeddings" if embeds else "lists",
        "teacher_fingerprint": fingerprint.teacher,
        "data_fingerprint": fingerprint.data,
        "k": min(k, teacher.num_candidates),
        "item_k": item_k and min(item_k, teacher.num_queries),
        "dtype": dtype,
        "num_queries": teacher.num_queries,
        "num_candidates": teacher.num_candidates,
        "temperature": teacher.temperature if embeds else None,
        "shard_rows": _SHARD_ROWS,
    }


def _find_outputs(
    teacher: Teacher, outputs: Sequence[str]
) -> dict[str, list[str]]:
    """The outputs by side; a side has to have each of them."""
    by_side: dict[str, list[str]] = {side: [] for side in SIDES}
    for name in dict.fromkeys(outputs):
        sides = [side for side in SIDES if _has(teacher, side, name)]
        if not sides:
            teacher.width("query", name)  # Raises the error of the teacher.
        for side in sides:
            by_side[side].append(name)
    return by_side


def _has(teacher: Teacher, side: Side, output: str) -> bool:
    try:
        teacher.width(side, output)
    except UserError:
        return False
    return True


def _shards(manifest: dict) -> list[Shard]:
    counts = {"candidate": manifest["num_candidates"]}
    if manifest["kind"] == "lists" and not manifest["item_k"]:
        counts = {}
    counts["query"] = manifest["num_queries"]
    return list_shards(counts, manifest["shard_rows"])


def _claim(directory: Path, manifest: dict) -> None:
    """Writes the manifest of a new cache, or checks an existing one."""
    directory.mkdir(parents=True, exist_ok=True)
    existing = _read_manifest(directory)
    if existing is None:
        with replacing(directory / _MANIFEST) as partial:
            partial.write_text(json.dumps(manifest, indent=1) + "\n")
        return
    _check_fingerprint(
        directory,
        existing,
        Fingerprint(
            manifest["teacher_fingerprint"], manifest["data_fingerprint"]
        ),
    )
    if existing != manifest:
        changed = [k for k in manifest if existing.get(k) != manifest[k]]
        raise UserError(
            f"The teacher cache in {directory} is another one: "
            + ", ".join(
                f"`{k}` is {existing.get(k)!r}, requested {manifest[k]!r}"
                for k in changed
            )
            + ". Use another directory, or delete this one."
        )


def _check_fingerprint(
    directory: Path, manifest: dict, fingerprint: Fingerprint
) -> None:
    """Checks that a cache is of the given teacher and data."""
    if manifest.get("format") != _FORMAT:
        raise UserError(
            f"The teacher cache in {directory} should be of format {_FORMAT}. "
            f"Received: format {manifest.get('format')}. Delete it and build "
            "it again."
        )
    for part, expected in fingerprint._asdict().items():
        cached = manifest[f"{part}_fingerprint"]
        if cached != expected:
            other = "another teacher" if part == "teacher" else "other data"
            raise UserError(
                f"The teacher cache in {directory} is of {other}. Received: "
                f"{part} fingerprint {expected[:12] or 'none'}, the cache has "
                f"{cached[:12] or 'none'}. Use another directory, or delete "
                "this one."
            )


def _read_manifest(directory: Path) -> dict | None:
    path = directory / _MANIFEST
    return json.loads(path.read_text()) if path.exists() else None
