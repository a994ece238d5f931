"""Soft targets that an adapter of the student corrects by the labels."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from kd_tfrs.distillation.losses.projection import check_units
from kd_tfrs.distillation.ranking.calibrated import CalibratedSoftTargets
from kd_tfrs.distillation.schedules import Scheduled


@tf.keras.utils.register_keras_serializable("kd_tfrs")
class AdaptedSoftTargets(CalibratedSoftTargets):
    r"""Binary soft targets behind a student adapter (ExFM).

    $$l = T^2 H\big(\sigma(t' / T), \sigma(s / T)\big), \qquad
    t' = t + A(t), \qquad l^A = H\big(y, \sigma(t')\big)$$

    with the cross entropy $H(p, q)$ and a small perceptron $A$ on the
    teacher's logit. $A$ is trained on the labels alone, $l^A$, and the student
    on $l$ alone, without gradient into $t'$. The loss has the value of $l$.
    A teacher that was trained on other or on older data than the student is
    so brought up to date before it teaches. `CalibratedSoftTargets` is the
    same with a line in the place of the perceptron.

    $A$ starts at 0, so that the teacher's own targets are the first ones; the
    paper's adapter gives $t'$ itself.

    Args:
        temperature: $T$, at least 0.001; a number or a Keras schedule.
        hidden_units: widths of the ReLU layers of $A$.
        **options: `reduction` and `name`, see `WeightedLoss`.

    Raises:
        UserError: an argument is out of range.

    Example:
    ```python
    logits = TaskLogits("liked", auxiliary=True)
    DistillationTerm(AdaptedSoftTargets(), logits)
    ```

    References:
        Liang et al. 2025, "External Large Foundation Model: How to
        Efficiently Serve Trillions of Parameters for Online Ads
        Recommendation", arXiv:2502.17494, the student adapter, beside its
        auxiliary head (`with_auxiliary_head`).
    """

    def __init__(
        self,
        temperature: Scheduled = 1.0,
        hidden_units: Sequence[int] = (8,),
        **options: Any,
    ) -> None:
        super().__init__(temperature, **options)
        self.hidden_units = check_units("hidden_units", hidden_units)
        self._scaling = _adapter(self.hidden_units)


def _adapter(hidden_units: Sequence[int]) -> tf.keras.Model:
    """From logits `[batch, candidates, 1]` to corrected ones."""
    # Losses compute in float32, also under a policy of mixed precision.
    dense = functools.partial(tf.keras.layers.Dense, dtype="float32")
    logits = tf.keras.Input([None, 1], dtype="float32")
    correction = logits
    for units in hidden_units:
        correction = dense(units, activation="relu")(correction)
    correction = dense(1, kernel_initializer="zeros")(correction)
    adapted = tf.keras.layers.Add(dtype="float32")([logits, correction])
    return tf.keras.Model(logits, adapted, name="student_adapter")
