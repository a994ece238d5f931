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
) -> tf.keras.callbacks.History:
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
        Keras's history, with losses and validation metrics by epoch;
        `plot_curves` takes it.

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
    if distils:
        catalogue = prepared.catalogue
        model.check_rows(catalogue.num_users + 1, catalogue.num_items)
    batches = prepared.batches(encoded, options, seed)
    steps = batches.steps_per_epoch

    def validate(epoch: int, logs: dict[str, float]) -> None:
        # Callbacks behind this one may watch the validation metrics.
        del epoch
        logs.update(measure.validate(student, encoded, prepared))

    with tqdm(total=epochs * steps, unit="step", disable=not progress) as bar:
        watcher = tf.keras.callbacks.LambdaCallback(
            on_epoch_end=validate,
            on_batch_end=lambda batch, logs: bar.update(),
        )
        return model.fit(
            batches.dataset(epochs, join=model.join if distils else None),
            epochs=epochs,
            steps_per_epoch=steps,
            callbacks=[watcher, *callbacks],
            verbose=0,
        )
