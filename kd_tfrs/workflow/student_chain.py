"""The chain from a teacher to an exported student, whatever the task."""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Callable, Sequence
from functools import cached_property, partial
from typing import Any, ClassVar

import numpy as np

from kd_tfrs.errors import UserError
from kd_tfrs.evaluation.lead import chance_of, is_error
from kd_tfrs.workflow.chain import Chain, Made, Stage
from kd_tfrs.workflow.choice import (
    AUTO,
    Candidate,
    Choice,
    choose,
)
from kd_tfrs.workflow.compression_options import FORMS, stored_as
from kd_tfrs.workflow.given import Given
from kd_tfrs.workflow.learner import Learner, PreparedData
from kd_tfrs.workflow.run import Run

SHIPPED = "saved_model"
# What an export has in common with the form that it stores.
_COPIED = ("parameters", "nonzero_parameters")
Measured = tuple[dict[str, Any], dict[str, np.ndarray]]


class StudentChain(Chain):
    """Teacher, student, distilled student, its smaller forms, exports.

    The result of a stage runs what the stage needs first. A stage that is
    in the folder already is read, not done again.

    Args:
        run: where everything is kept.
        given: data and models of a program; `None` where the options of the
            run name them.

    Attributes:
        before_distilling: is called when the teacher is done and the
            distilled student is about to be trained.
        prepare: reads and splits the data.
        learner_type: trains the models.
    """

    prepare: ClassVar[Callable[..., PreparedData]]
    learner_type: ClassVar[type[Learner]]

    def __init__(self, run: Run, given: Given | None = None) -> None:
        super().__init__(run)
        self.given = given
        self.before_distilling: Callable[[], None] = lambda: None

    @cached_property
    def prepared(self) -> Any:
        """Data, split and protocols."""
        config = self.config
        if self.given is not None:
            self.run.check_data(
                self.given.fingerprint(), "data, their split or a given model"
            )
            return self.given.data
        prepared = self.prepare(config.data, config.evaluation, config.seed)
        self.run.check_data(prepared.fingerprint())
        return prepared

    @cached_property
    def learner(self) -> Any:
        """Trains the models."""
        return self.learner_type(self.run, self.prepared, self.given)

    @cached_property
    def stages(self) -> tuple[Stage, ...]:
        """See `Chain.stages`."""
        student = Stage("student", partial(self._trained, "student"))
        forms = [
            Stage(
                name,
                partial(
                    self._trained if form.is_trained else self._stored, name
                ),
                (form.source,),
            )
            for name, form in FORMS.items()
        ]
        ship = self.config.shipping.ship
        needs = dict.fromkeys(FORMS if ship == AUTO else ("distilled", ship))
        exports = [
            Stage(name, partial(self._exported, name, export), tuple(needs))
            for name, export in self.exports().items()
        ]
        baselines = [
            Stage(name, make, (), True)
            for name, make in self.baseline_stages().items()
            if self.config.evaluation.baselines
        ]
        return (
            *baselines,
            *self.teacher_stages(),
            student,
            *forms,
            *exports,
        )

    @abc.abstractmethod
    def baseline_stages(self) -> dict[str, Callable[[], Made]]:
        """Makes of the baselines by stage."""

    def teacher_stages(self) -> Sequence[Stage]:
        """Stages of the teacher."""
        return [Stage("teacher", partial(self._trained, "teacher"))]

    @abc.abstractmethod
    def exports(self) -> dict[str, Callable[[Choice], Measured]]:
        """What exports the form that ships, and measures the export."""

    @abc.abstractmethod
    def measure(self, stage: str, model: Any) -> Measured:
        """Measures a stage."""

    @property
    def title(self) -> str:
        """See `Chain.title`."""
        return self.prepared.title

    @property
    def monitor(self) -> str:
        """The headline metric; it picks epochs and the form that ships."""
        return self.learner.monitor

    @property
    def method_title(self) -> str:
        """The method of distillation in a line; empty where it is plain."""
        return ""

    def start(self) -> None:
        """Finds mistakes in the options before anything is trained."""
        self.learner  # noqa: B018

    @property
    def choice(self) -> Choice:
        """The form that ships, by validation values alone.

        Forms that are not done yet are made.
        """
        return choose(
            [self._candidate(form) for form in self.needs(SHIPPED)],
            max_loss=self.config.shipping.max_loss,
            metric=self.monitor,
            is_error=is_error(self.monitor),
            chance=chance_of(self.monitor),
            ship=self.config.shipping.ship,
        )

    def loss_margin(self, form: str) -> float:
        """The margin of a form's relative loss, see `Candidate`."""
        del form
        return 0.0

    def shipped_stage(self, stage: str) -> str:
        """The form that an export stores; any other stage as it is."""
        if stage != SHIPPED:
            return stage
        return self.result(stage)["choice"]["name"]

    def _candidate(self, form: str) -> Candidate:
        row = self.result(form)
        value = row.get("validation", {}).get(self.monitor)
        if value is None:
            raise UserError(
                f"The stage {form} should hold the validation {self.monitor}. "
                f"Received: a row with {sorted(row)}. It is of an older "
                "version: give another `--run_dir`."
            )
        margin = self.loss_margin(form)
        return Candidate(form, value, row["model_bytes"], margin)

    def _trained(self, stage: str) -> Made:
        if stage == "distilled":
            self.before_distilling()
        model, progress = self.learner.train(stage)
        self.learner.save(stage, model)
        row, arrays = self.measure(stage, model)
        row["train_seconds"] = progress.seconds
        return row, arrays, progress.history

    def _stored(self, stage: str) -> Made:
        """Another way to store a model that is there already."""
        model = self.learner.load(stored_as(stage)[0])
        row, arrays = self.measure(stage, model)
        return {**row, "train_seconds": 0.0}, arrays, []

    def _exported(
        self, stage: str, export: Callable[[Choice], Measured]
    ) -> Made:
        choice = self.choice
        row, arrays = export(choice)
        shipped = self.result(choice.name)
        row |= {name: shipped[name] for name in _COPIED}
        if stage == SHIPPED:
            # Others, such as LiteRT files, store weights in their own way.
            row["model_bytes"] = shipped["model_bytes"]
        row |= {"choice": dataclasses.asdict(choice), "train_seconds": 0.0}
        return row, arrays, []
