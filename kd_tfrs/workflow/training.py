"""Training that can be killed: a checkpoint an epoch, the best one kept."""

from __future__ import annotations

import dataclasses
import json
import logging
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import tensorflow as tf
from tqdm.auto import tqdm

from kd_tfrs.distillation.callbacks import FiniteLoss
from kd_tfrs.evaluation.lead import is_error
from kd_tfrs.models import LazyAdam
from kd_tfrs.workflow.run import load_weights, save_weights

logger = logging.getLogger(__name__)
# Validation metrics of which less is better.
Validate = Callable[[], dict[str, float]]
Watch = Callable[[dict[str, float]], None]


class Batches(Protocol):
    """Batches of a task, see `RetrievalBatches` and `RankingBatches`."""

    @property
    def steps_per_epoch(self) -> int:
        """Batches of one epoch."""

    def dataset(self, *args: Any, **options: Any) -> tf.data.Dataset:
        """Batches of some epochs."""


@dataclasses.dataclass
class Progress:
    """How far a training is; lives in its checkpoint.

    Args:
        epoch: epochs done.
        best_epoch: the epoch with the best validation, or -1.
        best: its value of the monitored metric, of an error times -1.
        seconds: time spent so far.
        history: one dict an epoch, with losses and validation metrics.
    """

    epoch: int = 0
    best_epoch: int = -1
    best: float = -1.0
    seconds: float = 0.0
    history: list[dict[str, float]] = dataclasses.field(default_factory=list)


# A model and how it was trained.
Learned = tuple[Any, Progress]


@dataclasses.dataclass(frozen=True)
class Guard:
    r"""An error that may not rise while the monitored metric still improves.

    $$e \le (1 + \tau) \min_{e'} e'$$

    A network that overfits goes on ordering better and better while its
    probabilities become worse and worse. An epoch counts as the best one only
    if this error is near the lowest one so far.

    Args:
        metric: a validation metric of which less is better.
        tolerance: $\tau$, at least 0.

    Example:
    >>> rows = [{"log_loss": 0.5}, {"log_loss": 0.4}, {"log_loss": 0.41}]
    >>> [Guard("log_loss", 0.05).allows(row, rows) for row in rows]
    [False, True, True]
    """

    metric: str
    tolerance: float

    def allows(
        self, row: dict[str, float], history: Sequence[dict[str, float]]
    ) -> bool:
        """Whether an epoch may be the best one."""
        values = [e[self.metric] for e in history if self.metric in e]
        if self.metric not in row or not values:
            return True
        return row[self.metric] <= (1 + self.tolerance) * min(values)


def joined(parts: Sequence[Progress]) -> Progress:
    """Trainings that followed one another, as one.

    Args:
        parts: at least one.

    Returns:
        Their epochs in a row, and what they took in all; the best epoch is
        that of the last one.
    """
    history = [row for part in parts for row in part.history]
    return Progress(
        epoch=len(history),
        best_epoch=len(history) - parts[-1].epoch + parts[-1].best_epoch,
        best=parts[-1].best,
        seconds=sum(part.seconds for part in parts),
        history=[{**row, "epoch": i + 1} for i, row in enumerate(history)],
    )


class _SavedProgress(tf.train.experimental.PythonState):
    """Lets the checkpoint hold the progress, so that both are of one epoch."""

    def __init__(self) -> None:
        super().__init__()
        self.value = Progress()

    def serialize(self) -> str:
        return json.dumps(dataclasses.asdict(self.value))

    def deserialize(self, string_value: str) -> None:
        self.value = Progress(**json.loads(string_value))


