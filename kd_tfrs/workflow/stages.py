"""The chain: teacher, student, distilled, pruned, exported; each measured."""

from __future__ import annotations

import logging
import shutil
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from kd_tfrs.models import RetrievalModel
from kd_tfrs.workflow import measure
from kd_tfrs.workflow.exporting import export_model
from kd_tfrs.workflow.learner import MODELS, Learner
from kd_tfrs.workflow.prepare import Prepared, prepare
from kd_tfrs.workflow.run import Run

logger = logging.getLogger(__name__)
STAGES = (*MODELS, "saved_model")
# What has to be done before, when only some stages are asked for.
_NEEDS = {"distilled": "teacher", "pruned": "distilled"}


class Stages:
    """The stages of one run, each done once and kept in the run folder.

    Ask for a stage's result and what it needs is done first. A stage that is
    in the folder already is read, not done again.

    Args:
        run: where everything is kept.

    Example:
    ```python
    stages = Stages(Run("runs/first", Config()))
    print(stages.result("distilled")["metrics"]["ndcg@20"])
    ```
    """

    def __init__(self, run: Run) -> None:
        self.run = run
        self.config = run.config

    @cached_property
    def prepared(self) -> Prepared:
        """Data, split and protocols."""
        config = self.config
        prepared = prepare(config.data, config.evaluation, config.seed)
        self.run.check_data(prepared.interactions.fingerprint())
        return prepared

    @cached_property
    def learner(self) -> Learner:
        """Trains the models."""
        return Learner(self.run, self.prepared)

    def result(self, stage: str) -> dict[str, Any]:
        """What `metrics.json` says of a stage.

        Args:
            stage: one of `STAGES`.

        Returns:
            Its row.
        """
        kept = self.run.read_json(f"stages/{stage}.json")
        if kept is not None:
            return kept
        if stage in _NEEDS:
            self.result(_NEEDS[stage])
        logger.info("stage %s", stage)
        if stage == "saved_model":
            return self._export()
        model, progress = self.learner.train(stage)
        self.learner.save(stage, model)
        row, per_user = self._measure(stage, model)
        row["train_seconds"] = progress.seconds
        return self._keep(row, per_user, progress.history)

    def is_done(self, stage: str) -> bool:
        """Whether a stage's result is in the folder."""
        return (self.run.directory / "stages" / f"{stage}.json").exists()

    def model(self, stage: str) -> RetrievalModel:
        """The trained model of a stage, with its weights."""
        self.result(stage)
        return self.learner.load(stage)

    def per_user(self, stage: str) -> dict[str, np.ndarray]:
        """Test metrics of a finished stage by user, `[users]` each."""
        with np.load(self.run.path("stages", f"{stage}.npz")) as arrays:
            return dict(arrays)

    def history(self, stage: str) -> list[dict[str, float]]:
        """Losses and validation metrics of a stage by epoch."""
        return self.run.read_json(f"stages/{stage}.history.json") or []

    def _measure(self, stage: str, model: RetrievalModel) -> measure.Measured:
        evaluation = self.config.evaluation
        return measure.measure_model(
            stage,
            model,
            self.learner.encoded(stage),
            self.prepared,
            top_k=evaluation.top_k,
            latency_repeats=evaluation.latency_repeats,
        )

    def _export(self) -> dict[str, Any]:
        pruned, evaluation = self.result("pruned"), self.config.evaluation
        row, per_user = measure.measure_export(
            "saved_model",
            self._export_pruned(),
            self.prepared,
            latency_repeats=evaluation.latency_repeats,
        )
        for name in ("parameters", "nonzero_parameters"):
            row[name] = pruned[name]
        row["train_seconds"] = 0.0
        return self._keep(row, per_user, [])

    def _export_pruned(self) -> Path:
        base_dir = self.run.path("export", "retrieval")
        # The run is locked: what lies about here was left by a kill.
        for leftover in base_dir.glob(".partial-*"):
            shutil.rmtree(leftover)
        version, parity = export_model(
            self.model("pruned"),
            self.learner.encoded("pruned"),
            self.prepared,
            base_dir,
            top_k=self.config.evaluation.top_k,
        )
        logger.info("verified before it was put in place: %s", parity)
        return version

    def _keep(
        self,
        row: dict[str, Any],
        per_user: dict[str, np.ndarray],
        history: list[dict[str, float]],
    ) -> dict[str, Any]:
        """Writes the row last: where it stands, all of the stage stands."""
        stage = row["stage"]
        with self.run.path("stages", f"{stage}.npz").open("wb") as file:
            np.savez(file, **per_user)
        self.run.write_json(f"stages/{stage}.history.json", history)
        self.run.write_json(f"stages/{stage}.json", row)
        return row
