"""Base of the teachers: scores, lists, and the reversed teacher."""

from __future__ import annotations

import abc
from collections.abc import Iterable
from typing import Literal

import numpy as np
import tensorflow as tf

from kd_tfrs.data.retrieval.batches import Batch
from kd_tfrs.distillation.retrieval.batch_scores import BatchScores
from kd_tfrs.errors import UserError

Side = Literal["query", "candidate"]
SIDES: tuple[Side, ...] = ("query", "candidate")


class Teacher(abc.ABC):
    """Base of the models that score the candidates of a query.

    Queries and candidates are rows of a `Catalogue`; a teacher has
    its inputs by row, which may differ from the student's. It is never
    trained and no gradient reaches it.

    Args:
        num_queries: user rows, the unknown one counted.
        num_candidates: item rows.
        seen: `[num_queries, (events)]` ragged int32 item rows that are left
            out of a query's top-k lists, or `None`.

    Attributes:
        first_query: the first row of a real query. It is 1, as row 0 is the
            unknown user, and 0 where items are the queries.
        first_candidate: likewise; 0, and 1 where users are the candidates.
        teachers: members of an ensemble.
        checkpointed: modules that a checkpoint has to hold.
    """

    first_query = 1
    first_candidate = 0
    teachers: tuple[Teacher, ...] = ()
    checkpointed: tuple[tf.Module, ...] = ()

    def __init__(
        self,
        num_queries: int,
        num_candidates: int,
        seen: tf.RaggedTensor | None = None,
    ) -> None:
        self.num_queries = num_queries
        self.num_candidates = num_candidates
        self.seen = seen
        _check_seen(seen, num_queries, num_candidates)

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}({self.num_queries:,} queries, "
            f"{self.num_candidates:,} candidates)"
        )

    def check_rows(self, num_queries: int, num_candidates: int) -> None:
        """Compares the rows of the teacher with those of the data.

        Args:
            num_queries: user rows of the data, the unknown one counted.
            num_candidates: item rows of the data.

        Raises:
            UserError: they differ, so that rows would be those of others.
        """
        own = self.num_queries, self.num_candidates
        if own == (num_queries, num_candidates):
            return
        remedy = (
            "Order its tables by the ids of the catalogue, behind a row for "
            "the unknown user, or make it by `EmbeddingTeacher.of_ids`."
        )
        if own == (num_candidates, num_queries):
            remedy = "The two tables are exchanged: give that of queries first."
        raise UserError(
            f"A teacher of these data should have {num_queries} query rows, "
            f"of which row 0 is the unknown user, and {num_candidates} "
            f"candidates. Received: {own[0]} and {own[1]}. {remedy}"
        )

    def check_k(self, k: int) -> None:
        """Checks the length of the lists that are asked of the teacher.

        Args:
            k: see `top_k`.

        Raises:
            UserError: `k` exceeds the number of candidates.
        """
        if k > self.num_candidates:
            raise UserError(
                "`k` should not exceed the number of candidates. Received: "
                f"`k` = {k} of {self.num_candidates}. Lower `k`."
            )

    @abc.abstractmethod
    def batch_scores(self, batch: Batch) -> BatchScores:
        """Scores for a batch, see `RetrievalBatches`."""

    @abc.abstractmethod
    def all_scores(self, query_rows: tf.Tensor) -> tf.Tensor:
        """Scores of every candidate, `[queries, num_candidates]`."""

    def top_k(
        self, query_rows: tf.Tensor, k: int
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """The best unseen candidates of some queries.

        Args:
            query_rows: `[queries]` int32.
            k: how many; at most `num_candidates`.

        Returns:
            `[queries, k]` int32 rows and `[queries, k]` float32 scores in
            descending order; ties go to the lower row. A score is -inf where
            fewer than `k` candidates are left.

        Raises:
            UserError: `k` exceeds the number of candidates.
        """
        self.check_k(k)
        scores = self.all_scores(query_rows)
        if self.first_candidate:
            unknown = tf.range(self.num_candidates) < self.first_candidate
            scores = tf.where(unknown, -np.inf, scores)
        if self.seen is not None:
            scores = mask_seen(scores, tf.gather(self.seen, query_rows))
        values, rows = tf.math.top_k(scores, k)
        return rows, values

    def features(
        self, side: Side, rows: tf.Tensor, output: str = "embedding"
    ) -> tf.Tensor:
        """A named output of a tower, without gradient.

        Args:
            side: "query" or "candidate".
            rows: `[n]` int32 rows of that side.
            output: name of the output, such as "hidden_0".

        Returns:
            `[n, width]` float32.

        Raises:
            UserError: the teacher has no such output.
        """
        del side, rows
        raise self._no_features(output)

    def width(self, side: Side, output: str = "embedding") -> int:
        """Width of a named output, see `features`."""
        del side
        raise self._no_features(output)

    def reversed(self) -> Teacher:
        """The same teacher with queries and candidates exchanged.

        Returns:
            A teacher whose queries are the items and whose candidates are the
            user rows. Its lists leave out the unknown user and the users
            that have seen the item.

        Raises:
            UserError: this kind of teacher cannot be reversed.
        """
        raise UserError(
            "A teacher with lists of users for an item should have "
            f"embeddings. Received: {type(self).__name__}. Take a "
            "TwoTowerTeacher or an EmbeddingTeacher."
        )

    def _turn(self, other: Teacher) -> Teacher:
        """Exchanges the first rows of a teacher that was built reversed."""
        other.first_query = self.first_candidate
        other.first_candidate = self.first_query
        return other

    def _no_features(self, output: str) -> UserError:
        return UserError(
            "A teacher of a loss between features should have towers. "
            f"Received: {type(self).__name__} for output {output!r}. Take a "
            "TwoTowerTeacher or an EmbeddingTeacher, or a loss on scores."
        )


def _check_seen(
    seen: tf.RaggedTensor | None, num_queries: int, num_candidates: int
) -> None:
    if seen is None:
        return
    if seen.nrows() != num_queries:
        raise UserError(
            "`seen` should have a row for each query row of the teacher, "
            f"{num_queries}. Received: {int(seen.nrows())} rows. Row 0 is "
            "the unknown user: give it to both, in the teacher's tables "
            "as well."
        )
    last = int(tf.reduce_max(seen.values)) if tf.size(seen.values) else 0
    if last >= num_candidates:
        raise UserError(
            "`seen` should have rows of the teacher's candidates, "
            f"{num_candidates}. Received: row {last}. Make both from one "
            "catalogue."
        )


def check_side(side: str) -> None:
    """Checks the name of a side.

    Raises:
        UserError: it is neither "query" nor "candidate".
    """
    if side not in SIDES:
        raise UserError(
            f"`side` should be query or candidate. Received: `side` = {side!r}."
        )


def check_output(side: Side, output: str, names: Iterable[str]) -> None:
    """Checks that a teacher has an output.

    Args:
        side: "query" or "candidate".
        output: the name to check.
        names: the outputs of that side.

    Raises:
        UserError: it is not among them.
    """
    if output not in names:
        raise UserError(
            f"`output` should be one that the teacher's {side} side has: "
            f"{', '.join(sorted(names))}. Received: `output` = {output!r}. "
            "Name one of these; a cache keeps the `outputs` of "
            "`build_cache`."
        )


def mask_seen(
    scores: tf.Tensor, seen: tf.RaggedTensor, value: float | bool = -np.inf
) -> tf.Tensor:
    """Sets scores, or a mask, to a value where a query has seen the candidate.

    Args:
        scores: `[queries, candidates]`.
        seen: `[queries, (events)]` ragged candidate rows.
        value: of the type of `scores`.

    Returns:
        `[queries, candidates]`.
    """
    places = tf.stack(
        [tf.cast(seen.value_rowids(), tf.int32), seen.values], axis=1
    )
    return tf.tensor_scatter_nd_update(
        scores, places, tf.fill([tf.shape(places)[0]], value)
    )


def transpose_seen(
    seen: tf.RaggedTensor | None, num_candidates: int
) -> tf.RaggedTensor | None:
    """The queries that have seen a candidate.

    Args:
        seen: `[queries, (events)]` ragged candidate rows, or `None`.
        num_candidates: how many there are.

    Returns:
        `[num_candidates, (events)]` ragged int32 query rows in ascending
        order, or `None`.
    """
    if seen is None:
        return None
    candidates = seen.values.numpy()
    order = np.argsort(candidates, kind="stable")
    return tf.RaggedTensor.from_value_rowids(
        seen.value_rowids().numpy()[order].astype(np.int32),
        candidates[order].astype(np.int64),
        nrows=num_candidates,
    )


def positive_temperature(temperature: float) -> float:
    """A teacher's temperature, checked to be positive."""
    if temperature <= 0:
        raise UserError(
            "A teacher's `temperature` should be positive. Received: "
            f"`temperature` = {temperature}. Take its softmax temperature."
        )
    return float(temperature)
