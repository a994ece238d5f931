"""Early stopping on the distillation loss."""

from __future__ import annotations

import tensorflow as tf

from kd_tfrs.errors import UserError


class DistillationEarlyStopping(tf.keras.callbacks.EarlyStopping):
    """Stops when the distillation loss of the validation rows stops falling.

    It monitors the weighted sum of all terms without the student's own loss,
    so that validation needs the teacher and no labels. Fit with
    `validation_data`.

    Args:
        patience: epochs without a decrease before training stops.
        min_delta: the smallest decrease that counts, at least 0.
        restore_best_weights: restore the weights of the best epoch, also when
            all epochs have run.
        verbose: see `tf.keras.callbacks.EarlyStopping`.

    Example:
    ```python
    distiller.fit(
        batches.dataset(epochs),
        validation_data=validation.in_order(),
        callbacks=[DistillationEarlyStopping(patience=2)],
    )
    ```

    References:
        Zhu et al. 2020, "Ensembled CTR Prediction via Knowledge
        Distillation", for early stopping by the distillation loss.
    """

    def __init__(
        self,
        patience: int = 2,
        min_delta: float = 0.0,
        restore_best_weights: bool = True,
        verbose: int = 0,
    ) -> None:
        super().__init__(
            monitor="val_distillation_loss",
            min_delta=min_delta,
            patience=patience,
            mode="min",
            restore_best_weights=restore_best_weights,
            verbose=verbose,
        )

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        """Adds `val_distillation_loss` to the logs and monitors it.

        Args:
            epoch: counted from 0.
            logs: of the epoch.

        Raises:
            UserError: there was no validation.
        """
        logs = {} if logs is None else logs
        if "val_loss" not in logs:
            raise UserError(
                "`DistillationEarlyStopping` needs validation logs after "
                f"every epoch. Received: {sorted(logs)}. Call `fit` with "
                "`validation_data` and its default `validation_freq`."
            )
        logs[self.monitor] = self.model.distillation_loss(logs, "val_")
        super().on_epoch_end(epoch, logs)

    def on_train_end(self, logs: dict | None = None) -> None:
        """Restores the best weights where training was not stopped, too.

        Args:
            logs: of the last epoch.
        """
        super().on_train_end(logs)
        if self.restore_best_weights and self.best_weights is not None:
            self.model.set_weights(self.best_weights)
