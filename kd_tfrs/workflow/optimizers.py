"""The optimizer of every training."""

from __future__ import annotations

import tensorflow as tf

from kd_tfrs.models import LazyAdam


def build_optimizer(
    learning_rate: float, decay: str, num_steps: int
) -> LazyAdam:
    """The optimizer of a training.

    Args:
        learning_rate: step size at the start.
        decay: "cosine", to zero over `num_steps`, or "constant".
        num_steps: training steps, at least 1.

    Returns:
        A LazyAdam.
    """
    if decay == "constant":
        return LazyAdam(learning_rate)
    schedule = tf.keras.optimizers.schedules.CosineDecay(
        learning_rate, num_steps
    )
    return LazyAdam(schedule)
