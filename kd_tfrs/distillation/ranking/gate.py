"""The gate of an ensemble of rankers, and its training on labels."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from kd_tfrs.config_mixin import ConfigMixin
from kd_tfrs.data.epochs import prefetched

_LEAST_SPREAD = 1e-6


@tf.keras.utils.register_keras_serializable("kd_tfrs")
class TeacherGate(ConfigMixin, tf.keras.layers.Layer):
    r"""Weights of teachers from their outputs, equal before training.

    $$g = \mathrm{softmax}\big(W (x - \mu) / \sigma + b\big)$$

    Args:
        num_teachers: how many weights, at least 2.
        **kwargs: see `tf.keras.layers.Layer`.

    Example:
    >>> TeacherGate(2)(tf.constant([[0.3, -1.0, 2.0]])).numpy()
    array([[0.5, 0.5]], dtype=float32)
    """

    def __init__(self, num_teachers: int, **kwargs: object) -> None:
        super().__init__(**kwargs)
        self.num_teachers = num_teachers

    def build(self, shape: tf.TensorShape) -> None:
        """Creates the weights for inputs of `[batch, width]`."""
        width = int(shape[-1])
        self.mean, self.spread = (
            self.add_weight(name, (width,), initializer=start, trainable=False)
            for name, start in (("mean", "zeros"), ("spread", "ones"))
        )
        self.kernel = self.add_weight(
            "kernel", (width, self.num_teachers), initializer="zeros"
        )
        self.bias = self.add_weight(
            "bias", (self.num_teachers,), initializer="zeros"
        )
        super().build(shape)

    def standardise(self, inputs: np.ndarray) -> None:
        r"""Sets $\mu$ and $\sigma$; a constant input becomes 0.

        Args:
            inputs: `[n, width]`.
        """
        spread = inputs.std(axis=0)
        self.mean.assign(inputs.mean(axis=0))
        self.spread.assign(np.where(spread > _LEAST_SPREAD, spread, 1.0))

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """See the class; `[batch, width]` to `[batch, num_teachers]`."""
        x = (inputs - self.mean) / self.spread
        return tf.nn.softmax(tf.matmul(x, self.kernel) + self.bias)


class GateRows(NamedTuple):
    """The training rows of the gate of one task.

    Args:
        inputs: `[n, width]` float32.
        logits: `[n, teachers]` float32 logits.
        labels: `[n]` float32.
        weight: `[n]` float32.
    """

    inputs: np.ndarray
    logits: np.ndarray
    labels: np.ndarray
    weight: np.ndarray

    def labelled(self) -> GateRows:
        """The rows with a weight, a label and an output of every teacher."""
        finite = np.isfinite(self.logits).all(axis=1)
        finite &= np.isfinite(self.inputs).all(axis=1)
        kept = finite & np.isfinite(self.labels) & (self.weight > 0)
        return GateRows(*(x[kept] for x in self))


def gate_loss(
    gate: tf.Tensor, rows: GateRows, kind: str, evenness: float
) -> tf.Tensor:
    r"""The loss of a gate.

    $$L = \frac{\sum_i w_i \, l(\langle g_i, t_i \rangle, y_i)}{\sum_i w_i}
    + \eta \, \mathrm{mean}_i \, KL(g_i \| \text{uniform})$$

    Args:
        gate: `[n, teachers]`, $g$.
        rows: of the same length.
        kind: of the task, "binary" (cross entropy) or "rating" (squares).
        evenness: $\eta$, at least 0.

    Returns:
        A scalar.
    """
    mixed = tf.reduce_sum(gate * rows.logits, axis=1)
    if kind == "binary":
        losses = tf.nn.sigmoid_cross_entropy_with_logits(rows.labels, mixed)
    else:
        losses = tf.square(mixed - rows.labels)
    mean = tf.math.divide_no_nan(
        tf.reduce_sum(rows.weight * losses), tf.reduce_sum(rows.weight)
    )
    count = tf.cast(tf.shape(gate)[1], tf.float32)
    uneven = tf.reduce_sum(tf.math.xlogy(gate, gate * count), axis=1)
    return mean + evenness * tf.reduce_mean(uneven)


def train_gate(
    gate: TeacherGate,
    rows: GateRows,
    kind: str,
    *,
    epochs: int,
    learning_rate: float,
    batch_size: int,
    evenness: float,
    seed: int,
) -> None:
    """Trains one gate by Adam on rows that are in memory.

    Args:
        gate: a built gate, which is trained in place.
        rows: labelled rows, at least one.
        kind: see `gate_loss`.
        epochs: passes over the rows.
        learning_rate: step size.
        batch_size: rows a step.
        evenness: see `gate_loss`.
        seed: of the order.
    """
    optimizer = tf.keras.optimizers.legacy.Adam(learning_rate)
    gate.standardise(rows.inputs)

    @tf.function(reduce_retracing=True)
    def step(some: GateRows) -> None:
        with tf.GradientTape() as tape:
            loss = gate_loss(gate(some.inputs), some, kind, evenness)
        optimizer.minimize(loss, gate.trainable_variables, tape=tape)

    data = tf.data.Dataset.from_tensor_slices(rows)
    data = data.shuffle(len(rows.labels), seed=seed)
    for some in prefetched(data.batch(batch_size).repeat(epochs)):
        step(some)
