"""Scores and lists of a teacher for all queries, in blocks."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import tensorflow as tf

from kd_tfrs.distillation.retrieval.teachers.base import Teacher

_BLOCK_SCORES = 2**24


def query_blocks(teacher: Teacher) -> Iterator[tf.Tensor]:
    """All query rows, as many at a time as keep the scores in memory.

    Yields:
        `[block]` int32 rows.
    """
    size = max(1, _BLOCK_SCORES // teacher.num_candidates)
    for start in range(0, teacher.num_queries, size):
        yield tf.range(start, min(start + size, teacher.num_queries))


def rank_all(teacher: Teacher, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The lists of all queries.

    Args:
        teacher: any teacher.
        k: their length; at most as many as there are candidates are kept.

    Returns:
        `[num_queries, k]` int32 rows and float32 scores, see `Teacher.top_k`.

    Example:
    ```python
    rows, scores = rank_all(teacher, 100)
    ```
    """
    k = min(k, teacher.num_candidates)
    blocks = [teacher.top_k(rows, k) for rows in query_blocks(teacher)]
    rows, scores = zip(*blocks, strict=True)
    return (
        np.concatenate([x.numpy() for x in rows]),
        np.concatenate([x.numpy() for x in scores]),
    )
