"""Scores of the candidates of a whole catalogue, for any `tfrs.Model`."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from kd_tfrs.distillation.losses import (
    DistillationLoss,
    FeatureLoss,
    LossInputs,
)
from kd_tfrs.distillation.tfrs_models.outputs import (
    RETRIEVAL,
    RetrievalOutputs,
    dot_products,
)
from kd_tfrs.distillation.tfrs_models.selectors import Outputs, TaskSelector
from kd_tfrs.distillation.trial import trial_call
from kd_tfrs.errors import UserError

_BLOCK = 4096


class CatalogueScores(TaskSelector):
    """The scores of all candidates, or of the teacher's best, of each query.

    The candidates of the batch need no catalogue, see `TaskScores`. This one
    takes a catalogue as `tfrs.metrics.FactorizedTopK` does, and the towers
    that embed it. The teacher embeds it once, the student at every step: all
    of it, or what stands in the lists of the batch.

    Args:
        candidates: features of the candidates, as the towers take them: a
            `tf.data.Dataset` of batches, an array, or a dict of arrays.
        student: the student's candidate model, from features to
            `[n, dim]`.
        teacher: the teacher's candidate model, or its `[candidates, dim]`
            embeddings as an array or a dataset of batches, also of
            `(ids, embeddings)`. `None` for a teacher with a table of scores,
            for which `candidates` are ids.
        k: compares the teacher's best `k` of each query, in its order, as
            losses over lists need; all candidates when `None`.
        task: see `TaskSelector`.
        teacher_task: see `TaskSelector`.

    Raises:
        UserError: the candidates are none, `k` exceeds their number, or the
            teacher's embeddings are no finite matrix of so many rows.

    Example:
    ```python
    films = ratings.map(lambda x: x["movie_title"]).batch(1024)
    best = CatalogueScores(
        films, student.movie_model, teacher.movie_model, k=100
    )
    kd.Distiller(teacher, student, DistillationTerm(SoftTargets(2.0), best))
    ```
    """

    def __init__(
        self,
        candidates: Any,
        student: Callable,
        teacher: Callable | Any = None,
        k: int | None = None,
        task: str | None = None,
        teacher_task: str | None = None,
    ) -> None:
        super().__init__(task, teacher_task)
        self.name = f"catalogue_{k or 'all'}"
        self._features = read_candidates("candidates", candidates)
        self._count = len(tf.nest.flatten(self._features)[0])
        if not callable(student):
            raise UserError(
                "`student` should be the student's candidate model. Received: "
                f"{type(student).__name__}. Give for example "
                "student.movie_model."
            )
        if k is not None and not 1 <= k <= self._count:
            raise UserError(
                "`k` should be at least 1 and at most the number of "
                f"candidates. Received: `k` = {k} of {self._count}. Lower `k`."
            )
        self._student = student
        self._k = k
        self._embedded = self._embed(teacher)

    def select(self, teacher: Outputs, student: Outputs) -> LossInputs:
        """See `TaskSelector.select`."""
        mine, its = student[self.task], teacher[self.teacher_task]
        scores, known = self._teacher_scores(its)
        if self._k is None:
            own = dot_products(mine.query, self._tower(self._features))
            rows = tf.range(self._count)
        else:
            scores, rows = tf.math.top_k(
                tf.where(known, scores, tf.float32.min), self._k
            )
            known = tf.gather(known, rows, batch_dims=1)
            own = self._listed(mine.query, rows)
        return LossInputs(
            scores,
            own / mine.temperature,
            known,
            listed=self._k or 0,
            rows=rows,
            weight=mine.weight,
        )

    def _teacher_scores(
        self, its: RetrievalOutputs
    ) -> tuple[tf.Tensor, tf.Tensor]:
        if self._embedded is not None:
            if its.query is None:
                raise UserError(
                    "`teacher` should be left out for a teacher without "
                    "embeddings. Received: candidate embeddings. Give the ids "
                    "of its table as `candidates`."
                )
            scores = dot_products(its.query, self._embedded) / its.temperature
            return scores, tf.ones_like(scores, tf.bool)
        if its.score_ids is None:
            raise UserError(
                "`teacher` should be the teacher's candidate model or its "
                "candidates' embeddings. Received: None. Give for example "
                "teacher.movie_model."
            )
        return its.score_ids(self._features)

    def _listed(self, query: tf.Tensor, rows: tf.Tensor) -> tf.Tensor:
        """`[batch, k]` scores of the student for lists of candidates."""
        # A candidate on many lists is embedded once.
        unique, places = tf.unique(tf.reshape(rows, [-1]))
        embedded = self._tower(
            tf.nest.map_structure(
                lambda x: tf.gather(x, unique), self._features
            )
        )
        scores = dot_products(query, embedded)
        return tf.gather(
            scores, tf.reshape(places, tf.shape(rows)), batch_dims=1
        )

    def _tower(self, features: Any) -> tf.Tensor:
        return tf.cast(self._student(features), tf.float32)

    def _embed(self, teacher: Any) -> tf.Tensor | None:
        """The teacher's embeddings, a constant: a teacher does not change."""
        if teacher is None:
            return None
        if callable(teacher):
            with trial_call("teacher", "the candidates"):
                blocks = [
                    teacher(
                        tf.nest.map_structure(
                            lambda x, at=at: x[at : at + _BLOCK],
                            self._features,
                        )
                    )
                    for at in range(0, self._count, _BLOCK)
                ]
            values = np.concatenate([np.asarray(x) for x in blocks])
        else:
            values = np.asarray(read_candidates("teacher", teacher, last=True))
        if values.ndim != 2 or len(values) != self._count:
            raise UserError(
                "`teacher` should give an embedding for each of "
                f"{self._count} candidates. Received: shape {values.shape}. "
                "Give both in one order."
            )
        if not np.isfinite(values).all():
            raise UserError(
                "`teacher` should give finite embeddings. Received: NaN or "
                "infinity. Load the weights of a trained teacher."
            )
        return tf.constant(values, tf.float32)

    def _kinds(self, loss: DistillationLoss | FeatureLoss) -> tuple[str, ...]:
        return (RETRIEVAL,)

    def _named(self, task: str, teacher_task: str) -> CatalogueScores:
        named = copy.copy(self)
        named.task, named.teacher_task = task, teacher_task
        return named


def read_candidates(name: str, given: Any, last: bool = False) -> Any:
    """The rows of a catalogue.

    Args:
        name: of the argument, for the error.
        given: a `tf.data.Dataset` of batches or of scalars, an array, or a
            dict of arrays.
        last: whether the last part of a tuple is meant, as of
            `(ids, embeddings)`.

    Returns:
        A tensor, or a dict of tensors, of equally many rows.

    Raises:
        UserError: there are none, or not equally many.
    """
    if isinstance(given, tf.data.Dataset):
        parts = [x[-1] if last and isinstance(x, tuple) else x for x in given]
        if not parts:
            raise UserError(
                f"`{name}` should have rows. Received: an empty dataset."
            )
        join = tf.concat if len(tf.nest.flatten(parts)[0].shape) else tf.stack
        given = tf.nest.map_structure(lambda *x: join(x, axis=0), *parts)
    elif isinstance(given, Mapping):
        given = {key: tf.convert_to_tensor(x) for key, x in given.items()}
    else:
        given = tf.convert_to_tensor(given)
    counts = {x.shape[0] if x.shape.rank else 0 for x in tf.nest.flatten(given)}
    if len(counts) != 1 or 0 in counts:
        raise UserError(
            f"`{name}` should be a dataset or arrays of equally many rows. "
            f"Received: {sorted(counts)} rows."
        )
    return given
