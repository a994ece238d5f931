"""Callbacks of every distiller, and a check of those that are given."""

from __future__ import annotations

import math
from collections.abc import Sequence

import tensorflow as tf

from kd_tfrs.errors import UserError


class FiniteLoss(tf.keras.callbacks.Callback):
    """Ends a training whose loss is no longer finite, in one line.

    Args:
        name: of the training, for the error.

    Example:
    ```python
    model.fit(batches, callbacks=[FiniteLoss()])
    ```
    """

    def __init__(self, name: str = "the student") -> None:
        super().__init__()
        self.name = name

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        """Checks the mean loss of the epoch.

        Args:
            epoch: counted from 0.
            logs: of Keras.

        Raises:
            UserError: the loss is NaN or infinite.
        """
        loss = float((logs or {}).get("loss", 0.0))
        if not math.isfinite(loss):
            raise UserError(
                f"The loss of {self.name} should be finite. Received: {loss} "
                f"in epoch {epoch + 1}. Lower the learning rate, raise the "
                "temperature, or lower the weights of the losses."
            )


def check_callbacks(
    callbacks: Sequence[tf.keras.callbacks.Callback],
) -> None:
    """Checks the callbacks of a distiller's `fit`.

    Args:
        callbacks: of Keras.

    Raises:
        UserError: one is no callback, or saves the distiller as a model.
    """
    for callback in callbacks:
        if not isinstance(callback, tf.keras.callbacks.Callback):
            raise UserError(
                "`callbacks` should be Keras callbacks. Received: "
                f"{type(callback).__name__}."
            )
        saves = isinstance(callback, tf.keras.callbacks.ModelCheckpoint)
        if saves and not callback.save_weights_only:
            raise UserError(
                "`ModelCheckpoint` of a distiller should save weights, as a "
                "teacher may be any function. Received: `save_weights_only` = "
                "False. Write ModelCheckpoint(path, save_weights_only=True)."
            )
