"""How the models of a run are trained, distilled and compressed."""

from __future__ import annotations

import abc
from collections.abc import Sequence
from typing import Any, ClassVar, Protocol

import numpy as np
import tensorflow as tf

from kd_tfrs.compression.pruning import copy
from kd_tfrs.distillation.base_distiller import BaseDistiller
from kd_tfrs.errors import UserError
from kd_tfrs.evaluation.lead import chance_of, is_error
from kd_tfrs.workflow.choice import loss_margin, relative_loss
from kd_tfrs.workflow.compression_options import FORMS
from kd_tfrs.workflow.given import Given
from kd_tfrs.workflow.run import Run
from kd_tfrs.workflow.training import (
    Batches,
    Guard,
    Learned,
    Progress,
    Training,
    Validate,
    Watch,
    build_optimizer,
    get_weights,
    set_weights,
)

# The student alone, then what is distilled; their order gives their seeds.
STUDENTS = ("student", *(n for n, form in FORMS.items() if form.is_trained))


class PreparedData(Protocol):
    """Data that are split and ready for training."""

    @property
    def title(self) -> str:
        """The data set in one line."""

    def fingerprint(self) -> str:
        """A hash of the data."""


class Learner(abc.ABC):
    """Trains the models of a run, without the test data.

    A task defines how a model is built, distilled and validated.

    Args:
        run: keeps checkpoints and weights.
        prepared: data, split and protocols.
        given: models of a program, see `Given`.

    Raises:
        UserError: an option does not fit the data.

    Attributes:
        config: options of the run.
        monitor: the validation metric that selects an epoch.
    """

    # Of the seed of the first network that teaches.
    first_teacher: ClassVar[int] = 0
    config: Any
    monitor: str

    def __init__(
        self, run: Run, prepared: Any, given: Given | None = None
    ) -> None:
        self.run = run
        self.config = run.config
        self.prepared = prepared
        self.given = given or Given(prepared)

    @property
    def teachers(self) -> Sequence[str]:
        """Stages of the networks that are the teacher."""
        return ("teacher",)

    @property
    def assistants(self) -> tuple[str, ...]:
        """Stages between teacher and student, see `--distillation_chain`."""
        chain = self.config.distillation.chain
        return tuple(f"assistant_{i}" for i in range(len(chain)))

    def width_of(self, assistant: str) -> int:
        """The width of an assistant, see `--distillation_chain`."""
        chain = self.config.distillation.chain
        return chain[self.assistants.index(assistant)]

    def train(self, stage: str, watch: Watch | None = None) -> Learned:
        """Trains a stage, from the start or from where it was stopped.

        Args:
            stage: one of `teachers` or `STUDENTS`; "distilled" needs the
                weights of all teachers in the run folder, a compressed form
                those of the distilled student as well.
            watch: called with the validation metrics of every epoch; an
                exception from it ends the training.

        Returns:
            The model at its best epoch, and the progress of its training.
        """
        if stage in self.given.teachers:
            return self.given.teachers[stage], Progress()
        if self.compresses(stage):
            return FORMS[stage].compress(self, watch)
        self.make_teachers(stage)
        batches = self.batches(stage, self.config.seed)
        tf.keras.utils.set_random_seed(self.seed_of(stage))
        model = self._new(stage, batches.steps_per_epoch)
        model = self.initialised(stage, model, batches)
        progress = self.fit(stage, stage, model, batches, watch)
        return self.finished(model, batches), progress

    def save(self, stage: str, model: Any) -> None:
        """Writes the weights of a stage to the run folder."""
        self.run.save_weights(stage, get_weights(model))

    def load(self, stage: str) -> Any:
        """Builds the model of a stage with its saved weights.

        Args:
            stage: see `train`.

        Returns:
            A compiled model.

        Raises:
            UserError: the stage has not been done.
        """
        if stage in self.given.teachers:
            return self.given.teachers[stage]
        weights = self.run.load_weights(stage)
        if weights is None:
            raise UserError(
                f"The stage {stage} should be done first. Received: no "
                f"weights of it in {self.run.directory}."
            )
        model = self._new(stage, 1)
        set_weights(model, weights)
        return model

    def _new(self, stage: str, steps_per_epoch: int) -> Any:
        """The compiled model of a stage, as its training starts."""
        if not self.copies_student(stage):
            return self.build(stage, steps_per_epoch)
        student = self.given.student
        model = student.with_networks(*map(copy, student.networks))
        optimizer = build_optimizer(self.training(stage), steps_per_epoch)
        model.compile(optimizer=optimizer)
        return model

    def copies_student(self, stage: str) -> bool:
        """Whether a stage trains a copy of the student of a program."""
        others = (*self.teachers, *self.assistants)
        return self.given.student is not None and stage not in others

    def assistant(self, stage: str) -> Any:
        """Loads an assistant, which is trained first where it has to be."""
        if self.run.load_weights(stage) is None:
            model, _ = self.train(stage)
            self.save(stage, model)
        return self.load(stage)

    def distils(self, stage: str) -> bool:
        """Whether a stage is trained with a teacher."""
        return stage != "student" and stage not in self.teachers

    def compresses(self, stage: str) -> bool:
        """Whether a stage starts from the distilled student."""
        return stage in FORMS and FORMS[stage].compress is not None

    def taught_by(self, stage: str) -> str:
        """Returns "teacher", or the assistant that teaches a stage."""
        before = ("teacher", *self.assistants)
        if stage in self.assistants:
            return before[self.assistants.index(stage)]
        return before[-1]

    def training(self, stage: str) -> Any:
        """Options of the training of a stage."""
        if stage in self.teachers:
            return self.config.teacher
        config = self.config
        return config.distilled if self.distils(stage) else config.student

    def seed_of(self, stage: str) -> int:
        """The same seed whether the stages before were read or trained."""
        starts = {
            self.first_teacher: self.teachers,
            1: STUDENTS,
            100: self.assistants,
        }
        number = next(
            start + list(names).index(stage)
            for start, names in starts.items()
            if stage in names
        )
        return 1000 * self.config.seed + number

    def fit(
        self,
        name: str,
        stage: str,
        model: Any,
        batches: Batches,
        watch: Watch | None,
        *,
        options: Any = None,
        keeps_last: bool = False,
        callbacks: Sequence[tf.keras.callbacks.Callback] = (),
    ) -> Progress:
        """Trains a model in place, from where it was stopped.

        Args:
            name: folder of the training.
            stage: see `train`.
            model: as its training starts.
            batches: training batches.
            watch: see `train`.
            options: options of the training; those of the stage when `None`.
            keeps_last: whether the last epoch is kept instead of the best.
            callbacks: more Keras callbacks.

        Returns:
            The progress of the training.
        """
        options = options or self.training(stage)
        trained, join = model, None
        if self.distils(stage):
            trained = self._distiller(stage, model, batches, options.epochs)
            steps = batches.steps_per_epoch
            trained.compile(optimizer=build_optimizer(options, steps))
            join = trained.join
        monitor, guard = (None, None) if keeps_last else self._selection(stage)
        validate = self._validator(stage, model, batches)

        def validate_and_watch() -> dict[str, float]:
            metrics = validate()
            if watch is not None:
                watch(metrics)
            return metrics

        return Training(
            trained,
            model,
            self.run.path("training", name),
            monitor,
            name,
            self.config.evaluation.validate_every,
            guard,
        ).fit(
            batches,
            validate_and_watch,
            epochs=options.epochs,
            patience=options.patience,
            join=join,
            callbacks=callbacks,
        )

    def loss(self, values: np.ndarray, reference: np.ndarray) -> float:
        """Relative loss of `validation_values`, with its margin."""
        lost = relative_loss(
            values.mean(),
            reference.mean(),
            is_error=is_error(self.monitor),
            chance=chance_of(self.monitor),
        )
        return lost + loss_margin(reference, values)

    def _selection(self, stage: str) -> tuple[str, Guard | None]:
        """The metric that selects an epoch of a stage, and its guard."""
        del stage
        return self.monitor, None

    @abc.abstractmethod
    def make_teachers(self, stage: str) -> None:
        """Trains or loads what teaches a stage, before its seed is set."""

    @abc.abstractmethod
    def batches(self, stage: str, seed: int) -> Batches:
        """Training batches of a stage."""

    @abc.abstractmethod
    def build(self, stage: str, steps_per_epoch: int) -> Any:
        """Builds the compiled model of a stage, with new weights."""

    def initialised(self, stage: str, model: Any, batches: Batches) -> Any:
        """Returns the model that the training of a stage starts from."""
        del stage, batches
        return model

    def finished(self, model: Any, batches: Batches) -> Any:
        """Returns a trained model as it is served."""
        del batches
        return model

    @abc.abstractmethod
    def _distiller(
        self, stage: str, student: Any, batches: Batches, epochs: int
    ) -> BaseDistiller:
        """Builds the distiller of a stage, which is not compiled."""

    @abc.abstractmethod
    def _validator(self, stage: str, model: Any, batches: Batches) -> Validate:
        """Returns what validates a model while it is trained."""

    @abc.abstractmethod
    def validation_values(self, stage: str, model: Any) -> np.ndarray:
        """`[n]` validation values of `monitor`, by user or of all rows."""
