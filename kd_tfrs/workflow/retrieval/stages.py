"""The stages of a retrieval run."""

from __future__ import annotations

import dataclasses
import logging
import math
from collections.abc import Callable
from typing import Any

from kd_tfrs.evaluation.retrieval import AlsScorer, PopularityScorer
from kd_tfrs.models.retrieval import RetrievalModel
from kd_tfrs.workflow.chain import Made
from kd_tfrs.workflow.choice import Choice, loss_margin
from kd_tfrs.workflow.compression_options import stored_as
from kd_tfrs.workflow.retrieval import measure
from kd_tfrs.workflow.retrieval.exporting import export_model
from kd_tfrs.workflow.retrieval.latencies import measure_latencies
from kd_tfrs.workflow.retrieval.learner import Learner
from kd_tfrs.workflow.retrieval.prepare import prepare
from kd_tfrs.workflow.student_chain import Measured, StudentChain

logger = logging.getLogger(__name__)


class Stages(StudentChain):
    """The stages of a retrieval run, see `StudentChain`.

    Args:
        run: where everything is kept.

    Example:
    ```python
    stages = Stages(Run("runs/first", Config()))
    print(stages.result("distilled")["metrics"]["ndcg@20"])
    ```
    """

    prepare = staticmethod(prepare)
    learner_type = Learner

    def baseline_stages(self) -> dict[str, Callable[[], Made]]:
        """See `StudentChain.baseline_stages`."""
        return {"popularity": self._popularity, "als": self._als}

    def exports(self) -> dict[str, Callable[[Choice], Measured]]:
        """See `StudentChain.exports`."""
        return {"saved_model": self._saved_model}

    @property
    def method_title(self) -> str:
        """See `StudentChain.method_title`."""
        return f"distillation: {self.learner.method}"

    def loss_margin(self, form: str) -> float:
        """See `StudentChain.loss_margin`; over the validation users."""
        name = measure.VALIDATION + self.monitor
        values = (self.arrays(stage)[name] for stage in ("distilled", form))
        return loss_margin(*values)

    def _popularity(self) -> Made:
        prepared = self.prepared
        scorer = PopularityScorer(
            prepared.split.train,
            prepared.catalogue.item_ids,
            item_col=prepared.catalogue.item_column,
        )
        return *measure.measure_scorer("popularity", scorer, prepared), []

    def _als(self) -> Made:
        prepared = self.prepared
        scorer = AlsScorer(
            prepared.split.train,
            prepared.catalogue.item_ids,
            seed=self.config.seed,
            user_col=prepared.catalogue.user_column,
            item_col=prepared.catalogue.item_column,
        )
        return *measure.measure_scorer("als", scorer, prepared), []

    @property
    def label_warning(self) -> str | None:
        """Whether ratings of any height count as positive."""
        data = self.config.data
        label = self.prepared.interactions.schema.label
        cleaned = self.prepared.interactions.report
        # Every event of the embedded data is one that the user chose.
        is_cut = data.min_label is not None or cleaned.below_min_label
        if label is None or is_cut:
            return None
        if data.dataset == "synthetic":
            return None
        labels = self.prepared.split.train[label]
        low, high = float(labels.min()), float(labels.max())
        if low == high:
            return None
        middle = math.ceil((low + high) / 2 + 0.5)
        return (
            f"every event counts as positive, whatever its {label} "
            f"({low:g} to {high:g}); --min_label={middle} leaves out those "
            "below"
        )

    def measure_latencies(self, stages: list[str]) -> dict[str, Any]:
        """See `Chain.measure_latencies`."""
        options = self.config.evaluation
        return measure_latencies(
            {stage: self.embedded(stage) for stage in ("teacher", *stages)},
            self.prepared,
            reference="teacher",
            top_k=options.top_k,
            seconds=options.latency_seconds,
        )

    def embedded(self, stage: str) -> measure.Embedded:
        """Embeddings of a finished stage, as they are stored."""
        source, storage = stored_as(self.shipped_stage(stage))
        embedded = measure.embed(
            self.learner.load(source),
            self.learner.encoded(source),
            self.prepared,
        )
        return embedded.stored(storage)

    def model(self, stage: str) -> RetrievalModel:
        """The trained model of a stage, with its weights."""
        self.result(stage)
        return self.learner.load(stage)

    def measure(self, stage: str, model: RetrievalModel) -> Measured:
        """See `StudentChain.measure`."""
        source, storage = stored_as(stage)
        row, per_user = measure.measure_model(
            stage,
            model,
            self.learner.encoded(source),
            self.prepared,
            storage=storage,
            top_k=self.config.evaluation.top_k,
        )
        if self.learner.compresses(stage):
            share = row["nonzero_parameters"] / row["parameters"]
            row["sparsity"] = 1.0 - share
        return row, per_user

    def _saved_model(self, choice: Choice) -> Measured:
        source, storage = stored_as(choice.name)
        version, parity = export_model(
            self.model(source),
            self.prepared,
            self.learner.encoded(source),
            self._export_folder("retrieval"),
            storage=storage,
            top_k=self.config.evaluation.top_k,
        )
        logger.info("verified before it was put in place: %s", parity)
        row, per_user = measure.measure_export(
            "saved_model", version, self.prepared
        )
        return {**row, "parity": dataclasses.asdict(parity)}, per_user