class Training(tf.keras.callbacks.Callback):
    """Fits a model, validates every epoch, and ends at its best weights.

    Args:
        model: compiled; one of our models, or a `Distiller`.
        student: the model whose networks are kept.
        directory: of checkpoints and TensorBoard events.
        monitor: validation metric to maximise, or to minimise where it is
            an error, or `None` to keep the last epoch (pruning: the best one
            may not be sparse yet).
        name: for the progress bar.
        validate_every: epochs from one validation to the next; the last
            epoch is always validated.
        guard: an error metric that is watched as well, see `Guard`; `None`
            where there is none.

    Example:
    ```python
    training = Training(model, model, "run/student", "ndcg@20", "student")
    progress = training.fit(batches, validate, epochs=40, patience=5)
    ```
    """

    def __init__(
        self,
        model: tf.keras.Model,
        student: tf.keras.Model,
        directory: Path,
        monitor: str | None,
        name: str,
        validate_every: int = 1,
        guard: Guard | None = None,
    ) -> None:
        super().__init__()
        self.model = model
        self.student = student
        self.directory = Path(directory)
        self.directory.mkdir(parents=True, exist_ok=True)
        self.monitor = monitor
        self.name = name
        self.validate_every = validate_every
        self.guard = guard
        self._saved = _SavedProgress()
        self._checkpoint = tf.train.Checkpoint(
            student=student,
            optimizer=model.optimizer,
            progress=self._saved,
            # Layers of losses, their adversaries, moving averages.
            checkpointed=list(getattr(model, "checkpointed", ())),
        )
        self._manager = tf.train.CheckpointManager(
            self._checkpoint, str(self.directory / "checkpoints"), max_to_keep=1
        )
        self._writer = tf.summary.create_file_writer(
            str(self.directory / "tensorboard")
        )

    def fit(
        self,
        batches: Batches,
        validate: Validate,
        *,
        epochs: int,
        patience: int,
        join: Callable | None = None,
        callbacks: Sequence[tf.keras.callbacks.Callback] = (),
    ) -> Progress:
        """Trains, from the start or from where a kill stopped it.

        Args:
            batches: see `RetrievalBatches` and `RankingBatches`.
            validate: measures the student as it is.
            epochs: epochs at most.
            patience: epochs without a better validation before the end.
            join: see `RetrievalBatches.dataset`.
            callbacks: more Keras callbacks.

        Returns:
            What happened. The student's weights are those of the best epoch.
        """
        if self._manager.latest_checkpoint:
            # The optimizer's slots wait for the first step.
            self._checkpoint.restore(
                self._manager.latest_checkpoint
            ).expect_partial()
            logger.info(
                "%s goes on after epoch %d", self.name, self.progress.epoch
            )
        steps = batches.steps_per_epoch
        self._validate, self._limits = validate, (epochs, patience)
        if not self.is_over(epochs, patience):
            with tqdm(
                total=epochs * steps,
                initial=self.progress.epoch * steps,
                desc=self.name,
                unit="step",
                mininterval=0.5,
            ) as self._bar:
                self.model.fit(
                    batches.dataset(epochs, self.progress.epoch, join),
                    initial_epoch=self.progress.epoch,
                    epochs=epochs,
                    steps_per_epoch=steps,
                    callbacks=[*callbacks, self],
                    verbose=0,
                )
        if self.monitor is not None:
            set_weights(self.student, load_weights(self._best_path()))
        return self.progress

    @property
    def progress(self) -> Progress:
        """How far it is."""
        return self._saved.value

    def is_over(self, epochs: int, patience: int) -> bool:
        """Whether there is nothing left to train.

        Args:
            epochs: epochs at most.
            patience: epochs without a better validation before the end.

        Returns:
            The same for a run that was killed here as for one that was not.
        """
        progress = self.progress
        idle = progress.epoch - max(0, progress.best_epoch)
        return progress.epoch >= epochs or idle >= patience

    def end_epoch(self, row: dict[str, float], seconds: float) -> None:
        """Notes an epoch and checkpoints it."""
        progress = self.progress
        progress.epoch += 1
        progress.seconds += seconds
        progress.history.append({"epoch": progress.epoch, **row})
        value = self._value(row)
        if value is not None and self._is_better(value):
            progress.best, progress.best_epoch = value, progress.epoch
            if self.monitor is not None:
                save_weights(self._best_path(), get_weights(self.student))
        with self._writer.as_default(step=progress.epoch):
            for key, scalar in row.items():
                tf.summary.scalar(key, scalar)
        self._writer.flush()
        self._manager.save()
        # Only now does no checkpoint name the older ones.
        for old in self.directory.glob("best-*.npz"):
            if old != self._best_path():
                old.unlink()
        logger.info("%s %s", self.name, progress.history[-1])

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        """Starts the clock of an epoch."""
        del epoch, logs
        self._started = time.perf_counter()

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        """Moves the progress bar."""
        del batch, logs
        self._bar.update()

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        """Validates, checkpoints and stops early."""
        # Training time without validation.
        seconds = time.perf_counter() - self._started
        # Before the epoch is kept: a run goes on from the one before.
        FiniteLoss(self.name).on_epoch_end(epoch, logs)
        row = {k: float(v) for k, v in (logs or {}).items()}
        is_due = (epoch + 1) % self.validate_every == 0
        if is_due or epoch + 1 == self._limits[0]:
            row.update(self._validate())
        self.end_epoch(row, seconds)
        shown = {"loss": f"{row.get('loss', 0.0):.3f}"}
        if self.monitor in row:
            shown[self.monitor] = f"{row[self.monitor]:.4f}"
            shown["best"] = f"{abs(self.progress.best):.4f}"
        self._bar.set_postfix(shown)
        if self.is_over(*self._limits):
            self.model.stop_training = True

    def _is_better(self, value: float) -> bool:
        """Whether the last epoch is the best one so far."""
        progress = self.progress
        if progress.best_epoch < 0:
            return True
        if self.guard is None:
            return value > progress.best
        kept = progress.history[progress.best_epoch - 1]
        if not self.guard.allows(progress.history[-1], progress.history):
            return False
        allowed = self.guard.allows(kept, progress.history)
        return value > progress.best or not allowed

    def _value(self, row: dict[str, float]) -> float | None:
        """What is to be maximised; `None` in an epoch without validation."""
        if self.monitor is None:
            return self.progress.epoch
        value = row.get(self.monitor)
        if value is None or not is_error(self.monitor):
            return value
        return -value

    def _best_path(self) -> Path:
        return self.directory / f"best-{self.progress.best_epoch:05d}.npz"


