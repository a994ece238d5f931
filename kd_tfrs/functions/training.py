"""`kd.fit`, `kd.evaluate` and `kd.prune`."""

from __future__ import annotations

import numbers
from collections.abc import Sequence
from typing import Any

import tensorflow as tf
import tensorflow_model_optimization as tfmot
from tqdm.auto import tqdm

from kd_tfrs.compression import prunable, pruning_schedule, strip
from kd_tfrs.distillation.base_distiller import BaseDistiller
from kd_tfrs.distillation.losses.checks import check_count
from kd_tfrs.errors import UserError
from kd_tfrs.evaluation.ranking.protocol import RankingResult
from kd_tfrs.evaluation.retrieval.protocol import Result
from kd_tfrs.functions.preparing import functions_of
from kd_tfrs.models import LazyAdam
from kd_tfrs.workflow.ranking.prepare import RankingPrepared
from kd_tfrs.workflow.retrieval.prepare import Prepared
from kd_tfrs.workflow.stored_model import StoredModel


def fit(
    model: tf.keras.Model,
    data: Prepared | RankingPrepared,
    *,
    epochs: int,
    callbacks: Sequence[tf.keras.callbacks.Callback] = (),
    seed: int = 0,
    progress: bool = True,
    **options: Any,
) -> tf.keras.callbacks.History:
    """Trains a model alone or with a teacher, validated after every epoch.

    Args:
        model: a compiled model or distiller.
        data: see `kd.split`.
        epochs: how many, at least 1.
        callbacks: of Keras; they may watch the validation metrics, such as
            "ndcg@10" and "recall@50", or "auc" and "log_loss".
        seed: of shuffles and draws.
        progress: show a progress bar.
        **options: `batch_size`; for retrieval also `uniform_negatives`.

    Returns:
        Keras's history, with losses and validation metrics by epoch.

    Raises:
        UserError: the model is not compiled, does not fit the data, or
            diverges; an option is unknown.

    Example:
    ```python
    stop = tf.keras.callbacks.EarlyStopping(
        "ndcg@20", patience=3, mode="max", restore_best_weights=True
    )
    history = kd.fit(distiller, data, epochs=20, callbacks=[stop])
    ```
    """
    functions = functions_of(data)
    check_count("epochs", epochs)
    check_count("seed", seed, 0)
    functions.check_model(model)
    if getattr(model, "optimizer", None) is None:
        raise UserError(
            "`model` should be compiled. Received: "
            f"{type(model).__name__} without an optimizer. Write "
            "model.compile(optimizer=kd.LazyAdam(0.01))."
        )
    distils = isinstance(model, BaseDistiller)
    batches = functions.batches(model, seed, options)
    validate = functions.validator(model.student if distils else model)
    steps = batches.steps_per_epoch

    def validated(epoch: int, logs: dict[str, float]) -> None:
        # Callbacks behind this one may watch the validation metrics.
        del epoch
        logs.update(validate())

    with tqdm(total=epochs * steps, unit="step", disable=not progress) as bar:
        watcher = tf.keras.callbacks.LambdaCallback(
            on_epoch_end=validated,
            on_batch_end=lambda batch, logs: bar.update(),
        )
        return model.fit(
            batches.dataset(epochs, **_joined(model)),
            epochs=epochs,
            steps_per_epoch=steps,
            callbacks=[watcher, *tf.nest.flatten(callbacks)],
            verbose=0,
        )


def _joined(model: tf.keras.Model) -> dict[str, Any]:
    join = getattr(model, "join", None)
    return {} if join is None else {"join": join}


def evaluate(
    model: Any, data: Prepared | RankingPrepared, *, label: str | None = None
) -> Result | RankingResult:
    """Measures a model on the test events.

    Args:
        model: a model, a distiller (its student), a teacher, what
            `kd.quantize` returns, or the path of an export.
        data: see `kd.split`.
        label: of ranking, which of several; the first when `None`.

    Returns:
        An object with `metrics` by name and `per_user` values.

    Raises:
        UserError: the model does not fit the data.

    Example:
    ```python
    kd.evaluate("models/films", data).metrics["ndcg@20"]
    ```
    """
    return functions_of(data).evaluate(model, label)


def prune(
    model: tf.keras.Model,
    data: Prepared | RankingPrepared,
    *,
    sparsity: float = 0.5,
    epochs: int = 4,
    learning_rate: float = 0.01,
    schedule: str = "polynomial",
    seed: int = 0,
    progress: bool = True,
    **options: Any,
) -> Any:
    """Trains a copy of a model while its smallest weights become zero.

    Args:
        model: a trained model, which is then trained on the labels, or its
            distiller, whose teacher and losses are used. It does not change.
        data: see `kd.split`.
        sparsity: share of zeros in every table and kernel, in (0, 1).
        epochs: of the training.
        learning_rate: of the training, which decays to 0 by a cosine.
        schedule: "polynomial" or "constant".
        seed: of shuffles and draws.
        progress: show a progress bar.
        **options: see `kd.fit`.

    Returns:
        The pruned student.

    Raises:
        UserError: a network is no Functional or Sequential model.

    Example:
    ```python
    small = kd.quantize(kd.prune(distiller, data, sparsity=0.25))
    ```
    """
    check_count("epochs", epochs)
    check_count("seed", seed, 0)
    if isinstance(model, StoredModel):
        raise UserError(
            "`model` should be pruned before it is quantized. Received: what "
            "kd.quantize returned. Write kd.quantize(kd.prune(model, data))."
        )
    if isinstance(learning_rate, bool) or not (
        isinstance(learning_rate, numbers.Real) and learning_rate > 0
    ):
        raise UserError(
            "`learning_rate` should be a positive number. Received: "
            f"`learning_rate` = {learning_rate!r}."
        )
    if not (isinstance(sparsity, numbers.Real) and 0 < sparsity < 1):
        raise UserError(
            "`sparsity` should lie in (0, 1). Received: `sparsity` = "
            f"{sparsity!r}. Give a share such as 0.5."
        )
    distils = isinstance(model, BaseDistiller)
    student = model.student if distils else model
    _check_networks(student)
    functions_of(data).check_model(student)
    batches = functions_of(data).batches(model, seed, options)
    steps = epochs * batches.steps_per_epoch
    decay = pruning_schedule(schedule, sparsity, steps)
    pruned = student.with_networks(
        *(prunable(network, decay) for network in student.networks)
    )
    trained = model.with_student(pruned) if distils else pruned
    rate = tf.keras.optimizers.schedules.CosineDecay(learning_rate, steps)
    trained.compile(optimizer=LazyAdam(rate))
    fit(
        trained,
        data,
        epochs=epochs,
        callbacks=[tfmot.sparsity.keras.UpdatePruningStep()],
        seed=seed,
        progress=progress,
        **options,
    )
    return pruned.with_networks(
        *(strip(network, sparsity) for network in pruned.networks)
    )


def _check_networks(student: tf.keras.Model) -> None:
    networks = getattr(student, "networks", None)
    if networks is None:
        raise UserError(
            "`model` should be a RetrievalModel, a RankingModel or its "
            f"distiller. Received: {type(student).__name__}."
        )
    subclassed = [
        network
        for network in networks
        if not getattr(network, "_is_graph_network", False)
    ]
    if subclassed:
        raise UserError(
            "The networks of a pruned model should be Functional or "
            "Sequential, since TFMOT cannot wrap the layers of a subclass. "
            f"Received: {type(subclassed[0]).__name__}. Rebuild it as "
            "tf.keras.Model(inputs, outputs) and copy its weights, or build "
            "the student by kd.build_model."
        )
