"""Dropout that goes on after a kill where it was."""

from __future__ import annotations

import tensorflow as tf


@tf.keras.utils.register_keras_serializable("kd_tfrs")
class CheckpointedDropout(tf.keras.layers.Dropout):
    """Keras's Dropout, with the state of its generator in checkpoints.

    Keras keeps that state out of them, so that a restored model would drop
    the first step's places again. Not a weight: `get_weights` leaves it out.

    Args:
        rate: share of the inputs that is dropped, in [0, 1).
        noise_shape: see Keras.
        seed: of the generator; `None` draws one, as Keras does.
        **kwargs: see `tf.keras.layers.Layer`.

    Example:
    ```python
    x = CheckpointedDropout(0.2)(x)
    ```
    """

    def __init__(
        self,
        rate: float,
        noise_shape: tuple[int | None, ...] | None = None,
        seed: int | None = None,
        **kwargs: object,
    ) -> None:
        kwargs["rng_type"] = "stateful"
        super().__init__(rate, noise_shape=noise_shape, seed=seed, **kwargs)

    def build(self, input_shape: tf.TensorShape) -> None:
        """See Keras."""
        super().build(input_shape)
        # An attribute is what a checkpoint follows.
        self.generator = self._random_generator._generator
