"""Base of the samplers of the teacher's lists."""

from __future__ import annotations

import tensorflow as tf

from kd_tfrs.data.retrieval.batches import Batch
from kd_tfrs.distillation.retrieval.batch_scores import Selection
from kd_tfrs.distillation.retrieval.candidates.base import (
    CandidateSampler,
    draw_rows,
    first_occurrences,
)
from kd_tfrs.distillation.retrieval.teachers import Teacher
from kd_tfrs.errors import UserError


class TeacherLists(CandidateSampler):
    """Base of the samplers of the teacher's best candidates for some users.

    Every step draws users uniformly, apart from the batch's events, takes
    the teacher's `k` best for each and `choose`s from them. The queries share
    random candidates beside the lists. A random candidate is masked for a
    query that has it among its `k` best, chosen or not, or that has seen it.

    Args:
        name: see `CandidateSampler`.
        k: how many of the teacher's best, at least 1.
        num_random: candidates drawn uniformly and shared by the queries.
        num_queries: users drawn a step.
        seen: `[num_queries of the teacher, (events)]` ragged int32 rows that
            do not count as random candidates of a query, or `None`. The
            teacher's lists leave out what the teacher leaves out.

    Raises:
        UserError: a number is out of range.
    """

    def __init__(
        self,
        name: str,
        k: int,
        num_random: int,
        num_queries: int,
        seen: tf.RaggedTensor | None = None,
    ) -> None:
        if k < 1 or num_random < 0 or num_queries < 1:
            raise UserError(
                "`k` and `num_queries` should be positive and `num_random` "
                f"not negative. Received: {k}, {num_queries} and {num_random}."
            )
        super().__init__(name if seen is None else f"{name}_unseen")
        self.k = k
        self.num_random = num_random
        self.num_queries = num_queries
        self.seen = seen

    def check(self, teacher: Teacher) -> None:
        """See `CandidateSampler.check`."""
        teacher.check_k(self.k)

    def choose(
        self, rows: tf.Tensor, scores: tf.Tensor, seed: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Chooses from the teacher's best; the default takes all.

        Args:
            rows: `[queries, k]` int32 in the teacher's order.
            scores: `[queries, k]`; -inf where a list is too short.
            seed: `[2]` int32, of the training step.

        Returns:
            `[queries, n]` rows and scores in the same order.
        """
        del seed
        return rows, scores

    def join(self, rows: Batch, seed: tf.Tensor, teacher: Teacher) -> Batch:
        """See `CandidateSampler.join`."""
        queries = draw_rows(
            self.num_queries, seed + 2, teacher.first_query, teacher.num_queries
        )
        random = draw_rows(
            self.num_random,
            seed + 3,
            teacher.first_candidate,
            teacher.num_candidates,
        )
        best, best_scores = teacher.top_k(queries, self.k)
        lists, list_scores = self.choose(best, best_scores, seed + 4)
        # A candidate on many lists is embedded once.
        unique, places = tf.unique(
            tf.concat([tf.reshape(lists, [-1]), random], 0)
        )
        width = lists.shape[1]
        places += tf.shape(rows["candidate_row"])[0]
        # A teacher with too few items pads its list with -inf.
        mask = tf.math.is_finite(list_scores)
        if self.num_random:
            excluded = best
            if self.seen is not None:
                seen = tf.gather(self.seen, queries).to_tensor(-1)
                excluded = tf.concat([best, seen], axis=1)
            unlisted_mask = tf.ensure_shape(
                _unlisted(random, excluded), [self.num_queries, self.num_random]
            )
            mask = tf.concat([mask, unlisted_mask], axis=1)
        return {
            **rows,
            "query_row": tf.concat([rows["query_row"], queries], 0),
            "candidate_row": tf.concat([rows["candidate_row"], unique], 0),
            self.name: {
                "query": tf.shape(rows["query_row"])[0]
                + tf.range(self.num_queries),
                "lists": tf.reshape(
                    places[: self.num_queries * width],
                    [self.num_queries, width],
                ),
                "list_scores": list_scores,
                "shared": tf.reshape(
                    places[self.num_queries * width :], [self.num_random]
                ),
                "mask": mask,
            },
        }

    def select(self, batch: Batch) -> Selection:
        """See `CandidateSampler.select`."""
        joined = self.joined(batch)
        return Selection(
            query=joined["query"],
            mask=joined["mask"],
            weight=tf.ones_like(joined["query"], tf.float32),
            shared=joined["shared"] if self.num_random else None,
            lists=joined["lists"],
            list_scores=joined["list_scores"],
        )


def _unlisted(random: tf.Tensor, lists: tf.Tensor) -> tf.Tensor:
    """Marks random rows that a list lacks, and of equal rows the first.

    Args:
        random: `[n]` int32, n positive.
        lists: `[queries, k]` int32.

    Returns:
        `[queries, n]` bool.
    """
    num_queries, k = tf.unstack(tf.shape(lists))
    # Stable, so that of equal rows the search finds the first one.
    order = tf.argsort(random, stable=True)
    ordered = tf.gather(random, order)
    flat = tf.reshape(lists, [-1])
    at = tf.searchsorted(ordered, flat)
    at = tf.minimum(at, tf.size(random) - 1)
    hits = tf.cast(tf.where(tf.gather(ordered, at) == flat)[:, 0], tf.int32)
    listed = tf.scatter_nd(
        tf.stack([hits // k, tf.gather(order, tf.gather(at, hits))], axis=1),
        tf.ones_like(hits),
        [num_queries, random.shape[0]],
    )
    return first_occurrences(random) & (listed == 0)
