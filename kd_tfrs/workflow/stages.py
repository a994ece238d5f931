"""The chain: teacher, student, distilled, pruned, exported; each measured."""

from __future__ import annotations

import logging
import shutil
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from kd_tfrs.evaluation import SavedModelScorer
from kd_tfrs.export import export_saved_model, verify_export
from kd_tfrs.models import RetrievalModel
from kd_tfrs.workflow import measure
from kd_tfrs.workflow.learner import MODELS, Learner
from kd_tfrs.workflow.prepare import Prepared, prepare
from kd_tfrs.workflow.run import Run

logger = logging.getLogger(__name__)
STAGES = (*MODELS, "saved_model")
# What has to be done before, when only some stages are asked for.
_NEEDS = {"distilled": "teacher", "pruned": "distilled"}
_VERIFIED_USERS = 200


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

    def _measure(
        self, stage: str, model: RetrievalModel
    ) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        prepared, evaluation = self.prepared, self.config.evaluation
        encoded = self.learner.encoded(stage)
        embedded = measure.embed(model, encoded, prepared)
        module = measure.serving_module(
            model, encoded, embedded, prepared, evaluation.top_k
        )
        metrics, per_user = measure.quality(embedded.scorer(prepared), prepared)
        row = {
            "stage": stage,
            "metrics": metrics,
            **measure.parameters(model),
            **measure.module_size(module, self.run.path("sizes", stage)),
            "latency_ms": measure.latency(
                module.signatures()["serving_default"],
                prepared.test.users,
                evaluation.latency_repeats,
            ),
        }
        return row, per_user

    def _export(self) -> dict[str, Any]:
        pruned, evaluation = self.result("pruned"), self.config.evaluation
        version = self._export_pruned()
        scorer = SavedModelScorer(version)
        metrics, per_user = measure.quality(scorer, self.prepared)
        loaded = tf.saved_model.load(str(version))
        row = {
            "stage": "saved_model",
            "metrics": metrics,
            "parameters": pruned["parameters"],
            "nonzero_parameters": pruned["nonzero_parameters"],
            **measure.folder_size(version),
            "latency_ms": measure.latency(
                loaded.signatures["serving_default"],
                self.prepared.test.users,
                evaluation.latency_repeats,
            ),
            "train_seconds": 0.0,
        }
        return self._keep(row, per_user, [])

    def _export_pruned(self) -> Path:
        prepared, encoded = self.prepared, self.learner.encoded("pruned")
        model = self.model("pruned")
        embedded = measure.embed(model, encoded, prepared)

        def verify(path: Path) -> None:
            parity = verify_export(
                path,
                embedded.scorer(prepared),
                prepared.test.users[:_VERIFIED_USERS],
                k=min(100, prepared.catalogue.num_items),
            )
            logger.info("verified before it is put in place: %s", parity)

        base_dir = self.run.path("export", "retrieval")
        # The run is locked: what lies about here was left by a kill.
        for leftover in base_dir.glob(".partial-*"):
            shutil.rmtree(leftover)
        return export_saved_model(
            measure.serving_module(
                model, encoded, embedded, prepared, self.config.evaluation.top_k
            ),
            base_dir,
            verify=verify,
            items=prepared.catalogue.items,
        )

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
