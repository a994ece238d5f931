"""A teacher that consists of lists."""

from __future__ import annotations

import dataclasses
import os
from typing import Literal

import numpy as np
import pandas as pd
import tensorflow as tf

from kd_tfrs.data.catalogue import Catalogue
from kd_tfrs.data.retrieval.batches import Batch
from kd_tfrs.distillation.retrieval.batch_scores import BatchScores, Selection
from kd_tfrs.distillation.retrieval.teachers import Teacher
from kd_tfrs.distillation.retrieval.teachers.embedding import (
    as_lists,
    check_list_k,
    read_lists,
)
from kd_tfrs.distillation.retrieval.teachers.tables import rows_by_id
from kd_tfrs.distillation.score_files import check_table, read_table
from kd_tfrs.errors import UserError

Unlisted = float | Literal["lowest"] | None


class ListTeacher(Teacher):
    """A teacher with lists of the best candidates and their scores.

    The cache of a teacher without embeddings is a `ListTeacher`, and so are
    the recommendations of another system. Losses are computed on its lists
    (`TeacherTopK`, `RankSampled`); the score of other candidates has to be
    assumed.

    Args:
        lists: `[num_users + 1, K]` rows of the best candidates in descending
            order, and their `[num_users + 1, K]` scores; -inf where a list
            is shorter.
        num_candidates: item rows.
        unlisted: the score of a candidate that is not on a query's list: a
            number, or "lowest" for the last score of the query's list, which
            no other candidate exceeds. With `None`, unlisted candidates
            raise an error.
        item_lists: `[num_items, K]` rows of the best users of an item and
            their scores: the lists of `reversed()`.

    Attributes:
        matched: of a teacher of `of_table`, the shares of the catalogue's
            "query" and "candidate" ids that it has.

    Raises:
        UserError: an array does not fit.

    Example:
    ```python
    teacher = ListTeacher((rows, scores), num_items, unlisted="lowest")
    ```
    """

    def __init__(
        self,
        lists: tuple[np.ndarray, np.ndarray],
        num_candidates: int,
        unlisted: Unlisted = None,
        item_lists: tuple[np.ndarray, np.ndarray] | None = None,
    ) -> None:
        super().__init__(len(lists[0]), num_candidates)
        self.matched: dict[str, float] = {}
        self._lists = as_lists(lists, self.num_queries, "lists")
        self._item_lists = as_lists(item_lists, num_candidates, "item_lists")
        _check_rows(self._lists, num_candidates)
        self.unlisted = _check_unlisted(unlisted)
        # By ascending row, so that a candidate is found by bisection.
        order = tf.argsort(self._lists[0], axis=1)
        self._sorted = tuple(
            tf.gather(values, order, batch_dims=1) for values in self._lists
        )

    @classmethod
    def of_table(
        cls,
        catalogue: Catalogue,
        table: pd.DataFrame | str | os.PathLike,
        columns: tuple[str, str, str] = ("query", "item", "score"),
        unlisted: Unlisted = "lowest",
    ) -> ListTeacher:
        """A teacher from the scores of another program, by raw ids.

        For PyTorch models, ALS, LightGBM or a language model. The shares of
        the catalogue's ids that the table has are logged. A user without a
        score, and the unknown user, have an empty list.

        Args:
            catalogue: of the data that train the student.
            table: a DataFrame, or the path of a Parquet or CSV file, with one
                row for each pair with a score.
            columns: of the user's id, the item's id and the score.
            unlisted: see the class.

        Returns:
            The teacher, with lists as long as the longest of the table.

        Raises:
            UserError: the table does not fit, or none of its ids is found.

        Example:
        ```python
        teacher = ListTeacher.of_table(data.catalogue, "scores.parquet")
        ```
        """
        table = read_table(table)
        check_table(table, *columns)
        matched: dict[str, float] = {}
        sides = []
        for what, name, wanted in (
            ("query", columns[0], catalogue.user_ids),
            ("candidate", columns[1], catalogue.item_ids),
        ):
            codes, ids = pd.factorize(table[name])
            found = rows_by_id(what, ids, wanted, matched, "no score")
            row_of = np.full(len(ids), -1)
            row_of[found[found >= 0]] = np.flatnonzero(found >= 0)
            sides.append(row_of[codes])
        lists = _lists_of(
            sides[0] + 1, sides[1], table[columns[2]], catalogue.num_users + 1
        )
        teacher = cls(lists, catalogue.num_items, unlisted)
        teacher.matched = matched
        return teacher

    def batch_scores(self, batch: Batch) -> ListScores:
        """See `Teacher.batch_scores`."""
        return ListScores(self, batch)

    def all_scores(self, query_rows: tf.Tensor) -> tf.Tensor:
        """See `Teacher.all_scores`; only where `unlisted` is given."""
        candidates = tf.range(self.num_candidates)[None, :]
        count = tf.shape(query_rows)[0]
        return self.score(query_rows, tf.tile(candidates, [count, 1]))

    def top_k(
        self, query_rows: tf.Tensor, k: int
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """See `Teacher.top_k`; a list has to be `k` long at least."""
        return read_lists(self._lists, query_rows, k)

    def check_k(self, k: int) -> None:
        """See `Teacher.check_k`; a list has to be `k` long at least."""
        check_list_k(self._lists, k)

    def score(
        self, query_rows: tf.Tensor, candidate_rows: tf.Tensor
    ) -> tf.Tensor:
        """Scores of some candidates of each query.

        Args:
            query_rows: `[queries]` int32.
            candidate_rows: `[queries, n]` int32.

        Returns:
            `[queries, n]` float32.

        Raises:
            UserError: a candidate is unlisted and has no score.
        """
        if self.unlisted is None:
            raise UserError(
                "A loss of a ListTeacher should be computed on its lists "
                "alone, or `unlisted` should be the score of all other "
                "candidates. Received: other candidates, and `unlisted` = "
                "None. Take TeacherTopK(num_random=0), or give "
                "`unlisted='lowest'`."
            )
        rows, scores = (tf.gather(x, query_rows) for x in self._sorted)
        at = tf.searchsorted(rows, candidate_rows)
        at = tf.minimum(at, rows.shape[1] - 1)
        score = tf.cast(tf.gather(scores, at, batch_dims=1), tf.float32)
        # The padding of a short list names a row that is not on it.
        listed = tf.gather(rows, at, batch_dims=1) == candidate_rows
        listed &= tf.math.is_finite(score)
        return tf.where(listed, score, self._floor(scores))

    def reversed(self) -> ListTeacher:
        """See `Teacher.reversed`; its lists are the `item_lists`."""
        if self._item_lists is None:
            raise UserError(
                "A ListTeacher with lists of users for an item should have "
                "`item_lists`. Received: lists of users only. Build the "
                "cache with `item_k`."
            )
        return self._turn(
            ListTeacher(
                self._item_lists, self.num_queries, self.unlisted, self._lists
            )
        )

    def _floor(self, scores: tf.Tensor) -> tf.Tensor | float:
        if self.unlisted != "lowest":
            return self.unlisted
        scores = tf.cast(scores, tf.float32)
        finite = tf.where(tf.math.is_finite(scores), scores, np.inf)
        lowest = tf.reduce_min(finite, axis=1, keepdims=True)
        return tf.where(tf.math.is_finite(lowest), lowest, 0.0)


@dataclasses.dataclass(frozen=True)
class ListScores(BatchScores):
    """Scores of a `ListTeacher` for a batch.

    Args:
        teacher: the teacher.
        batch: see `RetrievalBatches`.
    """

    teacher: ListTeacher
    batch: Batch

    def scores(self, selection: Selection) -> tf.Tensor:
        """Scores of the selected candidates, see `EmbeddingScores`."""
        sides = ("query_row", "candidate_row")
        teacher = self.teacher
        if selection.reverse:
            sides, teacher = sides[::-1], teacher.reversed()
        queries = tf.gather(self.batch[sides[0]], selection.query)
        candidates = self.batch[sides[1]]
        parts = []
        if selection.list_scores is not None:
            parts.append(selection.list_scores)
        elif selection.lists is not None:
            listed = tf.gather(candidates, selection.lists)
            parts.append(teacher.score(queries, listed))
        if selection.shared is not None:
            shared = tf.gather(candidates, selection.shared)
            width = [tf.shape(queries)[0], tf.shape(shared)[0]]
            parts.append(teacher.score(queries, tf.broadcast_to(shared, width)))
        return tf.concat(parts, axis=1)


def _lists_of(
    queries: np.ndarray,
    candidates: np.ndarray,
    scores: pd.Series,
    num_queries: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Lists in descending order from the rows of pairs; -1 is unknown."""
    pairs = pd.DataFrame(
        {"query": queries, "row": candidates, "score": scores.to_numpy()}
    )
    pairs = pairs[(pairs["query"] > 0) & (pairs["row"] >= 0)]
    pairs = pairs.sort_values(
        ["query", "score", "row"], ascending=[True, False, True]
    )
    place = pairs.groupby("query").cumcount().to_numpy()
    shape = (num_queries, int(place.max()) + 1)
    rows = np.zeros(shape, np.int32)
    values = np.full(shape, -np.inf, np.float32)
    at = pairs["query"].to_numpy(), place
    rows[at], values[at] = pairs["row"], pairs["score"]
    return rows, values


def _check_rows(lists: tuple[tf.Tensor, tf.Tensor], count: int) -> None:
    listed = tf.boolean_mask(lists[0], tf.math.is_finite(lists[1]))
    if (
        tf.size(listed)
        and not 0 <= listed.numpy().min() <= (listed.numpy().max()) < count
    ):
        raise UserError(
            f"`lists` should have candidate rows from 0 to {count - 1}. "
            f"Received: rows from {listed.numpy().min()} to "
            f"{listed.numpy().max()}. Give the rows of the catalogue."
        )


def _check_unlisted(unlisted: Unlisted) -> Unlisted:
    if unlisted is None or unlisted == "lowest":
        return unlisted
    if isinstance(unlisted, str) or not np.isfinite(unlisted):
        raise UserError(
            "`unlisted` should be a finite number, 'lowest' or None. "
            f"Received: `unlisted` = {unlisted!r}."
        )
    return float(unlisted)
