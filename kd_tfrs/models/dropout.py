"""Dropout that resumes from a checkpoint."""

from __future__ import annotations

import tensorflow as tf


@tf.keras.utils.register_keras_serializable("kd_tfrs")
class CheckpointedDropout(tf.keras.layers.Dropout):
    """Keras's Dropout, with the state of its generator in checkpoints.

    Keras does not save that state, so a restored model repeats the masks of
    the first steps. The state is not a weight: `get_weights` does not return
    it.

    Args:
        rate: share of the inputs that is dropped, in [0, 1).
        noise_shape: see Keras.
        seed: seed of the generator; `None` draws one, as Keras does.
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
        # Checkpoints track attributes.
        self.generator = self._random_generator._generator
