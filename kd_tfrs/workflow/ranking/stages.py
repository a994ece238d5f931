"""The chain of a ranker: baselines, teachers, student, exports; measured."""

from __future__ import annotations

import dataclasses
import logging
import time
from functools import cached_property, partial
from typing import Any

import numpy as np

from kd_tfrs.compression import sparsity
from kd_tfrs.evaluation import measure_latency
from kd_tfrs.export.stored_table import FLOAT32
from kd_tfrs.models.ranking import RankingModel
from kd_tfrs.workflow.chain import Made, Stage
from kd_tfrs.workflow.choice import Choice
from kd_tfrs.workflow.forms import FORMS, ROUNDED
from kd_tfrs.workflow.ranking import edge, exporting, measure
from kd_tfrs.workflow.ranking.boosting import BoostedTrees
from kd_tfrs.workflow.ranking.forms import as_stored
from kd_tfrs.workflow.ranking.latencies import measure_latencies
from kd_tfrs.workflow.ranking.learner import RankingLearner
from kd_tfrs.workflow.ranking.matrix import request_matrix
from kd_tfrs.workflow.ranking.naming import member_stages, stage_names
from kd_tfrs.workflow.ranking.prepare import RankingPrepared, prepare
from kd_tfrs.workflow.student_chain import StudentChain

logger = logging.getLogger(__name__)
LITERT_FILE = "student.tflite"
# What is exported answers as fast as the form that it is.
_EXPORTS = ("saved_model", "litert")
_COPIED = ("parameters", "nonzero_parameters", "model_bytes")


