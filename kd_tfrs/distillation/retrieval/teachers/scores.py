"""A teacher that consists of a matrix of scores."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from kd_tfrs.data.retrieval.batches import Batch
from kd_tfrs.distillation.retrieval.batch_scores import PairScores
from kd_tfrs.distillation.retrieval.teachers import Teacher, transpose_seen
from kd_tfrs.distillation.retrieval.teachers.base import positive_temperature
from kd_tfrs.distillation.retrieval.teachers.tables import float_table
from kd_tfrs.errors import UserError


class ScoreTeacher(Teacher):
    """A teacher with a matrix of the scores of all queries and candidates.

    For linear models, neighbourhood models, or the scores of another program.
    It needs neither embeddings nor a model. The matrix of 5,000 users and
    25,000 items takes 250 MB in float16. A memory-mapped matrix stays on disk
    and is read from Python at every step, for scores that do not fit in
    memory.

    Args:
        scores: `[num_users + 1, num_items]` float16 or float32 by rows of the
            `Catalogue`, finite; `np.load(path, mmap_mode="r")` reads a file.
        temperature: scores are divided by it, positive. Losses on
            probabilities take the result as logits: choose it so that the
            softmax tells the best from the rest.
        seen: see `Teacher`.

    Raises:
        UserError: `scores` is no matrix of floats, or not finite (of a
            file, its first rows), or `temperature` is not positive.

    Example:
    ```python
    teacher = ScoreTeacher(Ease(events, 50.0).all_scores("float16"), 0.05)
    ```
    """

    def __init__(
        self,
        scores: np.ndarray,
        temperature: float = 1.0,
        seen: tf.RaggedTensor | None = None,
    ) -> None:
        if len(scores.shape) != 2 or scores.dtype not in (
            np.float16,
            np.float32,
        ):
            raise UserError(
                "`scores` should be a float16 or float32 matrix of all "
                f"queries and candidates. Received: {scores.dtype} of shape "
                f"{tuple(scores.shape)}. Convert it by "
                "`scores.astype('float32')`."
            )
        float_table("scores", scores)
        super().__init__(*map(int, scores.shape), seen)
        self.temperature = positive_temperature(temperature)
        on_disk = isinstance(scores, np.memmap)
        self._scores = scores if on_disk else tf.constant(scores)

    def batch_scores(self, batch: Batch) -> PairScores:
        """See `Teacher.batch_scores`."""
        return PairScores(
            lambda query, candidate: self._read(
                tf.gather(batch["query_row"], query),
                tf.gather(batch["candidate_row"], candidate),
            )
        )

    def all_scores(self, query_rows: tf.Tensor) -> tf.Tensor:
        """See `Teacher.all_scores`."""
        return self._read(query_rows)

    def reversed(self) -> ScoreTeacher:
        """See `Teacher.reversed`; in memory the matrix is held once more."""
        scores = self._scores
        reversed_teacher = ScoreTeacher(
            scores.T if isinstance(scores, np.memmap) else tf.transpose(scores),
            self.temperature,
            transpose_seen(self.seen, self.num_candidates),
        )
        return self._turn(reversed_teacher)

    def _read(self, *places: tf.Tensor) -> tf.Tensor:
        """Rows, or single scores of rows and columns, as float32."""
        scores = self._scores
        if isinstance(scores, np.memmap):
            dtype = tf.as_dtype(scores.dtype)
            values = tf.numpy_function(
                lambda *at: scores[at], places, dtype, stateful=False
            )
            width = [self.num_candidates] if len(places) == 1 else []
            values.set_shape([places[0].shape[0], *width])
        elif len(places) == 1:
            values = tf.gather(scores, places[0])
        else:
            values = tf.gather_nd(scores, tf.stack(places, axis=1))
        return tf.cast(values, tf.float32) / self.temperature
