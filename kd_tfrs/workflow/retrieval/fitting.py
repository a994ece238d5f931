"""Keras's own `fit`, with the data and the ranking metrics put in."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf
from tqdm.auto import tqdm

from kd_tfrs.distillation.retrieval import Distiller
from kd_tfrs.models.retrieval import RetrievalModel
from kd_tfrs.workflow.retrieval import measure
from kd_tfrs.workflow.retrieval.config import TrainOptions
from kd_tfrs.workflow.retrieval.prepare import Encoded, Prepared

History = list[dict[str, float]]


def fit(
    model: RetrievalModel | Distiller,
    prepared: Prepared,
    encoded: Encoded,
    *,
    epochs: int,
    options: TrainOptions | None = None,
    callbacks: Sequence[tf.keras.callbacks.Callback] = (),
    seed: int = 0,
    progress: bool = True,
) -> History:
    """Trains a model alone or with a teacher, validated after every epoch.

    For a notebook: the experiments go on after a kill and keep their best
    epoch, see `kd_tfrs.workflow.training`.

    Args:
        model: compiled.
        prepared: gives the training events and the validation.
        encoded: the student's features.
        epochs: how many.
        options: batch size and uniform negatives; the defaults when `None`.
        callbacks: of Keras; they may watch the validation metrics.
        seed: of shuffles and draws.
        progress: show a progress bar.

    Returns:
        A dict an epoch with losses and validation metrics, as `plot_curves`
        takes it.

    Example:
    ```python
    stop = tf.keras.callbacks.EarlyStopping(
        "ndcg@20", patience=3, mode="max", restore_best_weights=True
    )
    history = fit(distiller, prepared, encoded, epochs=20, callbacks=[stop])
    ```
    """
    distils = isinstance(model, Distiller)
    student = model.student if distils else model
    validation = Validation(student, encoded, prepared)
    batches = prepared.batches(encoded, options, seed)
    steps = batches.steps_per_epoch
    with tqdm(total=epochs * steps, unit="step", disable=not progress) as bar:
        tick = tf.keras.callbacks.LambdaCallback(
            on_batch_end=lambda batch, logs: bar.update()
        )
        model.fit(
            batches.dataset(epochs, join=model.join if distils else None),
            epochs=epochs,
            steps_per_epoch=steps,
            callbacks=[tick, validation, *callbacks],
            verbose=0,
        )
    return validation.history


class Validation(tf.keras.callbacks.Callback):
    """Adds validation metrics to the logs of every epoch.

    Callbacks behind it in the list may watch them.

    Args:
        model: the student, or a model that trains alone.
        encoded: its features.
        prepared: for the protocol.

    Attributes:
        history: a dict an epoch, as `plot_curves` takes it.

    Example:
    ```python
    distiller.fit(dataset, callbacks=[Validation(student, encoded, prepared)])
    ```
    """

    def __init__(
        self, model: RetrievalModel, encoded: Encoded, prepared: Prepared
    ) -> None:
        super().__init__()
        self.history: History = []
        # Keras sets `self.model` to what is fitted, which may be a Distiller.
        self._validated = (model, encoded, prepared)

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        """Measures the model as it is.

        Args:
            epoch: counted from 0.
            logs: of the epoch; the metrics are added to it.
        """
        logs = {} if logs is None else logs
        logs.update(measure.validate(*self._validated))
        row = {name: float(value) for name, value in logs.items()}
        self.history.append({"epoch": epoch + 1, **row})
