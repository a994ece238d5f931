"""Stages that are done once each, and kept in the run folder."""

from __future__ import annotations

import abc
import dataclasses
import logging
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from kd_tfrs.errors import UserError
from kd_tfrs.workflow.run import Run

logger = logging.getLogger(__name__)
# Stages whose latencies are measured beside the teacher's.
TIMED = ("student", "distilled", "saved_model")
# A row of the stage table, arrays by name, and a dict an epoch.
Made = tuple[dict[str, Any], dict[str, np.ndarray], list[dict[str, float]]]


@dataclasses.dataclass(frozen=True)
class Stage:
    """One step of a run, made once and kept in the run folder.

    Args:
        name: of its row, its files and in `--stages`.
        make: makes it once the stages that it needs are done.
        needs: names of the stages that are done first.
        is_baseline: whether it is a reference beside the chain from the
            teacher to the export.

    Example:
    ```python
    Stage("pruned", make_pruned, needs=("distilled",))
    ```
    """

    name: str
    make: Callable[[], Made]
    needs: tuple[str, ...] = ()
    is_baseline: bool = False


class Chain(abc.ABC):
    """The stages of one run; a stage that is in its folder is read.

    A task gives the list of stages; another compression step or another
    teacher is one more element.

    Args:
        run: where everything is kept.

    Attributes:
        run: the run.
        config: its options.
    """

    def __init__(self, run: Run) -> None:
        self.run = run
        self.config = run.config

    @property
    @abc.abstractmethod
    def stages(self) -> tuple[Stage, ...]:
        """The stages, in the order of the table."""

    @property
    @abc.abstractmethod
    def title(self) -> str:
        """The data in a line."""

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the stages, in the order of the table."""
        return tuple(stage.name for stage in self.stages)

    @property
    def baselines(self) -> tuple[str, ...]:
        """Names of the stages that are baselines."""
        return tuple(stage.name for stage in self.stages if stage.is_baseline)

    def check_stages(self, stages: Sequence[str]) -> None:
        """Checks names of stages.

        Raises:
            UserError: one is no stage of the chain, or there is none.
        """
        unknown = [name for name in stages if name not in self.names]
        if isinstance(stages, str) or unknown or not stages:
            raise UserError(
                f"`stages` should be a list of {', '.join(self.names)}. "
                f"Received: `stages` = {stages!r}."
            )

    def needs(self, stage: str) -> tuple[str, ...]:
        """Names of the stages that are done before one."""
        return self._stage(stage).needs

    def measure_latencies(self, stages: list[str]) -> dict[str, Any]:
        """Times the teacher and some stages in turns; the default times none.

        Args:
            stages: that are done, at least one of `TIMED`.

        Returns:
            "rows" by stage and "warning".
        """
        del stages
        return {"rows": {}, "warning": None}

    def latencies(self) -> dict[str, Any]:
        """Latencies of the stages that are done, measured once.

        Returns:
            "rows" by stage, parts of rows of the stage table, and "warning".
            No rows without a teacher, where no time is given to it, or where
            they cannot be measured; the warning has the reason.
        """
        done = [stage for stage in TIMED if self.is_done(stage)]
        seconds = self.config.evaluation.latency_seconds
        if not (self.is_done("teacher") and done and seconds):
            return {"rows": {}, "warning": None}
        kept = self.run.read_json("stages/latency.json")
        if kept is not None and set(done) <= set(kept["rows"]):
            return kept
        logger.info("latencies of %s", ", ".join(done))
        try:
            found = self.measure_latencies(done)
        except UserError as error:
            # Hours of training should not end without a report.
            warning = f"latencies could not be measured: {error}"
            return {"rows": {}, "warning": warning}
        self.run.write_json("stages/latency.json", found)
        return found

    def result(self, stage: str) -> dict[str, Any]:
        """The row of a stage in `metrics.json`; runs the stage if needed."""
        kept = self.run.read_json(f"stages/{stage}.json")
        if kept is not None:
            return kept
        for needed in self.needs(stage):
            self.result(needed)
        logger.info("stage %s", stage)
        return self._keep(*self._stage(stage).make())

    def rows(self) -> list[dict[str, Any]]:
        """Rows of all stages that are done."""
        return [self.result(s) for s in self.names if self.is_done(s)]

    def is_done(self, stage: str) -> bool:
        """Whether a stage's result is in the folder."""
        return (self.run.directory / "stages" / f"{stage}.json").exists()

    def arrays(self, stage: str) -> dict[str, np.ndarray]:
        """What a finished stage found for each user or example."""
        with np.load(self.run.path("stages", f"{stage}.npz")) as arrays:
            return dict(arrays)

    def history(self, stage: str) -> list[dict[str, float]]:
        """Losses and validation metrics of a stage by epoch."""
        return self.run.read_json(f"stages/{stage}.history.json") or []

    def _stage(self, name: str) -> Stage:
        return next(stage for stage in self.stages if stage.name == name)

    def _keep(
        self,
        row: dict[str, Any],
        arrays: dict[str, np.ndarray],
        history: list[dict[str, float]],
    ) -> dict[str, Any]:
        """Writes the row last: a stage with a row is complete."""
        stage = row["stage"]
        with self.run.path("stages", f"{stage}.npz").open("wb") as file:
            np.savez(file, **arrays)
        self.run.write_json(f"stages/{stage}.history.json", history)
        self.run.write_json(f"stages/{stage}.json", row)
        return row

    def _export_folder(self, name: str) -> Path:
        """Where the versions of an export are."""
        base_dir = self.run.path("export", name)
        # The run is locked: what lies about here was left by a kill.
        for leftover in base_dir.glob(".partial-*"):
            shutil.rmtree(leftover)
        return base_dir
