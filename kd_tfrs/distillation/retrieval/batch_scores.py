"""Scores that a teacher or a student gives to the candidates of a batch."""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Callable, Mapping
from typing import NamedTuple

import tensorflow as tf

from kd_tfrs.data.retrieval.batches import Batch


class Selection(NamedTuple):
    """The queries and candidates of a batch that a loss compares.

    Positions count along the batch's queries and candidates. The scores are
    `[queries, lists + shared]`: every query's own list first, then the
    candidates that all queries share.

    Args:
        query: `[queries]` positions.
        mask: bool, `[lists + shared]` or `[queries, lists + shared]`; false
            where a candidate repeats another one.
        weight: `[queries]` sample weights.
        shared: `[shared]` positions, or `None`.
        lists: `[queries, lists]` positions, or `None`.
        list_scores: `[queries, lists]`, the teacher's scores of `lists`
            where they are already computed.
        target: bool, `[queries, lists + shared]`; true where the candidate
            is the query's own event. `None` where there are no events.
        reverse: whether queries are positions along the batch's candidates
            and candidates along its queries, for lists of users of an item.
        rows: catalogue rows of the features of a feature loss.
    """

    query: tf.Tensor
    mask: tf.Tensor
    weight: tf.Tensor
    shared: tf.Tensor | None = None
    lists: tf.Tensor | None = None
    list_scores: tf.Tensor | None = None
    target: tf.Tensor | None = None
    reverse: bool = False
    rows: tf.Tensor | None = None

    def num_listed(self) -> int:
        """Width of the queries' own lists, 0 without any."""
        return 0 if self.lists is None else int(self.lists.shape[1])

    def candidate_rows(self, batch: Batch) -> tf.Tensor:
        """Catalogue rows of the candidates.

        Args:
            batch: the batch that was selected from.

        Returns:
            `[shared]`, or `[queries, lists + shared]`.
        """
        rows = batch["query_row" if self.reverse else "candidate_row"]
        shared = None if self.shared is None else tf.gather(rows, self.shared)
        if self.lists is None:
            return shared
        listed = tf.gather(rows, self.lists)
        if shared is None:
            return listed
        width = [tf.shape(listed)[0], tf.shape(shared)[0]]
        return tf.concat([listed, tf.broadcast_to(shared, width)], axis=1)


class BatchScores(abc.ABC):
    """The scores that a model gives to the candidates of one batch."""

    @abc.abstractmethod
    def scores(self, selection: Selection) -> tf.Tensor:
        """Scores of the selected candidates.

        Args:
            selection: queries and candidates of the batch.

        Returns:
            `[queries, lists + shared]` float32 logits.
        """

    def scores_of_each(self, selection: Selection) -> tf.Tensor | None:
        """Scores of every member of an ensemble.

        Args:
            selection: queries and candidates of the batch.

        Returns:
            `[queries, lists + shared, teachers]` float32, or `None` for a
            single model.
        """
        del selection
        return None


def _concat(parts: list[tf.Tensor]) -> tf.Tensor:
    return tf.concat(parts, axis=1) if len(parts) > 1 else parts[0]


@dataclasses.dataclass(frozen=True)
class EmbeddingScores(BatchScores):
    r"""Scores that are dot products: $\langle q, c \rangle / \tau$.

    Args:
        embed_queries: from `[n]` positions to `[n, dim]`.
        embed_candidates: likewise; called only for the selected candidates.
        temperature: the model's own softmax temperature $\tau$.
        reuses_list_scores: whether `Selection.list_scores` are taken as they
            are. True for teachers; a student computes its own scores.
    """

    embed_queries: Callable[[tf.Tensor], tf.Tensor]
    embed_candidates: Callable[[tf.Tensor], tf.Tensor]
    temperature: float
    reuses_list_scores: bool = False

    @classmethod
    def of_student(
        cls, outputs: Mapping[str, Mapping[str, tf.Tensor]], temperature: float
    ) -> EmbeddingScores:
        """The scores of a two-tower student in its forward pass.

        Args:
            outputs: named outputs by side, see `RetrievalModel.call`.
            temperature: the student's softmax temperature.

        Returns:
            The scores, with gradients.
        """
        query = outputs["query"]["embedding"]
        candidate = outputs["candidate"]["embedding"]
        return cls(
            lambda at: tf.gather(query, at),
            lambda at: tf.gather(candidate, at),
            temperature,
        )

    def scores(self, selection: Selection) -> tf.Tensor:
        """Scores of the selected candidates.

        Args:
            selection: queries and candidates of the batch.

        Returns:
            `[queries, lists + shared]` float32 logits.
        """
        embed, embed_candidates = self.embed_queries, self.embed_candidates
        if selection.reverse:
            embed, embed_candidates = embed_candidates, embed
        queries = embed(selection.query)
        parts = []
        if selection.lists is not None:
            parts.append(
                self._list_scores(selection, queries, embed_candidates)
            )
        if selection.shared is not None:
            shared = embed_candidates(selection.shared)
            parts.append(
                tf.matmul(queries, shared, transpose_b=True) / self.temperature
            )
        return _concat(parts)

    def _list_scores(
        self,
        selection: Selection,
        queries: tf.Tensor,
        embed_candidates: Callable[[tf.Tensor], tf.Tensor],
    ) -> tf.Tensor:
        if self.reuses_list_scores and selection.list_scores is not None:
            return selection.list_scores
        listed = embed_candidates(selection.lists)
        return tf.einsum("qd,qld->ql", queries, listed) / self.temperature


@dataclasses.dataclass(frozen=True)
class PairScores(BatchScores):
    """Scores of a teacher of pairs, which has no embeddings.

    Args:
        score_pairs: from `[n]` query and `[n]` candidate positions to `[n]`
            scores.
    """

    score_pairs: Callable[[tf.Tensor, tf.Tensor], tf.Tensor]

    def scores(self, selection: Selection) -> tf.Tensor:
        """Scores of the selected candidates, see `EmbeddingScores`."""
        parts = []
        if selection.list_scores is not None:
            parts.append(selection.list_scores)
        elif selection.lists is not None:
            parts.append(self._grid(selection, selection.lists))
        if selection.shared is not None:
            rows = tf.broadcast_to(
                selection.shared[None, :],
                [tf.shape(selection.query)[0], tf.shape(selection.shared)[0]],
            )
            parts.append(self._grid(selection, rows))
        return _concat(parts)

    def _grid(self, selection: Selection, listed: tf.Tensor) -> tf.Tensor:
        pairs = [
            tf.repeat(selection.query, tf.shape(listed)[1]),
            tf.reshape(listed, [-1]),
        ]
        if selection.reverse:
            pairs.reverse()
        return tf.reshape(self.score_pairs(*pairs), tf.shape(listed))
