"""The chain from a teacher to an exported student, whatever the task."""

from __future__ import annotations

import abc
from collections.abc import Callable
from typing import Any

from kd_tfrs.errors import UserError
from kd_tfrs.workflow.chain import Chain, Made
from kd_tfrs.workflow.choice import Candidate, Choice, chance_of, choose
from kd_tfrs.workflow.forms import FORMS, needed_forms
from kd_tfrs.workflow.run import Run
from kd_tfrs.workflow.training import ERRORS

SHIPPED = "saved_model"


class StudentChain(Chain):
    """Teacher, student, distilled student, its smaller forms, exports.

    Args:
        run: where everything is kept.

    Attributes:
        before_distilling: is called when the teacher is done and the
            distilled student is about to be trained.
    """

    def __init__(self, run: Run) -> None:
        super().__init__(run)
        self.before_distilling: Callable[[], None] = lambda: None

    @property
    @abc.abstractmethod
    def prepared(self) -> Any:
        """Data, split and protocols."""

    @property
    @abc.abstractmethod
    def learner(self) -> Any:
        """Trains the models."""

    @property
    def monitor(self) -> str:
        """The headline metric; it picks epochs and the form that ships."""
        return self.learner.monitor

    @property
    def method_title(self) -> str:
        """The method of distillation in a line; empty where it is plain."""
        return ""

    def make(self, stage: str) -> Made:
        """See `Chain.make`."""
        if stage == "distilled":
            self.before_distilling()
        return super().make(stage)

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
            is_error=self.monitor in ERRORS,
            chance=chance_of(self.monitor),
            asked=self.config.shipping.ship,
        )

    def loss_margin(self, form: str) -> float:
        """The margin of a form's relative loss, see `Candidate`."""
        del form
        return 0.0

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

    def stage_needs(self, stage: str) -> tuple[str, ...]:
        """Needs of the stages that every task has.

        Args:
            stage: a trained one, a form of `FORMS`, or an export.

        Returns:
            Names of stages.
        """
        if stage in ("distilled", "pruned"):
            return {"distilled": ("teacher",), "pruned": ("distilled",)}[stage]
        if stage in FORMS:
            return (FORMS[stage][0],)
        return ()

    def export_needs(self) -> tuple[str, ...]:
        """The forms that an export is chosen from."""
        return needed_forms(self.config.shipping)
