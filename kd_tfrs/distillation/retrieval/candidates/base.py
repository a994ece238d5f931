"""Base of the candidate samplers."""

from __future__ import annotations

import abc
from collections.abc import Mapping

import tensorflow as tf

from kd_tfrs.data.retrieval.batches import Batch
from kd_tfrs.distillation.losses import LossInputs
from kd_tfrs.distillation.retrieval.batch_scores import Selection
from kd_tfrs.distillation.retrieval.teachers import Teacher
from kd_tfrs.errors import UserError


class CandidateSampler(abc.ABC):
    """Chooses the queries and candidates of a batch that a loss compares.

    `join` runs in the `tf.data` pipeline and may append queries and
    candidates to the batch; `select` runs in the training step and gives
    their positions. Two losses with equal samplers share the joined rows.

    Args:
        name: key of the joined entry; unique in a batch.

    Attributes:
        of_features: whether the sampler is for losses between features,
            rather than between scores.
        student_output: the output of the student's towers that is compared.
    """

    of_features = False
    student_output = "embedding"

    def __init__(self, name: str) -> None:
        self.name = name

    def join(self, rows: Batch, seed: tf.Tensor, teacher: Teacher) -> Batch:
        """Adds rows to a row batch; the default adds none.

        Args:
            rows: see `RetrievalBatches`.
            seed: `[2]` int32, of the training step.
            teacher: the teacher with the lists.

        Returns:
            The batch, or a larger batch with an entry under `name`.
        """
        del seed, teacher
        return rows

    def check(self, teacher: Teacher) -> None:
        """Checks that a teacher has what `join` takes; the default nothing.

        Args:
            teacher: the teacher with the lists.

        Raises:
            UserError: its lists are too short.
        """
        del teacher

    @abc.abstractmethod
    def select(self, batch: Batch) -> Selection:
        """Gives the positions of queries and candidates in a batch."""

    def joined(self, batch: Batch) -> dict[str, tf.Tensor]:
        """The entry that `join` has added to a batch.

        Args:
            batch: a batch of `RetrievalBatches`.

        Returns:
            The entry under `name`.

        Raises:
            UserError: the batches were made without `join`.
        """
        if self.name not in batch:
            names = ", ".join(sorted(batch))
            raise UserError(
                f"`{type(self).__name__}` needs candidates that the "
                f"batches lack. Received: a batch with {names}. Make "
                "them with `batches.dataset(..., join=distiller.join)`."
            )
        return batch[self.name]


class FeatureSampler(CandidateSampler):
    """Base of the samplers for losses between features.

    Attributes:
        sides: those whose outputs are compared, "query" or "candidate".
        of_lists: whether a row has a query and its candidates.
        teacher_output: the output of the teacher's towers that is compared.
    """

    of_features = True
    of_lists = False
    sides: tuple[str, ...] = ()
    teacher_output = "embedding"

    @abc.abstractmethod
    def features(
        self, batch: Batch, outputs: Mapping, teacher: Teacher
    ) -> LossInputs:
        """The features of both models for a batch.

        Args:
            batch: of `RetrievalBatches`.
            outputs: of the student for it, by side and name.
            teacher: the teacher of the term.

        Returns:
            The inputs of the loss, whose step the distiller sets.
        """


def draw_rows(count: int, seed: tf.Tensor, first: int, end: int) -> tf.Tensor:
    """Draws `[count]` int32 rows from `first` to `end - 1`, uniformly."""
    return tf.random.stateless_uniform(
        [count], seed=seed, minval=first, maxval=end, dtype=tf.int32
    )


def first_occurrences(rows: tf.Tensor) -> tf.Tensor:
    """Marks the first of equal rows.

    Args:
        rows: `[n]` int32.

    Returns:
        `[n]` bool, false where an equal row comes before.
    """
    unique, groups = tf.unique(rows)
    places = tf.range(tf.shape(rows)[0])
    first = tf.math.unsorted_segment_min(places, groups, tf.size(unique))
    return tf.gather(first, groups) == places
