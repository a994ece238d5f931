"""Experts side by side: many small perceptrons as a few large products."""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf

_NO_SHARE = 1e-7
# The sparse path costs this much more for each expert, so that from a quarter
# on all experts are computed.
_DENSE = 4.0


class ExpertMixture(tf.keras.layers.Layer):
    r"""A mixture of perceptrons $E_m(x) = V_m \max(0, U_m x + a_m) + b_m$.

    Args:
        num_experts: how many.
        hidden_width: width of the hidden layer of each.
        output_width: width of what each gives.
        name: of the layer.

    Example:
    >>> mixture = ExpertMixture(3, 5, 4)
    >>> mixture(tf.ones([2, 6]), tf.fill([2, 3], 1 / 3)).shape
    TensorShape([2, 4])
    """

    def __init__(
        self,
        num_experts: int,
        hidden_width: int,
        output_width: int,
        name: str = "experts",
    ) -> None:
        super().__init__(name=name, dtype=tf.float32)
        self.num_experts = num_experts
        self.hidden_width = hidden_width
        self.output_width = output_width

    def build(self, input_shape: tf.TensorShape) -> None:
        """Creates the weights of all experts, each drawn as if alone."""
        experts, hidden = self.num_experts, self.hidden_width
        self.inner_kernel = self._kernel("inner", input_shape[-1], hidden)
        self.inner_bias = self.add_weight(
            "inner_bias", [experts, hidden], initializer="zeros"
        )
        self.outer_kernel = self._kernel("outer", hidden, self.output_width)
        self.outer_bias = self.add_weight(
            "outer_bias", [experts, self.output_width], initializer="zeros"
        )
        super().build(input_shape)

    def call(self, inputs: tf.Tensor, shares: tf.Tensor) -> tf.Tensor:
        r"""The mixture $\sum_m z_m E_m(x)$.

        Where few experts have a share of more than 1e-7, which float32
        distinguishes from 0, only these are computed. Sharp shares save most
        of the work.

        Args:
            inputs: `[rows, input_width]`.
            shares: `[rows, experts]`, $z$, in [0, 1].

        Returns:
            `[rows, output_width]`.
        """
        mixed = _mix(
            tf.convert_to_tensor(inputs),
            tf.convert_to_tensor(shares),
            tf.convert_to_tensor(self.inner_kernel),
            tf.convert_to_tensor(self.inner_bias),
            tf.convert_to_tensor(self.outer_kernel),
        )
        return mixed + shares @ self.outer_bias

    def _kernel(self, name: str, rows: int, columns: int) -> tf.Variable:
        limit = (6.0 / (rows + columns)) ** 0.5  # Glorot, of one expert
        return self.add_weight(
            f"{name}_kernel",
            [self.num_experts, rows, columns],
            initializer=tf.keras.initializers.RandomUniform(-limit, limit),
        )


@tf.custom_gradient
def _mix(*tensors: tf.Tensor) -> tuple[tf.Tensor, Callable]:
    """The mixture without the outer biases.

    The gradient branches for itself: that of `tf.cond` would hand every
    intermediate value from branch to branch.
    """
    shares = tensors[1]
    active = tf.reduce_sum(tf.cast(shares > _NO_SHARE, tf.float32))
    few = _DENSE * active < tf.cast(tf.size(shares), tf.float32)

    def slopes(upstream: tf.Tensor) -> list[tf.Tensor]:
        def through(mix: Callable) -> list[tf.Tensor]:
            with tf.GradientTape() as tape:
                tape.watch(tensors)
                mixed = mix(*tensors)
            found = tape.gradient(mixed, tensors, upstream)
            return [tf.convert_to_tensor(slope) for slope in found]

        return tf.cond(few, lambda: through(_some), lambda: through(_all))

    mixed = tf.cond(few, lambda: _some(*tensors), lambda: _all(*tensors))
    return mixed, slopes


def _all(
    inputs: tf.Tensor,
    shares: tf.Tensor,
    inner: tf.Tensor,
    bias: tf.Tensor,
    outer: tf.Tensor,
) -> tf.Tensor:
    experts, _, hidden = inner.shape
    width = experts * hidden
    # Shares scale the hidden layer, so that the sum over experts is part of
    # one product and [rows, experts, output_width] never exists.
    inner = tf.reshape(tf.transpose(inner, [1, 0, 2]), [-1, width])
    activity = tf.nn.relu(inputs @ inner + tf.reshape(bias, [-1]))
    activity = tf.reshape(activity, [-1, experts, hidden])
    activity = tf.reshape(activity * shares[:, :, tf.newaxis], [-1, width])
    return activity @ tf.reshape(outer, [width, -1])


def _some(
    inputs: tf.Tensor,
    shares: tf.Tensor,
    inner: tf.Tensor,
    bias: tf.Tensor,
    outer: tf.Tensor,
) -> tf.Tensor:
    active = tf.where(shares > _NO_SHARE)
    row, expert = tf.unstack(tf.cast(active, tf.int32), axis=1)

    def split(values: tf.Tensor) -> list[tf.Tensor]:
        return tf.dynamic_partition(values, expert, inner.shape[0])

    # Unstacked at once: a slice each would cost a dense gradient each.
    parts = zip(
        split(tf.gather(inputs, row)),
        split(tf.gather_nd(shares, active)[:, tf.newaxis]),
        tf.unstack(inner),
        tf.unstack(bias),
        tf.unstack(outer),
        strict=True,
    )
    mixed = [(z * tf.nn.relu(x @ u + a)) @ v for x, z, u, a, v in parts]
    return tf.math.unsorted_segment_sum(
        tf.concat(mixed, axis=0),
        tf.concat(split(row), axis=0),
        tf.shape(inputs)[0],
    )


def gumbel(
    weight: tf.Tensor, width: int, seed: int, step: tf.Tensor | int
) -> tf.Tensor:
    """Standard Gumbel noise that a seed and a step decide.

    The rows that count get it in their order, so that the others, wherever
    they stand, change none of it.

    Args:
        weight: `[rows]`, 0 where a row does not count.
        width: of the noise of a row.
        seed: any integer.
        step: training step.

    Returns:
        `[rows, width]` float32.
    """
    uniform = tf.random.stateless_uniform(
        tf.stack([tf.size(weight), width]),
        tf.stack([seed, tf.cast(step, tf.int32)]),
        minval=1e-20,
        maxval=1.0,
    )
    # A draw just below 1 would give infinity without the floor.
    noise = -tf.math.log(tf.maximum(-tf.math.log(uniform), 1e-20))
    order = tf.cumsum(tf.cast(weight > 0, tf.int32)) - 1
    return tf.gather(noise, tf.maximum(order, 0))
