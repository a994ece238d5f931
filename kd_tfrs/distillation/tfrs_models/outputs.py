"""The outputs of a model for a batch, by TFRS task."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import ClassVar

import tensorflow as tf
import tensorflow_recommenders as tfrs

from kd_tfrs.distillation.tfrs_models.task_calls import TaskCall
from kd_tfrs.errors import UserError

RETRIEVAL, RANKING = "retrieval", "ranking"
_EPSILON = 1e-7


@dataclasses.dataclass(frozen=True)
class RetrievalOutputs:
    """Embeddings of the queries and candidates of a batch.

    Args:
        query: `[batch, dim]` or `[batch, heads, dim]`.
        candidate: `[candidates, dim]`; the first `batch` are the positives.
        temperature: scores are dot products divided by it.
        mask: `[batch, candidates]` bool, false where a candidate does not
            count, or `None`.
        ids: `[candidates]` ids of the candidates, or `None`.
        weight: `[batch]` sample weights, or `None`.
        is_sum: whether the loss of the task is a sum over the batch.
    """

    kind: ClassVar[str] = RETRIEVAL
    query: tf.Tensor
    candidate: tf.Tensor
    temperature: float = 1.0
    mask: tf.Tensor | None = None
    ids: tf.Tensor | None = None
    weight: tf.Tensor | None = None
    is_sum: bool = False

    @property
    def scores(self) -> tf.Tensor:
        """`[batch, candidates]` scores; the best head of several."""
        if self.query.shape.rank == 3:
            heads = tf.einsum("qne,ce->qnc", self.query, self.candidate)
            return tf.reduce_max(heads, axis=1) / self.temperature
        scores = tf.matmul(self.query, self.candidate, transpose_b=True)
        return scores / self.temperature

    @property
    def num_rows(self) -> tf.Tensor:
        """Queries of the batch, as float32."""
        return tf.cast(tf.shape(self.query)[0], tf.float32)


@dataclasses.dataclass(frozen=True)
class RankingOutputs:
    """Predictions for the rows of a batch.

    Args:
        logits: `[batch, 1]` logits of a binary label, or predicted values.
        is_binary: whether they are logits.
        labels: `[batch, 1]`, or `None`.
        weight: `[batch]` sample weights, or `None`.
        is_sum: whether the loss of the task is a sum over the batch.
    """

    kind: ClassVar[str] = RANKING
    logits: tf.Tensor
    is_binary: bool
    labels: tf.Tensor | None = None
    weight: tf.Tensor | None = None
    is_sum: bool = False

    @property
    def num_rows(self) -> tf.Tensor:
        """Rows of the batch, as float32."""
        return tf.cast(tf.shape(self.logits)[0], tf.float32)


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
        return RetrievalOutputs(
            tf.cast(given["query_embeddings"], tf.float32),
            tf.cast(given["candidate_embeddings"], tf.float32),
            call.task._temperature or 1.0,
            given["score_mask"],
            None if ids is None else tf.reshape(ids, [-1]),
            weight,
            is_sum,
        )
    logits, is_binary = as_logits(given["predictions"], call.task._loss)
    labels = tf.reshape(tf.cast(given["labels"], tf.float32), [-1, 1])
    return RankingOutputs(logits, is_binary, labels, weight, is_sum)


def as_logits(
    predictions: tf.Tensor, loss: tf.keras.losses.Loss
) -> tuple[tf.Tensor, bool]:
    """Logits of predictions, by the loss that trains them.

    Args:
        predictions: `[batch]` or `[batch, 1]`.
        loss: binary cross entropy of logits or of probabilities; predictions
            of any other loss are values.

    Returns:
        `[batch, 1]` float32 logits or values, and whether they are logits.
    """
    values = tf.reshape(tf.cast(predictions, tf.float32), [-1, 1])
    if not isinstance(loss, tf.keras.losses.BinaryCrossentropy):
        return values, False
    if loss.get_config().get("from_logits"):
        return values, True
    values = tf.clip_by_value(values, _EPSILON, 1.0 - _EPSILON)
    return tf.math.log(values) - tf.math.log1p(-values), True


def _is_sum(loss: object) -> bool:
    sums = tf.keras.losses.Reduction.SUM
    return getattr(loss, "reduction", None) == sums