class RankingStages(StudentChain):
    """The stages of one ranking run, each done once and kept in its folder.

    `prior` says the mean label of everything, `lightgbm` are boosted trees on
    the teachers' features, `teacher_<kind>` each network that teaches,
    `teacher` all of them together; then come the student alone, distilled and
    pruned, the last two in 8 bits, and what ships of these four, as SavedModel
    and as LiteRT file.

    Args:
        run: where everything is kept.

    Example:
    ```python
    stages = RankingStages(Run("runs/first", RankingConfig()))
    print(stages.result("distilled")["metrics"]["auc"])
    ```
    """

    @cached_property
    def prepared(self) -> RankingPrepared:
        """Data, tasks and protocols."""
        config = self.config
        prepared = prepare(config.data, config.evaluation, config.seed)
        self.run.check_data(prepared.fingerprint())
        return prepared

    @cached_property
    def learner(self) -> RankingLearner:
        """Trains the models."""
        return RankingLearner(self.run, self.prepared)

    @cached_property
    def stages(self) -> tuple[Stage, ...]:
        """See `Chain.stages`."""
        forms, members = self.export_needs(), tuple(member_stages(self.config))
        special = {
            "prior": Stage("prior", self._prior, (), True),
            "lightgbm": Stage("lightgbm", self._lightgbm, (), True),
            "teacher": Stage("teacher", self._teacher, members),
            "saved_model": Stage("saved_model", self._saved_model, forms),
            "litert": Stage("litert", self._litert, forms),
        }
        return tuple(
            special.get(name) or self._student(name)
            for name in stage_names(self.config)
        )

    @property
    def title(self) -> str:
        """See `Chain.title`."""
        return str(self.prepared.split)

    def _student(self, name: str) -> Stage:
        """A trained network, or another way to store one."""
        make = self._rounded if name in ROUNDED else self._model
        return Stage(name, partial(make, name), self.stage_needs(name))

    def model(self, stage: str) -> RankingModel:
        """The trained model of a stage, with its weights.

        Args:
            stage: one of the teacher's networks, the student alone, or a
                form of the distilled one, see `FORMS`.

        Returns:
            A model in process; rounded where the form has 8 bits.
        """
        self.result(stage)
        if stage not in FORMS:
            return self.learner.load(stage)
        return as_stored(self.learner.load(FORMS[stage][0]), stage)

    def measure_latencies(self, stages: list[str]) -> dict[str, Any]:
        """See `Chain.measure_latencies`."""
        options = self.config.evaluation
        teaching = self.learner.teaching
        return measure_latencies(
            (teaching.live, teaching.models),
            {stage: self._served(stage) for stage in stages},
            self.prepared,
            candidates=options.candidates,
            seconds=options.latency_seconds,
        )

    def _served(self, stage: str) -> RankingModel:
        if stage == "saved_model":
            stage = self.result(stage)["choice"]["name"]
        return self.model(stage)

    def logits(self, stage: str) -> measure.Logits:
        """What a finished stage says of the test examples, by task."""
        return self.arrays(stage)

    def _row(self, stage: str, logits: measure.Logits, **more: Any) -> Made:
        options, history = self.config.evaluation, more.pop("history", [])
        row = measure.measure_logits(
            stage, logits, self.prepared, options.bootstrap
        )
        kept = {name: np.float32(values) for name, values in logits.items()}
        return {**row, **more}, kept, history

    def _prior(self) -> Made:
        count = len(self.prepared.split.test)
        tasks = self.prepared.tasks
        logits = {t.name: np.full(count, t.initial_logit) for t in tasks}
        return self._row("prior", logits, parameters=len(tasks))

    def _lightgbm(self) -> Made:
        prepared, options = self.prepared, self.config.evaluation
        inputs = self.learner.inputs(next(iter(self.learner.members)))
        start = time.perf_counter()
        trees = BoostedTrees(
            prepared, inputs, self.learner.monitor, self.config.seed
        )
        seconds = time.perf_counter() - start
        folder = self.run.path("lightgbm", "model.txt").parent
        count = trees.save(folder)
        matrix = request_matrix(prepared, inputs, options.candidates)
        return self._row(
            "lightgbm",
            trees.logits("test"),
            validation=measure.validate(
                trees.logits("validation", prepared.validation_rows), prepared
            ),
            parameters=count,
            nonzero_parameters=count,
            **measure.folder_size(folder),
            latency_ms=measure_latency(
                lambda: trees.score(matrix), repeats=options.latency_repeats
            ),
            train_seconds=seconds,
        )

    def _model(self, stage: str) -> Made:
        model, progress = self.learner.train(stage)
        self.learner.save(stage, model)
        _, storage = FORMS.get(stage, (stage, FLOAT32))
        more = {}
        if stage == "pruned":
            more["sparsity"] = sparsity(model.network)
        return self._row(
            stage,
            self._logits(stage, model),
            validation=self.learner.validation(stage, model),
            **measure.measure_student(model, storage),
            **more,
            train_seconds=progress.seconds,
            history=progress.history,
        )

    def _logits(self, stage: str, model: RankingModel) -> measure.Logits:
        names = self.learner.inputs(stage).names
        rows = self.prepared.rows("test", names)
        return measure.Scoring(model, model.tasks)(rows)

    def _rounded(self, stage: str) -> Made:
        """Another way to store a model that is there already."""
        source, storage = FORMS[stage]
        exact = self.learner.load(source)
        model = as_stored(exact, stage)
        return self._row(
            stage,
            self._logits(source, model),
            validation=self.learner.validation(source, model),
            **measure.measure_student(exact, storage),
            train_seconds=0.0,
        )

    def _teacher(self) -> Made:
        teaching, prepared = self.learner.teaching, self.prepared
        teacher = teaching.live
        rows = [self.result(name) for name in self.needs("teacher")]
        logits = measure.Scoring(teacher.outputs, prepared.tasks)(
            prepared.rows("test", teaching.names)
        )
        said = teaching.cached("validation", teaching.outputs()).arrays
        validation = {
            t.name: np.asarray(said[t.output]) for t in prepared.tasks
        }
        return self._row(
            "teacher",
            logits,
            validation=measure.validate(validation, prepared),
            **measure.measure_teacher(teacher, teaching.models),
            train_seconds=teaching.gate_seconds
            + sum(row["train_seconds"] for row in rows),
        )

    def _saved_model(self) -> Made:
        prepared, choice = self.prepared, self.choice
        source, storage = FORMS[choice.name]
        version = exporting.export_model(
            self.learner.load(source),
            self.learner.inputs(source),
            prepared,
            self._export_folder("ranking"),
            exporting.serving_tables(prepared, self.config.data),
            storage,
        )
        return self._row(
            "saved_model",
            exporting.export_logits(version, prepared),
            **self._as_chosen(choice),
            **measure.folder_size(version),
        )

    def _litert(self) -> Made:
        options, choice = self.config.evaluation, self.choice
        source, storage = FORMS[choice.name]
        names = self.learner.inputs(source).names
        path = self.run.path("export", "litert", LITERT_FILE)
        runner = edge.write_litert(
            self.model(choice.name), path, int8=storage.int8
        )
        sent = measure.request(self.prepared, names, options.candidates)
        return self._row(
            "litert",
            edge.litert_logits(runner, self.prepared, names),
            # The converter stores weights in its own way.
            **self._as_chosen(choice, ("parameters", "nonzero_parameters")),
            **measure.folder_size(path),
            latency_ms=measure_latency(
                lambda: runner.predict(sent), repeats=options.latency_repeats
            ),
        )

    def _as_chosen(
        self, choice: Choice, copied: tuple[str, ...] = _COPIED
    ) -> dict[str, Any]:
        row = self.result(choice.name)
        return {
            **{name: row[name] for name in copied},
            "choice": dataclasses.asdict(choice),
            "train_seconds": 0.0,
        }
