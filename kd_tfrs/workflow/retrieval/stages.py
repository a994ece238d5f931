"""The chain: teacher, student, distilled, its smaller forms, the export."""

from __future__ import annotations

import dataclasses
import logging
import math
from collections.abc import Callable
from functools import cached_property
from typing import Any

import numpy as np

from kd_tfrs.export import FLOAT32
from kd_tfrs.models.retrieval import RetrievalModel
from kd_tfrs.workflow.chain import Chain, Made
from kd_tfrs.workflow.choice import AUTO, Candidate, Choice, choose, loss_margin
from kd_tfrs.workflow.retrieval import measure
from kd_tfrs.workflow.retrieval.exporting import export_model
from kd_tfrs.workflow.retrieval.forms import FORMS
from kd_tfrs.workflow.retrieval.latencies import measure_latencies
from kd_tfrs.workflow.retrieval.learner import MODELS, Learner
from kd_tfrs.workflow.retrieval.prepare import Prepared, prepare

logger = logging.getLogger(__name__)
STAGES = ("teacher", "student", *FORMS, "saved_model")
_COPIED = ("parameters", "nonzero_parameters")


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
        if stage == "saved_model":
            asked = self.config.shipping.ship
            return tuple(FORMS) if asked == AUTO else ("distilled", asked)
        made_from = FORMS.get(stage, (stage,))[0]
        if made_from != stage:
            return (made_from,)
        return {"distilled": ("teacher",), "pruned": ("distilled",)}.get(
            stage, ()
        )

    def make(self, stage: str) -> Made:
        """See `Chain.make`."""
        if stage == "saved_model":
            return self._export()
        if stage not in MODELS:
            # Another way to store a model that is there already.
            row, per_user = self._measure(stage, self.learner.load)
            return {**row, "train_seconds": 0.0}, per_user, []
        model, progress = self.learner.train(stage)
        self.learner.save(stage, model)
        row, per_user = self._measure(stage, lambda _: model)
        row["train_seconds"] = progress.seconds
        if stage == "pruned":
            kept = row["nonzero_parameters"] / row["parameters"]
            row["sparsity"] = 1.0 - kept
        return row, per_user, progress.history

    @property
    def choice(self) -> Choice:
        """Which form ships, and why; by validation events alone."""
        monitor = self.learner.monitor
        name = measure.VALIDATION + monitor
        reference = self.arrays("distilled")[name]
        forms = [form for form in FORMS if form in self.needs("saved_model")]
        return choose(
            [
                Candidate(
                    form,
                    self.result(form)["validation"][monitor],
                    self.result(form)["model_bytes"],
                    loss_margin(reference, self.arrays(form)[name]),
                )
                for form in forms
            ],
            max_loss=self.config.shipping.max_loss,
            metric=monitor,
            asked=self.config.shipping.ship,
        )

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
