"""The chain: teacher, student, distilled, its smaller forms, the export."""

from __future__ import annotations

import dataclasses
import logging
import math
from collections.abc import Callable
from functools import cached_property
from typing import Any

import numpy as np

from kd_tfrs.evaluation.retrieval import AlsScorer, PopularityScorer, Scorer
from kd_tfrs.export import FLOAT32
from kd_tfrs.models.retrieval import RetrievalModel
from kd_tfrs.workflow.chain import Made, Stage
from kd_tfrs.workflow.choice import loss_margin
from kd_tfrs.workflow.forms import FORMS, ROUNDED
from kd_tfrs.workflow.retrieval import measure
from kd_tfrs.workflow.retrieval.exporting import export_model
from kd_tfrs.workflow.retrieval.latencies import measure_latencies
from kd_tfrs.workflow.retrieval.learner import Learner
from kd_tfrs.workflow.retrieval.naming import stage_names
from kd_tfrs.workflow.retrieval.prepare import Prepared, prepare
from kd_tfrs.workflow.student_chain import StudentChain

logger = logging.getLogger(__name__)
_COPIED = ("parameters", "nonzero_parameters")


class Stages(StudentChain):
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

    @cached_property
    def stages(self) -> tuple[Stage, ...]:
        """See `Chain.stages`."""
        special = {
            "popularity": Stage("popularity", self._popularity, (), True),
            "als": Stage("als", self._als, (), True),
            "saved_model": Stage(
                "saved_model", self._export, self.export_needs()
            ),
        }
        return tuple(
            special.get(name)
            or (self._rounded if name in ROUNDED else self._trained)(name)
            for name in stage_names(self.config)
        )

    @property
    def title(self) -> str:
        """See `Chain.title`."""
        return f"{self.prepared.interactions.name}: {self.prepared.split}"

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
        return self._of_scorer("popularity", scorer)

    def _als(self) -> Made:
        prepared = self.prepared
        scorer = AlsScorer(
            prepared.split.train,
            prepared.catalogue.item_ids,
            seed=self.config.seed,
            user_col=prepared.catalogue.user_column,
            item_col=prepared.catalogue.item_column,
        )
        return self._of_scorer("als", scorer)

    def _of_scorer(self, stage: str, scorer: Scorer) -> Made:
        metrics, per_user = measure.quality(scorer, self.prepared)
        return {"stage": stage, "metrics": metrics}, per_user, []

    def _trained(self, name: str) -> Stage:
        def make() -> Made:
            model, progress = self.learner.train(name)
            self.learner.save(name, model)
            row, per_user = self._measure(name, lambda _: model)
            row["train_seconds"] = progress.seconds
            if name == "pruned":
                share = row["nonzero_parameters"] / row["parameters"]
                row["sparsity"] = 1.0 - share
            return row, per_user, progress.history

        return Stage(name, make, self.stage_needs(name))

    def _rounded(self, name: str) -> Stage:
        """Another way to store a model that is there already."""

        def make() -> Made:
            row, per_user = self._measure(name, self.learner.load)
            return {**row, "train_seconds": 0.0}, per_user, []

        return Stage(name, make, self.stage_needs(name))

    @property
    def label_warning(self) -> str | None:
        """Whether ratings of any height count as positive."""
        data = self.config.data
        label = self.prepared.interactions.schema.label
        # Every event of the embedded data is one that the user chose.
        if label is None or data.min_label is not None:
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
        """Embeddings of a finished stage, as they are stored.

        Args:
            stage: any; "saved_model" stands for the form that ships.

        Returns:
            All users and items.
        """
        if stage == "saved_model":
            stage = self.result(stage)["choice"]["name"]
        made_from, storage = FORMS.get(stage, (stage, FLOAT32))
        embedded = measure.embed(
            self.learner.load(made_from),
            self.learner.encoded(made_from),
            self.prepared,
        )
        return embedded.stored(storage)

    def model(self, stage: str) -> RetrievalModel:
        """The trained model of a stage, with its weights."""
        self.result(stage)
        return self.learner.load(stage)

    def per_user(self, stage: str) -> dict[str, np.ndarray]:
        """Test metrics of a finished stage by user, `[users]` each."""
        return self.arrays(stage)

    def _measure(
        self, stage: str, model: Callable[[str], RetrievalModel]
    ) -> measure.Measured:
        made_from, storage = FORMS.get(stage, (stage, FLOAT32))
        return measure.measure_model(
            stage,
            model(made_from),
            self.learner.encoded(made_from),
            self.prepared,
            storage=storage,
            top_k=self.config.evaluation.top_k,
        )

    def _export(self) -> Made:
        choice = self.choice
        shipped = self.result(choice.name)
        made_from, storage = FORMS[choice.name]
        version, parity = export_model(
            self.model(made_from),
            self.learner.encoded(made_from),
            self.prepared,
            self._export_folder("retrieval"),
            storage=storage,
            top_k=self.config.evaluation.top_k,
        )
        logger.info("verified before it was put in place: %s", parity)
        row, per_user = measure.measure_export(
            "saved_model", version, self.prepared
        )
        row.update({name: shipped[name] for name in _COPIED})
        row.update(
            model_bytes=shipped["model_bytes"],
            choice=dataclasses.asdict(choice),
            parity=dataclasses.asdict(parity),
            train_seconds=0.0,
        )
        return row, per_user, []
