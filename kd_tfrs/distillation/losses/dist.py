"""DIST: correlation of probabilities, along rows and columns."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from kd_tfrs.distillation import schedules
from kd_tfrs.distillation.losses.base import (
    DistillationLoss,
    masked_log_softmax,
)
from kd_tfrs.distillation.losses.checks import check_number
from kd_tfrs.distillation.losses.inputs import LossInputs
from kd_tfrs.errors import UserError

_LEAST_SPREAD = 1e-30


@tf.keras.utils.register_keras_serializable("kd_tfrs")
class CorrelationLoss(DistillationLoss):
    r"""DIST: one minus Pearson's correlation, along rows and along columns.

    $$L = T^2 \Big( \beta \, \frac{1}{B} \sum_i (1 - \rho(P_{i:}, Q_{i:}))
    + \gamma \, \frac{1}{C} \sum_j (1 - \rho(P_{:j}, Q_{:j})) \Big)$$

    with $P = \mathrm{softmax}(t / T)$ and $Q = \mathrm{softmax}(s / T)$ over
    the candidates of each query. The student may be more or less sure than
    the teacher everywhere; only the pattern counts.

    A column exists for a candidate that all queries share, so that the second
    sum runs over those after the lists, and over the queries whose mask
    leaves the candidate. Each query carries the whole column term, which the
    weighted mean over queries leaves as it is; sample weights weigh rows
    only. Where teacher or student is constant there is no correlation: such a
    row counts as 0, such a column is left out of the mean.

    Args:
        beta: $\beta$, weight of the rows, at least 0.
        gamma: $\gamma$, weight of the columns, at least 0.
        temperature: $T$, at least 0.001; a number or a Keras schedule.
        **options: `reduction` and `name`, see `WeightedLoss`.

    Raises:
        UserError: an argument is out of range; or there are lists only, of
            which no two queries share a candidate, and `gamma` is not 0.

    Example:
    >>> loss = CorrelationLoss(gamma=0.0)
    >>> p, q = [[0.2, 0.3, 0.5]], [[0.3, 0.2, 0.5]]
    >>> round(float(loss(tf.math.log(p), tf.math.log(q))), 4)
    0.2143

    References:
        Huang et al. 2022, "Knowledge Distillation from A Stronger Teacher",
        section 3. Defaults are those of the authors' loss; the factor T^2,
        which their code has and their equations have not, is kept.
    """

    default_name = "correlation"

    def __init__(
        self,
        beta: float = 1.0,
        gamma: float = 1.0,
        temperature: schedules.Scheduled = 1.0,
        **options: Any,
    ) -> None:
        super().__init__(temperature, **options)
        self.beta = check_number("beta", beta, 0.0)
        self.gamma = check_number("gamma", gamma, 0.0)

    def per_query(self, inputs: LossInputs) -> tf.Tensor:
        """See `DistillationLoss.per_query`."""
        p, q = (
            tf.exp(masked_log_softmax(scores, inputs.mask, inputs.temperature))
            for scores in (inputs.teacher, inputs.student)
        )
        distances, _ = _distances(p, q, inputs.mask)
        losses = self.beta * distances
        if self.gamma:
            losses += self.gamma * self._over_columns(p, q, inputs)
        losses = tf.where(tf.reduce_any(inputs.mask, axis=1), losses, 0.0)
        return tf.square(inputs.temperature) * losses

    def _over_columns(
        self, p: tf.Tensor, q: tf.Tensor, inputs: LossInputs
    ) -> tf.Tensor:
        if inputs.listed and p.shape[1] == inputs.listed:
            raise UserError(
                "`gamma` should be 0 where queries share no candidates. "
                f"Received: `gamma` = {self.gamma:g} and lists only. Give "
                "gamma=0, or take a candidate sampler with shared candidates."
            )
        distances, defined = _distances(
            *(tf.transpose(x[:, inputs.listed :]) for x in (p, q, inputs.mask))
        )
        count = tf.reduce_sum(tf.cast(defined, tf.float32))
        return tf.math.divide_no_nan(tf.reduce_sum(distances), count)


def _distances(
    p: tf.Tensor, q: tf.Tensor, mask: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """One minus the correlation of each row; and where there is one."""
    (p, p_varies), (q, q_varies) = (_standardised(x, mask) for x in (p, q))
    defined = tf.logical_and(p_varies, q_varies)
    distances = 1.0 - tf.reduce_sum(p * q, axis=1)
    return tf.where(defined, distances, 0.0), defined


def _standardised(x: tf.Tensor, mask: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Rows of mean 0 and length 1; and where a row is not constant."""
    kept = tf.cast(mask, x.dtype)
    count = tf.reduce_sum(kept, axis=1, keepdims=True)
    mean = tf.math.divide_no_nan(
        tf.reduce_sum(x * kept, axis=1, keepdims=True), count
    )
    centred = (x - mean) * kept
    spread = tf.stop_gradient(
        tf.reduce_max(tf.abs(centred), axis=1, keepdims=True)
    )
    # What is left of a constant row is rounding of its mean.
    varies = spread > tf.maximum(1e-6 * tf.abs(mean), _LEAST_SPREAD)
    # To a size whose square neither vanishes nor overflows. The length takes
    # the scale out again, so that the gradient need not know of it.
    scaled = tf.where(varies, centred / tf.where(varies, spread, 1.0), 0.0)
    square = tf.reduce_sum(tf.square(scaled), axis=1, keepdims=True)
    unit = scaled * tf.math.rsqrt(tf.where(varies, square, 1.0))
    return unit, varies[:, 0]
