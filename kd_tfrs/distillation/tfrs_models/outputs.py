"""The outputs of a model for a batch, by TFRS task."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import tensorflow as tf
import tensorflow_recommenders as tfrs

from kd_tfrs.distillation.metric_scores import lowest_where
from kd_tfrs.distillation.tfrs_models.task_calls import TaskCall
from kd_tfrs.errors import UserError

RETRIEVAL, RANKING = "retrieval", "ranking"
# What a model of ranking predicts.
PREDICTS = ("logits", "probabilities", "values")
_EPSILON = 1e-7


@dataclasses.dataclass(frozen=True)
class RetrievalOutputs:
    """Scores of the candidates of a batch.

    Args:
        scores: `[batch, candidates]`; the candidate of the same place is the
            positive of a query.
        query: `[batch, dim]` embeddings, or `None`.
        candidate: `[candidates, dim]` embeddings, or `None`.
        mask: `[batch, candidates]` bool, false where a candidate does not
            count, or `None`.
        ids: `[candidates]` ids of the candidates, or `None`.
        weight: `[batch]` sample weights, or `None`.
        is_sum: whether the loss of the task is a sum over the batch.
        known: `[batch, candidates]` bool, false where a teacher has no score,
            or `None`.
        temperature: dot products are divided by it.
        score_ids: of a teacher without embeddings, from ids of `[n]`
            candidates to their `[batch, n]` scores and which are known.
    """

    kind: ClassVar[str] = RETRIEVAL
    scores: tf.Tensor
    query: tf.Tensor | None = None
    candidate: tf.Tensor | None = None
    mask: tf.Tensor | None = None
    ids: tf.Tensor | None = None
    weight: tf.Tensor | None = None
    is_sum: bool = False
    known: tf.Tensor | None = None
    temperature: float = 1.0
    score_ids: Callable | None = None

    @classmethod
    def of_embeddings(
        cls,
        query: tf.Tensor,
        candidate: tf.Tensor,
        temperature: float = 1.0,
        **fields: Any,
    ) -> RetrievalOutputs:
        """Outputs of two towers, scored as `tfrs.tasks.Retrieval` does.

        Args:
            query: `[batch, dim]`, or `[batch, heads, dim]`, of which the best
                head counts.
            candidate: `[candidates, dim]`.
            temperature: dot products are divided by it.
            **fields: further fields of the class.

        Returns:
            The outputs.
        """
        query = tf.cast(query, tf.float32)
        candidate = tf.cast(candidate, tf.float32)
        scores = dot_products(query, candidate) / temperature
        return cls(scores, query, candidate, temperature=temperature, **fields)

    def metric_inputs(self) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor | None]:
        """One-hot labels, scores and weights, see `ModelDistiller`."""
        shape = tf.shape(self.scores)
        labels = tf.eye(shape[0], shape[1])
        scores = self.scores
        if self.mask is not None:
            counts = self.mask | (labels > 0)
            scores = lowest_where(tf.logical_not(counts), scores)
        return labels, scores, self.weight

    @property
    def num_rows(self) -> tf.Tensor:
        """Queries of the batch, as float32."""
        return tf.cast(tf.shape(self.scores)[0], tf.float32)


@dataclasses.dataclass(frozen=True)
class RankingOutputs:
    """Predictions for the rows of a batch.

    Args:
        logits: `[batch, 1]` logits of a binary label, or predicted values.
        is_binary: whether they are logits.
        labels: `[batch, 1]`, or `None`.
        weight: `[batch]` sample weights, or `None`.
        is_sum: whether the loss of the task is a sum over the batch.
        known: `[batch, 1]` bool, false where a teacher has no prediction, or
            `None`.
        predictions: `[batch, 1]` what the model predicts, such as
            probabilities; the logits when `None`.
    """

    kind: ClassVar[str] = RANKING
    logits: tf.Tensor
    is_binary: bool
    labels: tf.Tensor | None = None
    weight: tf.Tensor | None = None
    is_sum: bool = False
    known: tf.Tensor | None = None
    predictions: tf.Tensor | None = None

    @classmethod
    def of_predictions(
        cls, predictions: tf.Tensor, predicts: str, **fields: Any
    ) -> RankingOutputs:
        """Outputs of a model that predicts a value for each row.

        Args:
            predictions: `[batch]` or `[batch, 1]`.
            predicts: one of `PREDICTS`.
            **fields: further fields of the class.

        Returns:
            The outputs.
        """
        logits, is_binary = as_logits(predictions, predicts)
        column = tf.reshape(tf.cast(predictions, tf.float32), [-1, 1])
        return cls(logits, is_binary, predictions=column, **fields)

    def metric_inputs(self) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor | None]:
        """Labels, predictions and weights, see `ModelDistiller`."""
        predicted = self.predictions
        if predicted is None:
            predicted = self.logits
        return self.labels, predicted, self.weight

    @property
    def num_rows(self) -> tf.Tensor:
        """Rows of the batch, as float32."""
        return tf.cast(tf.shape(self.logits)[0], tf.float32)


def dot_products(query: tf.Tensor, candidate: tf.Tensor) -> tf.Tensor:
    """Scores as `tfrs.tasks.Retrieval` computes them.

    Args:
        query: `[batch, dim]`, or `[batch, heads, dim]`, of which the best
            head counts.
        candidate: `[candidates, dim]`.

    Returns:
        `[batch, candidates]`.
    """
    if query.shape.rank == 3:
        heads = tf.einsum("qne,ce->qnc", query, candidate)
        return tf.reduce_max(heads, axis=1)
    return tf.matmul(query, candidate, transpose_b=True)


TaskOutputs = RetrievalOutputs | RankingOutputs


def task_kind(name: str, task: tf.keras.layers.Layer) -> str:
    """Whether a task is one of retrieval or of ranking.

    Args:
        name: of the task, for the error.
        task: a TFRS task.

    Returns:
        "retrieval" or "ranking".

    Raises:
        UserError: it is neither.
    """
    if isinstance(task, tfrs.tasks.Retrieval):
        return RETRIEVAL
    if isinstance(task, tfrs.tasks.Ranking):
        return RANKING
    raise UserError(
        f"The task `{name}` should be a tfrs.tasks.Retrieval or a "
        f"tfrs.tasks.Ranking. Received: {type(task).__name__}."
    )


def outputs_of_calls(calls: Mapping[str, TaskCall]) -> dict[str, TaskOutputs]:
    """The outputs that a model passed to its tasks.

    Args:
        calls: see `record_tasks`.

    Returns:
        Outputs by the name of the task.
    """
    return {name: _outputs(name, call) for name, call in calls.items()}


def _outputs(name: str, call: TaskCall) -> TaskOutputs:
    given = call.arguments
    is_sum = _is_sum(call.task._loss)
    weight = given["sample_weight"]
    if weight is not None:
        weight = tf.reshape(tf.cast(weight, tf.float32), [-1])
    if task_kind(name, call.task) == RETRIEVAL:
        ids = given["candidate_ids"]
        return RetrievalOutputs.of_embeddings(
            given["query_embeddings"],
            given["candidate_embeddings"],
            call.task._temperature or 1.0,
            mask=given["score_mask"],
            ids=None if ids is None else tf.reshape(ids, [-1]),
            weight=weight,
            is_sum=is_sum,
        )
    return RankingOutputs.of_predictions(
        given["predictions"],
        predicted_by(call.task._loss),
        labels=tf.reshape(tf.cast(given["labels"], tf.float32), [-1, 1]),
        weight=weight,
        is_sum=is_sum,
    )


def predicted_by(loss: object) -> str:
    """What a loss makes a model predict.

    Args:
        loss: of a ranking task.

    Returns:
        "logits" or "probabilities" of a binary label, else "values".
    """
    if loss is tf.keras.losses.binary_crossentropy:
        return "probabilities"
    if not isinstance(loss, tf.keras.losses.BinaryCrossentropy):
        return "values"
    from_logits = loss.get_config().get("from_logits")
    return "logits" if from_logits else "probabilities"


def as_logits(predictions: tf.Tensor, predicts: str) -> tuple[tf.Tensor, bool]:
    """Predictions as logits, or as the values that they are.

    Args:
        predictions: `[batch]` or `[batch, 1]`.
        predicts: one of `PREDICTS`.

    Returns:
        `[batch, 1]` float32, and whether these are logits.
    """
    values = tf.reshape(tf.cast(predictions, tf.float32), [-1, 1])
    if predicts == "probabilities":
        values = tf.clip_by_value(values, _EPSILON, 1.0 - _EPSILON)
        values = tf.math.log(values) - tf.math.log1p(-values)
    return values, predicts != "values"


def _is_sum(loss: object) -> bool:
    sums = tf.keras.losses.Reduction.SUM
    return getattr(loss, "reduction", None) == sums
