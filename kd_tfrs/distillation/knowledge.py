"""What a teacher, or a student, says about the candidates of a batch."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import NamedTuple

import tensorflow as tf


class Selection(NamedTuple):
    """Which queries and candidates of a batch a loss listens to.

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
        list_scores: `[queries, lists]`, the teacher's scores over `lists`
            where they are known already.
    """

    query: tf.Tensor
    mask: tf.Tensor
    weight: tf.Tensor
    shared: tf.Tensor | None = None
    lists: tf.Tensor | None = None
    list_scores: tf.Tensor | None = None


def _concat(parts: list[tf.Tensor]) -> tf.Tensor:
    return tf.concat(parts, axis=1) if len(parts) > 1 else parts[0]


@dataclasses.dataclass(frozen=True)
class EmbeddingKnowledge:
    r"""Scores that are dot products: $\langle q, c \rangle / \tau$.

    Args:
        embed_queries: from `[n]` positions to `[n, dim]`.
        embed_candidates: likewise; called only for what is listened to.
        temperature: the model's own softmax temperature $\tau$.
        trusts_lists: take `Selection.list_scores` as they are. For teachers;
            a student has to compute its own.
    """

    embed_queries: Callable[[tf.Tensor], tf.Tensor]
    embed_candidates: Callable[[tf.Tensor], tf.Tensor]
    temperature: float
    trusts_lists: bool = False

    @classmethod
    def of_student(
        cls, outputs: Mapping[str, Mapping[str, tf.Tensor]], temperature: float
    ) -> EmbeddingKnowledge:
        """What a two-tower student said in its one forward pass.

        Args:
            outputs: named outputs by side, see `RetrievalModel.call`.
            temperature: the student's softmax temperature.

        Returns:
            Its knowledge, with gradients.
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
            selection: what is listened to.

        Returns:
            `[queries, lists + shared]` float32 logits.
        """
        queries = self.embed_queries(selection.query)
        parts = []
        if selection.lists is not None:
            parts.append(self._list_scores(selection, queries))
        if selection.shared is not None:
            shared = self.embed_candidates(selection.shared)
            parts.append(
                tf.matmul(queries, shared, transpose_b=True) / self.temperature
            )
        return _concat(parts)

    def _list_scores(
        self, selection: Selection, queries: tf.Tensor
    ) -> tf.Tensor:
        if self.trusts_lists and selection.list_scores is not None:
            return selection.list_scores
        listed = self.embed_candidates(selection.lists)
        return tf.einsum("qd,qld->ql", queries, listed) / self.temperature


@dataclasses.dataclass(frozen=True)
class PairKnowledge:
    """Scores of a teacher that knows pairs only and has no embeddings.

    Args:
        score_pairs: from `[n]` query and `[n]` candidate positions to `[n]`
            scores.
    """

    score_pairs: Callable[[tf.Tensor, tf.Tensor], tf.Tensor]

    def scores(self, selection: Selection) -> tf.Tensor:
        """Scores of the selected candidates, see `EmbeddingKnowledge`."""
        parts = []
        if selection.list_scores is not None:
            parts.append(selection.list_scores)
        elif selection.lists is not None:
            parts.append(self._grid(selection.query, selection.lists))
        if selection.shared is not None:
            rows = tf.broadcast_to(
                selection.shared[None, :],
                [tf.shape(selection.query)[0], tf.shape(selection.shared)[0]],
            )
            parts.append(self._grid(selection.query, rows))
        return _concat(parts)

    def _grid(self, query: tf.Tensor, candidates: tf.Tensor) -> tf.Tensor:
        width = tf.shape(candidates)[1]
        scores = self.score_pairs(
            tf.repeat(query, width), tf.reshape(candidates, [-1])
        )
        return tf.reshape(scores, tf.shape(candidates))
