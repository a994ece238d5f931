"""The chain: teacher, student, distilled, pruned, exported; each measured."""

from __future__ import annotations

import logging
from functools import cached_property
from pathlib import Path

import numpy as np

from kd_tfrs.models import RetrievalModel
from kd_tfrs.workflow import measure
from kd_tfrs.workflow.chain import Chain, Made
from kd_tfrs.workflow.exporting import export_model
from kd_tfrs.workflow.learner import MODELS, Learner
from kd_tfrs.workflow.prepare import Prepared, prepare

logger = logging.getLogger(__name__)
STAGES = (*MODELS, "saved_model")
# What has to be done before, when only some stages are asked for.
_NEEDS = {
    "distilled": ("teacher",),
    "pruned": ("distilled",),
    "saved_model": ("pruned",),
}


class Stages(Chain):
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

    @property
    def names(self) -> tuple[str, ...]:
        """See `Chain.names`."""
        return STAGES

    @property
    def title(self) -> str:
        """See `Chain.title`."""
        return f"{self.prepared.interactions.name}: {self.prepared.split}"

    def needs(self, stage: str) -> tuple[str, ...]:
        """See `Chain.needs`."""
        return _NEEDS.get(stage, ())

    def make(self, stage: str) -> Made:
        """See `Chain.make`."""
        if stage == "saved_model":
            return self._export()
        model, progress = self.learner.train(stage)
        self.learner.save(stage, model)
        row, per_user = self._measure(stage, model)
        row["train_seconds"] = progress.seconds
        return row, per_user, progress.history

    def model(self, stage: str) -> RetrievalModel:
        """The trained model of a stage, with its weights."""
        self.result(stage)
        return self.learner.load(stage)

    def per_user(self, stage: str) -> dict[str, np.ndarray]:
        """Test metrics of a finished stage by user, `[users]` each."""
        return self.arrays(stage)

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

    def _export(self) -> Made:
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
        return row, per_user, []

    def _export_pruned(self) -> Path:
        version, parity = export_model(
            self.model("pruned"),
            self.learner.encoded("pruned"),
            self.prepared,
            self._export_folder("retrieval"),
            top_k=self.config.evaluation.top_k,
        )
        logger.info("verified before it was put in place: %s", parity)
        return version
