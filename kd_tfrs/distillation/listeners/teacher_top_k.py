"""The best candidates of the teacher."""

from __future__ import annotations

import tensorflow as tf

from kd_tfrs.data.pipelines import Batch
from kd_tfrs.distillation.knowledge import Selection
from kd_tfrs.distillation.listeners.base import Listener, first_occurrences
from kd_tfrs.distillation.teachers import Teacher
from kd_tfrs.errors import UserError


class TeacherTopK(Listener):
    """The teacher's best candidates for some users, and random ones beside.

    Every step draws `num_queries` users uniformly, apart from the batch's
    events, so that a user counts the same however many events he has.

    Args:
        k: how many of the teacher's best, at least 1.
        num_random: candidates drawn uniformly and shared by the queries;
            those that are in a query's list already do not count twice.
        num_queries: users drawn a step.

    Raises:
        UserError: a number is out of range.

    Example:
    ```python
    Term(SoftTargets(), TeacherTopK(k=200, num_random=512))
    ```
    """

    def __init__(
        self, k: int = 100, num_random: int = 0, num_queries: int = 256
    ) -> None:
        if k < 1 or num_random < 0 or num_queries < 1:
            raise UserError(
                "`k` and `num_queries` should be positive and `num_random` "
                f"not negative. Received: {k}, {num_queries} and {num_random}."
            )
        super().__init__(f"top_{k}_{num_random}_{num_queries}")
        self.k = k
        self.num_random = num_random
        self.num_queries = num_queries

    def join(self, rows: Batch, seed: tf.Tensor, teacher: Teacher) -> Batch:
        """See `Listener.join`."""
        queries = tf.random.stateless_uniform(
            [self.num_queries],
            seed=seed + 2,
            minval=1,
            maxval=teacher.num_queries,
            dtype=tf.int32,
        )
        lists, list_scores = teacher.top_k(queries, self.k)
        random = tf.random.stateless_uniform(
            [self.num_random],
            seed=seed + 3,
            maxval=teacher.num_candidates,
            dtype=tf.int32,
        )
        unique, places = tf.unique(
            tf.concat([tf.reshape(lists, [-1]), random], 0)
        )
        lists_at = tf.reshape(places[: tf.size(lists)], tf.shape(lists))
        random_at = places[tf.size(lists) :]
        start = tf.shape(rows["candidate_row"])[0]
        return {
            **rows,
            "query_row": tf.concat([rows["query_row"], queries], 0),
            "candidate_row": tf.concat([rows["candidate_row"], unique], 0),
            self.name: {
                "query": tf.shape(rows["query_row"])[0]
                + tf.range(self.num_queries),
                "lists": start + lists_at,
                "list_scores": list_scores,
                "shared": start + random_at,
                "mask": _list_mask(
                    lists_at, list_scores, random_at, tf.size(unique)
                ),
            },
        }

    def select(self, batch: Batch) -> Selection:
        """See `Listener.select`."""
        joined = self.joined(batch)
        return Selection(
            query=joined["query"],
            mask=joined["mask"],
            weight=tf.ones_like(joined["query"], tf.float32),
            shared=joined["shared"] if self.num_random else None,
            lists=joined["lists"],
            list_scores=joined["list_scores"],
        )


def _list_mask(
    lists_at: tf.Tensor,
    list_scores: tf.Tensor,
    random_at: tf.Tensor,
    num_unique: tf.Tensor,
) -> tf.Tensor:
    """False for list places without an item and for random repeats."""
    # A teacher with too few items left fills its list with scores of -inf.
    listed = tf.math.is_finite(list_scores)
    num_queries, k = tf.unstack(tf.shape(lists_at))
    owner = tf.repeat(tf.range(num_queries), k)
    occupied = tf.scatter_nd(
        tf.stack([owner, tf.reshape(lists_at, [-1])], axis=1),
        tf.ones([num_queries * k], tf.int8),
        tf.stack([num_queries, num_unique]),
    )
    repeats = tf.gather(occupied, random_at, axis=1) > 0
    fresh = first_occurrences(random_at) & ~repeats
    return tf.concat([listed, fresh], axis=1)