def build_optimizer(options: Any, steps_per_epoch: int) -> LazyAdam:
    """The optimizer of a training.

    Args:
        options: of the training: `learning_rate` at the start, `epochs`, and
            `decay`, which is "cosine", to zero over all steps, or "constant".
        steps_per_epoch: training steps of an epoch.

    Returns:
        A LazyAdam.
    """
    if options.decay == "constant":
        return LazyAdam(options.learning_rate)
    schedule = tf.keras.optimizers.schedules.CosineDecay(
        options.learning_rate, max(1, options.epochs * steps_per_epoch)
    )
    return LazyAdam(schedule)


def read_progress(directory: Path) -> Progress:
    """How far a training is that was stopped."""
    saved = _SavedProgress()
    latest = tf.train.latest_checkpoint(str(Path(directory) / "checkpoints"))
    if latest:
        checkpoint = tf.train.Checkpoint(progress=saved)
        checkpoint.restore(latest).expect_partial()
    return saved.value


def get_weights(model: tf.keras.Model) -> list[np.ndarray]:
    """Weights of a model's networks, of the query tower first."""
    return [w for network in model.networks for w in network.get_weights()]


def set_weights(model: tf.keras.Model, weights: list[np.ndarray]) -> None:
    """The inverse of `get_weights`."""
    start = 0
    for network in model.networks:
        end = start + len(network.weights)
        network.set_weights(weights[start:end])
        start = end
