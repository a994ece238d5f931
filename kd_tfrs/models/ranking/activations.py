"""Hidden layers and their activations."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from kd_tfrs.config_mixin import ConfigMixin
from kd_tfrs.models.layers import dropped


@tf.keras.utils.register_keras_serializable("kd_tfrs")
class Dice(ConfigMixin, tf.keras.layers.Layer):
    r"""PReLU with a smooth transition at the mean of the data.

    $$f(s) = p(s) s + (1 - p(s)) \alpha s, \qquad
    p(s) = \sigma\left(\frac{s - E[s]}{\sqrt{Var[s] + \epsilon}}\right)$$

    with a learned $\alpha$ for every unit, and mean and variance of the batch
    in training, and moving averages in inference. Call it with
    `[batch, ..., units]`, or with that and `[batch, ...]` ids: positions with
    id 0 are padding and are excluded from the moments.

    Args:
        momentum: decay of the moving averages, in [0, 1).
        epsilon: $\epsilon$, positive; the paper's $10^{-8}$.
        **kwargs: see `tf.keras.layers.Layer`.

    Example:
    ```python
    hidden = Dice()(tf.keras.layers.Dense(36)(x))
    ```

    References:
        Zhou et al. 2018, "Deep Interest Network for Click-Through Rate
        Prediction", section 5.2.
    """

    def __init__(
        self, momentum: float = 0.99, epsilon: float = 1e-8, **kwargs: object
    ) -> None:
        super().__init__(**kwargs)
        self.momentum = momentum
        self.epsilon = epsilon

    def build(self, input_shape: object) -> None:
        """See Keras."""
        shape = input_shape[0] if _is_pair(input_shape) else input_shape
        width = tf.TensorShape(shape)[-1]
        self.alpha = self.add_weight("alpha", (width,), initializer="zeros")
        self.moving_mean = self._moment("moving_mean", width, "zeros")
        self.moving_variance = self._moment("moving_variance", width, "ones")
        super().build(input_shape)

    def call(
        self,
        inputs: tf.Tensor | Sequence[tf.Tensor],
        training: bool | None = None,
    ) -> tf.Tensor:
        """See the class."""
        x, ids = inputs if isinstance(inputs, (list, tuple)) else (inputs, None)
        mean, variance = self._moments(x, ids, training)
        # The gate is computed in float32, since moments of float16 overflow.
        s = tf.cast(x, tf.float32)
        gate = tf.sigmoid((s - mean) * tf.math.rsqrt(variance + self.epsilon))
        gate = tf.cast(gate, x.dtype)
        return x * (gate + (1.0 - gate) * tf.cast(self.alpha, x.dtype))

    def compute_output_shape(self, input_shape: object) -> tf.TensorShape:
        """The shape of the values."""
        shape = input_shape[0] if _is_pair(input_shape) else input_shape
        return tf.TensorShape(shape)

    def _moment(self, name: str, width: int, start: str) -> tf.Variable:
        return self.add_weight(
            name,
            (width,),
            dtype=tf.float32,
            initializer=start,
            trainable=False,
            experimental_autocast=False,
            synchronization=tf.VariableSynchronization.ON_READ,
            aggregation=tf.VariableAggregation.MEAN,
        )

    def _moments(
        self, x: tf.Tensor, ids: tf.Tensor | None, training: bool | None
    ) -> tuple[tf.Tensor, tf.Tensor]:
        if not training:
            return self.moving_mean, self.moving_variance
        x = tf.cast(x, tf.float32)
        mask = tf.ones_like(x[..., :1])
        if ids is not None:
            mask = tf.cast(ids != 0, tf.float32)[..., None]
        axes = list(range(len(x.shape) - 1))
        count = tf.reduce_sum(mask)
        mean = tf.reduce_sum(mask * x, axes) / tf.maximum(count, 1.0)
        square = mask * tf.math.squared_difference(x, mean)
        variance = tf.reduce_sum(square, axes) / tf.maximum(count, 1.0)
        # A batch of padding only does not change the averages.
        rate = (1.0 - self.momentum) * tf.cast(count > 0, tf.float32)
        for moving, current in (
            (self.moving_mean, mean),
            (self.moving_variance, variance),
        ):
            moving.assign(moving + rate * (tf.stop_gradient(current) - moving))
        return mean, variance


def hidden_layer(
    x: tf.Tensor,
    units: int,
    activation: str,
    name: str,
    ids: tf.Tensor | None = None,
) -> tf.Tensor:
    """A Dense layer and its activation.

    Args:
        x: `[batch, ..., width]`.
        units: width of the layer.
        activation: "relu", "prelu" or "dice".
        name: name of the layer of the result.
        ids: `[batch, ...]`, 0 for padding that Dice leaves out, or `None`.

    Returns:
        `[batch, ..., units]`.
    """
    layers = tf.keras.layers
    if activation == "relu":
        return layers.Dense(units, activation="relu", name=name)(x)
    x = layers.Dense(units, name=f"{name}_linear")(x)
    if activation == "dice":
        return Dice(name=name)(x if ids is None else [x, ids])
    # One slope per unit, shared by the positions of a list.
    places = list(range(1, len(x.shape) - 1)) or None
    return layers.PReLU(shared_axes=places, name=name)(x)


def hidden_layers(
    x: tf.Tensor,
    units: Sequence[int],
    activation: str,
    dropout: float = 0.0,
    prefix: str = "",
) -> tuple[tf.Tensor, list[tf.Tensor]]:
    """A stack of hidden layers, with dropout behind each.

    Args:
        x: `[batch, width]`.
        units: widths; may be empty.
        activation: see `hidden_layer`.
        dropout: share dropped in training, in [0, 1).
        prefix: prefix of the layers' names.

    Returns:
        The input of the next layer, `[batch, units[-1]]`, and the output of
        every layer before dropout.
    """
    outputs = []
    for i, width in enumerate(units):
        x = hidden_layer(x, width, activation, f"{prefix}hidden_{i}")
        outputs.append(x)
        x = dropped(x, dropout)
    return x, outputs


def _is_pair(shape: object) -> bool:
    return isinstance(shape, (list, tuple)) and isinstance(
        shape[0], (list, tuple, tf.TensorShape)
    )
