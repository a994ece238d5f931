"""Base of the losses between scores: mask, temperature, weighted mean."""

from __future__ import annotations

import re
import textwrap
from typing import Any

import tensorflow as tf

from kd_tfrs.config_mixin import ConfigMixin
from kd_tfrs.distillation import schedules
from kd_tfrs.distillation.losses.inputs import LossInputs

# Finite, so that `0 * log 0` never becomes NaN, and far below any logit.
MASKED_LOGIT = -1e30
_MIN_TEMPERATURE = 1e-3
# Of every loss, and rarely given.
_HIDDEN = ("name", "reduction")


class WeightedLoss(ConfigMixin, tf.keras.losses.Loss):
    """Base of all distillation losses: weighted mean, name, configuration.

    The class attributes declare the inputs that a loss needs and how it is
    used. A subclass overrides those that differ.

    Attributes:
        uses_labels: whether the loss reads `LossInputs.labels`.
        uses_rows: whether the loss reads `LossInputs.rows`.
        adversaries: layers that are trained against the student at every
            step. A loss with adversaries defines `compute_adversary` and has
            an `adversary_optimizer`.
        layer_optimizer: a legacy optimizer of `trainable_layers`; that of the
            student if `None`.
        default_name: name in the logs; that of the class in snake case if
            empty.

    Args:
        reduction: a `tf.keras.losses.Reduction`; `NONE` gives the weighted
            loss of every row, `SUM` their sum, all others the weighted mean.
        name: name of the loss in the logs; `default_name` when `None`.
    """

    uses_labels = False
    uses_rows = False
    adversaries: tuple[tf.keras.layers.Layer, ...] = ()
    layer_optimizer: tf.keras.optimizers.legacy.Optimizer | None = None
    default_name = ""

    def __init__(
        self,
        reduction: str = tf.keras.losses.Reduction.AUTO,
        name: str | None = None,
    ) -> None:
        snake = re.sub("(?<=[a-z0-9])(?=[A-Z])", "_", type(self).__name__)
        name = name or self.default_name or snake.lower()
        super().__init__(reduction=reduction, name=name)

    def __repr__(self) -> str:
        given = self.get_config().items()
        shown = (f"{k}={v!r}" for k, v in given if k not in _HIDDEN)
        return textwrap.shorten(
            f"{type(self).__name__}({', '.join(shown)})", 200
        )

    @property
    def is_built(self) -> bool:
        """Whether all layers of the loss exist."""
        return True

    @property
    def trainable_layers(self) -> tuple[tf.keras.layers.Layer, ...]:
        """Layers of the loss, which are trained with the student."""
        return ()

    def weighted_mean(
        self, losses: tf.Tensor, weights: tf.Tensor | None
    ) -> tf.Tensor:
        """The losses of a batch, reduced.

        Args:
            losses: `[rows]`.
            weights: `[rows]`; 1 when `None`.

        Returns:
            A scalar, or `[rows]` with `Reduction.NONE`.
        """
        if weights is None:
            weights = tf.ones_like(losses)
        weights = tf.cast(weights, tf.float32)
        weighted = losses * weights
        if self.reduction == tf.keras.losses.Reduction.NONE:
            return weighted
        total = tf.reduce_sum(weighted)
        if self.reduction == tf.keras.losses.Reduction.SUM:
            return total
        return tf.math.divide_no_nan(total, tf.reduce_sum(weights))


