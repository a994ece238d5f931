"""The tasks of a ranker, one for each of its heads."""

from __future__ import annotations

import dataclasses
import math
import re

import numpy as np
import tensorflow as tf
import tensorflow_recommenders as tfrs

from kd_tfrs.errors import UserError

KINDS = ("binary", "rating")


@dataclasses.dataclass(frozen=True)
class RankingTask:
    r"""A label and the loss of its head.

    With a logit $z$ and a label $y$, the loss of a row is

    $$l = \log(1 + e^z) - y z \;\text{(binary)}, \qquad
    l = (z - y)^2 \;\text{(rating)}$$

    Args:
        name: name of the label: letters, digits and underscores, since it is
            part of the names of layers.
        kind: "binary" for labels in [0, 1], "rating" for any real number.
        weight: weight of this task's loss, positive.
        initial_logit: prediction of the head before training, see
            `starting_at`.

    Raises:
        UserError: when an argument is out of range.

    Example:
    ```python
    tasks = (RankingTask("liked"), RankingTask("rating", "rating", 0.1))
    ```
    """

    name: str
    kind: str = "binary"
    weight: float = 1.0
    initial_logit: float = 0.0

    def __post_init__(self) -> None:
        if not re.fullmatch(r"\w+", str(self.name), re.ASCII):
            raise UserError(
                "`name` of a task should be letters, digits and underscores. "
                f"Received: `name` = {self.name!r}. Rename the label."
            )
        if self.kind not in KINDS:
            raise UserError(
                f"`kind` of task {self.name!r} should be binary or rating. "
                f"Received: `kind` = {self.kind!r}."
            )
        if not (self.weight > 0 and math.isfinite(self.weight)):
            raise UserError(
                f"`weight` of task {self.name!r} should be positive. "
                f"Received: `weight` = {self.weight}. Leave a task out rather "
                "than give it no weight."
            )
        if not math.isfinite(self.initial_logit):
            raise UserError(
                f"`initial_logit` of task {self.name!r} should be a number. "
                f"Received: `initial_logit` = {self.initial_logit}."
            )

    @property
    def output(self) -> str:
        """Name of the network's output of logits."""
        return f"logits_{self.name}"

    def starting_at(
        self, labels: np.ndarray, weights: np.ndarray | None = None
    ) -> RankingTask:
        r"""Returns the same task with the labels' mean as initial prediction.

        $$z_0 = \log \frac{\bar y}{1 - \bar y} \;\text{(binary)}, \qquad
        z_0 = \bar y \;\text{(rating)}$$

        The first training steps then need not learn the bias.

        Args:
            labels: `[n]` labels of training; NaN where missing.
            weights: `[n]` weights; ones when `None`.

        Returns:
            A new task.

        Raises:
            UserError: when no label has a weight.

        Example:
        >>> RankingTask("rating", "rating").starting_at(
        ...     np.array([3.0, 4.0])
        ... ).initial_logit
        3.5
        """
        labels = np.asarray(labels, np.float64)
        weights = np.ones(len(labels)) if weights is None else weights
        weights = np.where(np.isnan(labels), 0.0, weights)
        total = weights.sum()
        if not total > 0:
            raise UserError(
                f"Task {self.name!r} should have labels with a weight. "
                f"Received: {len(labels)} rows, none of them with both."
            )
        mean = float((weights * np.nan_to_num(labels)).sum() / total)
        if self.kind == "binary":
            # A single class has infinite logits, so the mean is clipped.
            margin = 1.0 / (len(labels) + 1.0)
            mean = min(max(mean, margin), 1.0 - margin)
            mean = math.log(mean / (1.0 - mean))
        return dataclasses.replace(self, initial_logit=mean)

    def ranking(self) -> tfrs.tasks.Ranking:
        """Returns TFRS's task with the loss above, summed over rows.

        Returns:
            A layer of labels `[batch, 1]`, logits `[batch, 1]` and weights
            `[batch]`.
        """
        reduction = tf.keras.losses.Reduction.SUM
        task = tfrs.tasks.Ranking(
            tf.keras.losses.BinaryCrossentropy(
                from_logits=True, reduction=reduction
            )
            if self.kind == "binary"
            else tf.keras.losses.MeanSquaredError(reduction=reduction),
            name=f"task_{self.name}",
        )
        # A float16 policy of the network should not cast the labels.
        task._autocast = False
        return task

    def predict(self, logits: tf.Tensor) -> tf.Tensor:
        """Converts logits to probabilities, or ratings for a rating task.

        Args:
            logits: logits of any shape.

        Returns:
            Predictions of the same shape.
        """
        return tf.sigmoid(logits) if self.kind == "binary" else logits
