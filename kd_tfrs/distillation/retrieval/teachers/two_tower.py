"""A live teacher: two models that give embeddings."""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf

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
from kd_tfrs.distillation.retrieval.teachers.inputs import (
    Inputs,
    as_tensors,
    count_rows,
    run_rows,
    trial_rows,
)
from kd_tfrs.distillation.retrieval.teachers.tables import (
    check_widths,
    float_table,
)
from kd_tfrs.distillation.trial import trial_call

_BLOCK = 4096


class TwoTowerTeacher(Teacher):
    """A live teacher: any two models that give embeddings.

    The towers run at every step, on the rows that the losses compare. Where
    they are slow, build a cache of the same teacher once (`build_cache`).

    Args:
        query_model: a Keras model, a loaded SavedModel or a function, from
            query inputs to `[batch, dim]`, or to a dict with an `embedding`.
        candidate_model: likewise for candidates.
        query_inputs: the query model's inputs by user row: arrays
            `[num_users + 1, ...]` by input name, or one array.
        candidate_inputs: likewise by item row, `[num_items, ...]`.
        temperature: scores are dot products divided by it, positive. Take
            the teacher's own softmax temperature, so that its scores are the
            logits it was trained with.
        seen: see `Teacher`.

    Raises:
        UserError: a tower does not take the first two rows of its inputs, or
            both do not give finite embeddings of one width.

    Example:
    ```python
    teacher = TwoTowerTeacher(
        model.query_tower, model.candidate_tower, user_tables, item_tables,
        temperature=model.temperature,
    )
    ```
    """

    def __init__(
        self,
        query_model: Callable,
        candidate_model: Callable,
        query_inputs: Inputs,
        candidate_inputs: Inputs,
        temperature: float = 1.0,
        seen: tf.RaggedTensor | None = None,
    ) -> None:
        super().__init__(
            count_rows(query_inputs), count_rows(candidate_inputs), seen
        )
        self.temperature = positive_temperature(temperature)
        self._models = dict(
            zip(SIDES, (query_model, candidate_model), strict=True)
        )
        self._inputs = dict(
            zip(
                SIDES,
                (as_tensors(query_inputs), as_tensors(candidate_inputs)),
                strict=True,
            )
        )
        self._all_candidates: tf.Tensor | None = None
        self._check()

    def embed_queries(self, rows: tf.Tensor) -> tf.Tensor:
        """Embeddings of user rows, `[batch, dim]`, without gradient."""
        return self.features("query", rows)

    def embed_candidates(self, rows: tf.Tensor) -> tf.Tensor:
        """Embeddings of item rows, `[batch, dim]`, without gradient."""
        return self.features("candidate", rows)

    def features(
        self, side: Side, rows: tf.Tensor, output: str = "embedding"
    ) -> tf.Tensor:
        """See `Teacher.features`."""
        check_side(side)
        outputs = run_rows(self._models[side], self._inputs[side], rows)
        check_output(side, output, outputs)
        return tf.stop_gradient(tf.cast(outputs[output], tf.float32))

    def width(self, side: Side, output: str = "embedding") -> int:
        """See `Teacher.width`."""
        with tf.init_scope():
            return int(self.features(side, tf.constant([0]), output).shape[-1])

    def reversed(self) -> TwoTowerTeacher:
        """See `Teacher.reversed`."""
        return self._turn(
            TwoTowerTeacher(
                self._models["candidate"],
                self._models["query"],
                self._inputs["candidate"],
                self._inputs["query"],
                self.temperature,
                transpose_seen(self.seen, self.num_candidates),
            )
        )

    def batch_scores(self, batch: Batch) -> EmbeddingScores:
        """See `Teacher.batch_scores`."""
        return EmbeddingScores(
            lambda at: self.embed_queries(tf.gather(batch["query_row"], at)),
            lambda at: self._embed_listed(
                tf.gather(batch["candidate_row"], at)
            ),
            self.temperature,
            reuses_list_scores=True,
        )

    def all_scores(self, query_rows: tf.Tensor) -> tf.Tensor:
        """See `Teacher.all_scores`."""
        if self._all_candidates is None:
            # Once, outside of any graph: a teacher does not change.
            with tf.init_scope():
                self._all_candidates = tf.concat(
                    [
                        self.embed_candidates(rows)
                        for rows in _blocks(self.num_candidates)
                    ],
                    axis=0,
                )
        queries = self.embed_queries(query_rows)
        scores = tf.matmul(queries, self._all_candidates, transpose_b=True)
        return scores / self.temperature

    def _check(self) -> None:
        """Embeds two rows of each side."""
        widths = []
        with tf.init_scope():
            for side in SIDES:
                rows = trial_rows(count_rows(self._inputs[side]))
                with trial_call(f"teacher's {side} model", "its inputs"):
                    embedded = self.features(side, rows)
                name = f"{side}_model(...)"
                widths.append(float_table(name, embedded).shape[1])
        check_widths(*widths)

    def _embed_listed(self, rows: tf.Tensor) -> tf.Tensor:
        flat = self.embed_candidates(tf.reshape(rows, [-1]))
        shape = tf.concat([tf.shape(rows), tf.shape(flat)[-1:]], axis=0)
        return tf.reshape(flat, shape)


def _blocks(count: int) -> list[tf.Tensor]:
    return [
        tf.range(start, min(start + _BLOCK, count))
        for start in range(0, count, _BLOCK)
    ]