class DistillationLoss(WeightedLoss):
    r"""Base of the losses between a teacher's and a student's scores.

    $$L = \sum_i w_i \, l(t_i, s_i) / \sum_i w_i$$

    over the queries $i$ of a batch. A subclass overrides `per_query`. The
    base casts to float32, stops the gradient into the teacher, applies the
    mask and takes the weighted mean. The mean is over the sum of the weights,
    not over the batch size as in Keras, so that a loss weight has the same
    meaning for every batch.

    Attributes:
        uses_single_scores: whether the loss is defined on a single score of a
            query, so that it can be computed on one logit per example. See
            `WeightedLoss` for further attributes.

    Args:
        temperature: softens the scores, at least 0.001; a number or a Keras
            schedule of the training step. `Untempered` is
            the base of the losses without it.
        reduction: see `WeightedLoss`.
        name: see `WeightedLoss`.

    Example:
    ```python
    class AbsoluteDifference(DistillationLoss):
        uses_single_scores = True

        def per_query(self, inputs):
            difference = tf.abs(inputs.teacher - inputs.student)
            return masked_mean(difference, inputs.mask)
    ```
    """

    uses_single_scores = False

    def __init__(
        self,
        temperature: schedules.Scheduled = 1.0,
        reduction: str = tf.keras.losses.Reduction.AUTO,
        name: str | None = None,
    ) -> None:
        super().__init__(reduction=reduction, name=name)
        self.temperature = schedules.check_scheduled(
            "temperature", schedules.deserialize(temperature), _MIN_TEMPERATURE
        )

    def __call__(
        self,
        y_true: tf.Tensor,
        y_pred: tf.Tensor,
        sample_weight: tf.Tensor | None = None,
        **inputs: object,
    ) -> tf.Tensor:
        """Computes the loss, in the calling convention of Keras.

        Args:
            y_true: `[batch, candidates]` teacher scores; no gradient flows.
            y_pred: `[batch, candidates]` student scores.
            sample_weight: `[batch]` non-negative weights; 1 when `None`.
            **inputs: further fields of `LossInputs` by name, such as `mask`
                and `step`. A query without an unmasked candidate has a loss
                of 0.

        Returns:
            A scalar, or `[batch]` with `Reduction.NONE`.
        """
        return self.compute(
            LossInputs(
                y_true,
                y_pred,
                weight=sample_weight,
                temperature=1.0,  # Refuses a temperature in `inputs`.
                **inputs,
            )
        )

    def compute(self, inputs: LossInputs) -> tf.Tensor:
        """Computes the loss.

        Args:
            inputs: the scores as teacher and student return them; the loss
                sets the temperature.

        Returns:
            A scalar, or `[batch]` with `Reduction.NONE`.
        """
        losses = self.per_query(self._prepare(inputs))
        return self.weighted_mean(losses, inputs.weight)

    def call(self, y_true: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
        """The loss of every query, `[batch]`, without mask or weights."""
        return self.per_query(self._prepare(LossInputs(y_true, y_pred)))

    def per_query(self, inputs: LossInputs) -> tf.Tensor:
        """The loss of every query, the only method that a loss defines.

        Args:
            inputs: float32 `[batch, candidates]` scores, 0 where masked, a
                bool mask of that shape, and the temperature of the loss.

        Returns:
            `[batch]` float32.
        """
        raise NotImplementedError(
            f"`{type(self).__name__}` should define `per_query`."
        )

    def _prepare(self, inputs: LossInputs) -> LossInputs:
        teacher = tf.stop_gradient(tf.cast(inputs.teacher, tf.float32))
        student = tf.cast(inputs.student, tf.float32)
        mask = inputs.mask
        if mask is None:
            mask = tf.ones_like(student, tf.bool)
        mask = tf.broadcast_to(mask, tf.shape(student))
        # Before the subclass, not after: a score of -inf that is left out of
        # a sum still turns its gradient, 0 times infinity, into NaN.
        return inputs._replace(
            teacher=tf.where(mask, teacher, 0.0),
            student=tf.where(mask, student, 0.0),
            mask=mask,
            temperature=schedules.value_at(self.temperature, inputs.step),
            each=_without_gradient(inputs.each, mask),
        )


class Untempered(DistillationLoss):
    """Base of the losses without a temperature.

    Args:
        **options: `reduction` and `name`, see `WeightedLoss`.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(1.0, **options)


def masked_log_softmax(
    scores: tf.Tensor, mask: tf.Tensor, temperature: tf.Tensor | float = 1.0
) -> tf.Tensor:
    """Log softmax of `scores / temperature` over the unmasked candidates.

    Args:
        scores: `[batch, candidates]`.
        mask: `[batch, candidates]` bool.
        temperature: positive.

    Returns:
        `[batch, candidates]`; a large negative finite number where masked.
    """
    logits = tf.where(mask, scores / temperature, MASKED_LOGIT)
    return tf.nn.log_softmax(logits)


def _without_gradient(
    each: tf.Tensor | None, mask: tf.Tensor
) -> tf.Tensor | None:
    if each is None:
        return None
    scores = tf.stop_gradient(tf.cast(each, tf.float32))
    return tf.where(mask[:, :, None], scores, 0.0)


def masked_mean(values: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
    """Mean over the unmasked candidates; 0 where all are masked.

    Args:
        values: `[batch, candidates]`.
        mask: `[batch, candidates]` bool.

    Returns:
        `[batch]`.
    """
    kept = tf.where(mask, values, 0.0)
    count = tf.reduce_sum(tf.cast(mask, values.dtype), axis=1)
    return tf.math.divide_no_nan(tf.reduce_sum(kept, axis=1), count)
