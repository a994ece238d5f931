"""A teacher with given embeddings, which are gathered by row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import tensorflow as tf

from kd_tfrs.data.catalogue import Catalogue
from kd_tfrs.data.retrieval.batches import Batch
from kd_tfrs.distillation.retrieval.batch_scores import EmbeddingScores
from kd_tfrs.distillation.retrieval.teachers.base import (
    SIDES,
    Side,
    Teacher,
    check_output,
    check_side,
    positive_temperature,
    transpose_seen,
)
from kd_tfrs.distillation.retrieval.teachers.tables import (
    check_widths,
    float_table,
    table_by_id,
)
from kd_tfrs.errors import UserError

Lists = tuple[np.ndarray, np.ndarray]
Hidden = Mapping[str, Mapping[str, np.ndarray]]


class EmbeddingTeacher(Teacher):
    """A teacher with given embeddings, which are gathered by row.

    Args:
        query_embeddings: `[num_users + 1, dim]` by user row.
        candidate_embeddings: `[num_items, dim]` by item row.
        temperature: scores are dot products divided by it, positive.
        lists: `[num_users + 1, K]` rows of the best candidates and their
            `[num_users + 1, K]` scores, or `None` to rank at every step.
        seen: see `Teacher`; only where `lists` are not given.
        hidden: further outputs by side and name, each `[rows, width]`, such
            as `{"query": {"hidden_0": values}}`.
        item_lists: `[num_items, K]` rows of the best users of an item and
            their scores: the lists of `reversed()`.

    Attributes:
        matched: of a teacher of `of_ids`, the shares of the catalogue's
            "query" and "candidate" ids that it has.

    Raises:
        UserError: both `lists` and `seen` are given, an array has another
            number of rows than its side, a number is not finite, or
            `temperature` is not positive.

    Example:
    ```python
    teacher = EmbeddingTeacher(user_vectors, item_vectors, temperature=0.1)
    ```
    """

    def __init__(
        self,
        query_embeddings: np.ndarray,
        candidate_embeddings: np.ndarray,
        temperature: float = 1.0,
        lists: Lists | None = None,
        seen: tf.RaggedTensor | None = None,
        hidden: Hidden | None = None,
        item_lists: Lists | None = None,
    ) -> None:
        query_embeddings = float_table("query_embeddings", query_embeddings)
        candidate_embeddings = float_table(
            "candidate_embeddings", candidate_embeddings
        )
        check_widths(query_embeddings.shape[1], candidate_embeddings.shape[1])
        super().__init__(len(query_embeddings), len(candidate_embeddings), seen)
        self.temperature = positive_temperature(temperature)
        self.matched: dict[str, float] = {}
        if lists is not None and seen is not None:
            raise UserError(
                "`seen` should be left out where `lists` are given: lists "
                "stay as they are. Received: both. Leave seen items out of "
                "the lists."
            )
        outputs = _with_hidden(
            (query_embeddings, candidate_embeddings), hidden or {}
        )
        self._outputs = {
            side: {name: tf.constant(x) for name, x in named.items()}
            for side, named in outputs.items()
        }
        self._lists = as_lists(lists, self.num_queries, "lists")
        self._item_lists = as_lists(
            item_lists, self.num_candidates, "item_lists"
        )

    @classmethod
    def of_ids(
        cls,
        catalogue: Catalogue,
        query_ids: Sequence,
        query_embeddings: np.ndarray,
        candidate_ids: Sequence,
        candidate_embeddings: np.ndarray,
        temperature: float = 1.0,
        seen: tf.RaggedTensor | None = None,
    ) -> EmbeddingTeacher:
        """A teacher whose tables are in another order, or of other ids.

        The share of the catalogue's ids that the teacher has is logged. The
        mean of its embeddings stands for an id that it lacks, and for the
        unknown user.

        Args:
            catalogue: of the data that train the student.
            query_ids: `[n]` raw user ids of the rows of `query_embeddings`.
            query_embeddings: `[n, dim]`.
            candidate_ids: `[m]` raw item ids.
            candidate_embeddings: `[m, dim]`.
            temperature: see the class.
            seen: see the class.

        Returns:
            The teacher.

        Raises:
            UserError: no id is found, ids are repeated, or a table does not
                fit.

        Example:
        ```python
        teacher = EmbeddingTeacher.of_ids(
            data.catalogue, als_users, als.user_factors, als_items,
            als.item_factors, temperature=0.1,
        )
        ```
        """
        matched: dict[str, float] = {}
        queries = table_by_id(
            "query",
            query_ids,
            query_embeddings,
            catalogue.user_ids,
            matched,
            unknown_first=True,
        )
        candidates = table_by_id(
            "candidate",
            candidate_ids,
            candidate_embeddings,
            catalogue.item_ids,
            matched,
        )
        teacher = cls(queries, candidates, temperature, seen=seen)
        teacher.matched = matched
        return teacher

    def embed_queries(self, rows: tf.Tensor) -> tf.Tensor:
        """Embeddings of user rows, `[..., dim]` float32."""
        return self.features("query", rows)

    def embed_candidates(self, rows: tf.Tensor) -> tf.Tensor:
        """Embeddings of item rows, `[..., dim]` float32."""
        return self.features("candidate", rows)

    def features(
        self, side: Side, rows: tf.Tensor, output: str = "embedding"
    ) -> tf.Tensor:
        """See `Teacher.features`."""
        return tf.cast(tf.gather(self._output(side, output), rows), tf.float32)

    def width(self, side: Side, output: str = "embedding") -> int:
        """See `Teacher.width`."""
        return int(self._output(side, output).shape[-1])

    def reversed(self) -> EmbeddingTeacher:
        """See `Teacher.reversed`; its lists are the `item_lists`.

        Raises:
            UserError: there are `lists` but no `item_lists`. The lists do not
                show which users have seen an item.
        """
        if self._lists is not None and self._item_lists is None:
            raise UserError(
                "A cached teacher with lists of users for an item should "
                "have `item_lists`. Received: lists of users only. "
                "Build the cache with `item_k`."
            )
        users, items = (self._outputs[side] for side in SIDES)
        hidden = {"query": items, "candidate": users}
        seen = None
        if self._item_lists is None:
            seen = transpose_seen(self.seen, self.num_candidates)
        return self._turn(
            EmbeddingTeacher(
                items["embedding"],
                users["embedding"],
                self.temperature,
                lists=self._item_lists,
                seen=seen,
                hidden={
                    side: {k: v for k, v in x.items() if k != "embedding"}
                    for side, x in hidden.items()
                },
                item_lists=self._lists,
            )
        )

    def batch_scores(self, batch: Batch) -> EmbeddingScores:
        """See `Teacher.batch_scores`."""
        return EmbeddingScores(
            lambda at: self.embed_queries(tf.gather(batch["query_row"], at)),
            lambda at: self.embed_candidates(
                tf.gather(batch["candidate_row"], at)
            ),
            self.temperature,
            reuses_list_scores=True,
        )

    def all_scores(self, query_rows: tf.Tensor) -> tf.Tensor:
        """See `Teacher.all_scores`."""
        candidates = tf.cast(self._output("candidate", "embedding"), tf.float32)
        queries = self.embed_queries(query_rows)
        return tf.matmul(queries, candidates, transpose_b=True) / (
            self.temperature
        )

    def top_k(
        self, query_rows: tf.Tensor, k: int
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """See `Teacher.top_k`; a cached list has to be `k` long at least."""
        if self._lists is None:
            return super().top_k(query_rows, k)
        return read_lists(self._lists, query_rows, k)

    def check_k(self, k: int) -> None:
        """See `Teacher.check_k`; a cached list has to be `k` long at least."""
        if self._lists is None:
            super().check_k(k)
        else:
            check_list_k(self._lists, k)

    def _output(self, side: Side, output: str) -> tf.Tensor:
        check_side(side)
        check_output(side, output, self._outputs[side])
        return self._outputs[side][output]


def _with_hidden(
    embeddings: tuple[np.ndarray, np.ndarray], hidden: Hidden
) -> dict[str, dict[str, np.ndarray]]:
    """All outputs by side, with a check of their rows."""
    unknown = sorted(set(hidden) - set(SIDES))
    if unknown:
        raise UserError(
            "`hidden` should have the keys query and candidate. Received: "
            f"{unknown[0]!r}."
        )
    outputs = {}
    for side, embedding in zip(SIDES, embeddings, strict=True):
        named = hidden.get(side, {})
        for name, values in named.items():
            if name == "embedding" or len(values) != len(embedding):
                raise UserError(
                    "`hidden` should have another name than embedding, and a "
                    f"row for each of {len(embedding)}. Received: {name!r} of "
                    f"{len(values)} rows on the {side} side."
                )
        outputs[side] = {"embedding": embedding, **named}
    return outputs


def read_lists(
    lists: tuple[tf.Tensor, tf.Tensor], query_rows: tf.Tensor, k: int
) -> tuple[tf.Tensor, tf.Tensor]:
    """The first `k` entries of given lists, see `Teacher.top_k`.

    Args:
        lists: `[num_queries, K]` rows and scores.
        query_rows: `[queries]` int32.
        k: how many.

    Returns:
        `[queries, k]` int32 rows and float32 scores.

    Raises:
        UserError: the lists are shorter.
    """
    check_list_k(lists, k)
    rows, scores = lists
    return (
        tf.gather(rows, query_rows)[:, :k],
        tf.cast(tf.gather(scores, query_rows)[:, :k], tf.float32),
    )


def check_list_k(lists: tuple[tf.Tensor, tf.Tensor], k: int) -> None:
    """Checks that given lists are long enough.

    Args:
        lists: `[num_queries, K]` rows and scores.
        k: how many candidates are taken.

    Raises:
        UserError: the lists are shorter.
    """
    length = lists[0].shape[1]
    if k > length:
        raise UserError(
            f"`k` should not exceed the cache's {length}. Received: `k` = "
            f"{k}. Build the cache with a larger `k`."
        )


def as_lists(
    lists: Lists | None, num_rows: int, name: str
) -> tuple[tf.Tensor, tf.Tensor] | None:
    """Lists as tensors, with a check of their shapes.

    Args:
        lists: rows and scores of one shape, or `None`.
        num_rows: how many lists there have to be.
        name: of the argument, for the error.

    Returns:
        `[num_rows, K]` int32 rows and `[num_rows, K]` scores, or `None`.

    Raises:
        UserError: they do not fit.
    """
    if lists is None:
        return None
    rows, scores = lists
    if len(rows) != num_rows or rows.shape != scores.shape:
        raise UserError(
            f"`{name}` should be rows and scores of one shape, a list for "
            f"each of {num_rows} rows. Received: {tuple(rows.shape)} and "
            f"{tuple(scores.shape)}."
        )
    if np.isnan(np.asarray(scores)).any():
        raise UserError(
            f"`{name}` should have scores in descending order, -inf where a "
            "list is shorter. Received: NaN. Load the lists of a trained "
            "teacher."
        )
    return tf.cast(tf.constant(rows), tf.int32), tf.constant(scores)
