"""The stages of a ranking run."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from kd_tfrs.compression import sparsity
from kd_tfrs.evaluation import measure_latency
from kd_tfrs.models.ranking import RankingModel
from kd_tfrs.workflow.chain import Made, Stage
from kd_tfrs.workflow.choice import Choice
from kd_tfrs.workflow.compression_options import stored_as
from kd_tfrs.workflow.ranking import edge, exporting, measure
from kd_tfrs.workflow.ranking.boosting import BoostedTrees
from kd_tfrs.workflow.ranking.latencies import measure_latencies
from kd_tfrs.workflow.ranking.learner import RankingLearner
from kd_tfrs.workflow.ranking.matrix import request_matrix
from kd_tfrs.workflow.ranking.naming import member_stages
from kd_tfrs.workflow.ranking.prepare import prepare
from kd_tfrs.workflow.student_chain import Measured, StudentChain

logger = logging.getLogger(__name__)
LITERT_FILE = "student.tflite"


class RankingStages(StudentChain):
    """The stages of a ranking run, see `StudentChain`.

    `prior` predicts the mean label for all rows, `lightgbm` are boosted trees
    on the features of the teachers, `teacher_<kind>` is each network of the
    teacher, and `teacher` all of them together. The form that ships is
    exported as SavedModel and as LiteRT file.

    Args:
        run: where everything is kept.

    Example:
    ```python
    stages = RankingStages(Run("runs/first", RankingConfig()))
    print(stages.result("distilled")["metrics"]["auc"])
    ```
    """

    prepare = staticmethod(prepare)
    learner_type = RankingLearner

    def baseline_stages(self) -> dict[str, Callable[[], Made]]:
        """See `StudentChain.baseline_stages`."""
        return {"prior": self._prior, "lightgbm": self._lightgbm}

    def teacher_stages(self) -> list[Stage]:
        """See `StudentChain.teacher_stages`."""
        given = self.given.teachers if self.given else ()
        members = tuple(given or member_stages(self.config))
        networks = [
            Stage(name, partial(self._trained, name)) for name in members
        ]
        return [*networks, Stage("teacher", self._teacher, members)]

    def exports(self) -> dict[str, Callable[[Choice], Measured]]:
        """See `StudentChain.exports`."""
        return {"saved_model": self._saved_model, "litert": self._litert}

    def model(self, stage: str) -> RankingModel:
        """The trained model of a stage, with its weights.

        Args:
            stage: one of the teacher's networks, the student alone, a form of
                the distilled one, see `FORMS`, or "saved_model" for the form
                that ships.

        Returns:
            A model in process; rounded where the form has 8 bits.
        """
        self.result(stage)
        stage = self.shipped_stage(stage)
        model = self.learner.load(stored_as(stage)[0])
        return exporting.as_stored(model, stage)

    def measure_latencies(self, stages: list[str]) -> dict[str, Any]:
        """See `Chain.measure_latencies`."""
        options = self.config.evaluation
        teacher_factory = self.learner.teacher_factory
        return measure_latencies(
            (teacher_factory.live, teacher_factory.models),
            {stage: self.model(stage) for stage in stages},
            self.prepared,
            candidates=options.candidates,
            seconds=options.latency_seconds,
        )

    def logits(self, stage: str) -> measure.Logits:
        """Predictions of a finished stage for the test examples, by task."""
        return self.arrays(stage)

    def measure(self, stage: str, model: RankingModel) -> Measured:
        """See `StudentChain.measure`."""
        source, storage = stored_as(stage)
        stored = exporting.as_stored(model, stage)
        rows = self.prepared.rows("test", self.learner.inputs(source).names)
        row, logits = self._row(
            stage,
            measure.Scoring(stored, stored.tasks)(rows),
            validation=self.learner.validation(source, stored),
            **measure.measure_student(model, storage),
        )
        if self.learner.compresses(stage):
            row["sparsity"] = sparsity(model.network)
        return row, logits

    def _row(self, stage: str, logits: measure.Logits, **more: Any) -> Measured:
        row = measure.measure_logits(
            stage, logits, self.prepared, self.config.evaluation.bootstrap
        )
        kept = {name: np.float32(values) for name, values in logits.items()}
        return {**row, **more}, kept

    def _prior(self) -> Made:
        count = len(self.prepared.split.test)
        tasks = self.prepared.tasks
        logits = {t.name: np.full(count, t.initial_logit) for t in tasks}
        return *self._row("prior", logits, parameters=len(tasks)), []

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
        row, logits = self._row(
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
        return row, logits, []

    def _teacher(self) -> Made:
        teacher_factory, prepared = self.learner.teacher_factory, self.prepared
        teacher = teacher_factory.live
        rows = [self.result(name) for name in self.needs("teacher")]
        logits = measure.Scoring(teacher.outputs, prepared.tasks)(
            prepared.rows("test", teacher_factory.names)
        )
        cached = teacher_factory.cached(
            "validation", teacher_factory.outputs()
        ).arrays
        validation = {
            t.name: np.asarray(cached[t.output]) for t in prepared.tasks
        }
        row, logits = self._row(
            "teacher",
            logits,
            validation=measure.validate(validation, prepared),
            **measure.measure_teacher(teacher, teacher_factory.models),
            train_seconds=teacher_factory.gate_seconds
            + sum(row["train_seconds"] for row in rows),
        )
        return row, logits, []

    def _saved_model(self, choice: Choice) -> Measured:
        prepared = self.prepared
        source, storage = stored_as(choice.name)
        version = exporting.export_model(
            self.learner.load(source),
            prepared,
            self.learner.inputs(source),
            self._export_folder("ranking"),
            exporting.serving_tables(prepared),
            storage,
        )
        logits = exporting.export_logits(version, prepared)
        return self._row("saved_model", logits, **measure.folder_size(version))

    def _litert(self, choice: Choice) -> Measured:
        options = self.config.evaluation
        source, storage = stored_as(choice.name)
        names = self.learner.inputs(source).names
        path = self.run.path("export", "litert", LITERT_FILE)
        runner = edge.write_litert(
            self.model(choice.name), path, int8=storage.int8
        )
        sent = measure.request(self.prepared, names, options.candidates)
        return self._row(
            "litert",
            edge.litert_logits(runner, self.prepared, names),
            **measure.folder_size(path),
            latency_ms=measure_latency(
                lambda: runner.predict(sent), repeats=options.latency_repeats
            ),
        )
