"""What the workflow needs of a task's data and of its trainings."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from kd_tfrs.workflow.run import Run
from kd_tfrs.workflow.training import Progress


class PreparedData(Protocol):
    """Data that are split and ready for training."""

    @property
    def title(self) -> str:
        """The data set in one line."""

    def fingerprint(self) -> str:
        """A hash of the data."""


class Learner(Protocol):
    """Trains the stages of one run.

    Args:
        run: the run folder.
        prepared: data of the run's seed.
    """

    run: Run
    config: Any
    prepared: Any

    @property
    def monitor(self) -> str:
        """The validation metric that selects an epoch."""

    def train(
        self,
        stage: str,
        watch: Callable[[dict[str, float]], None] | None = None,
    ) -> tuple[Any, Progress]:
        """Trains a stage or resumes it; returns its best model and progress.

        `watch` is called with the metrics of every validation.
        """

    def save(self, stage: str, model: Any) -> None:
        """Writes the weights of a stage."""

    def load(self, stage: str) -> Any:
        """Builds the model of a stage with its saved weights."""


LearnerType = Callable[[Run, Any], Learner]
