"""The chain of a ranker: baselines, teachers, student, exports; measured."""

from __future__ import annotations

import logging
import time
from functools import cached_property
from typing import Any

import numpy as np

from kd_tfrs.evaluation import measure_latency
from kd_tfrs.models.ranking import RankingModel
from kd_tfrs.workflow.chain import Chain, Made
from kd_tfrs.workflow.ranking import edge, exporting, measure
from kd_tfrs.workflow.ranking.boosting import BoostedTrees
from kd_tfrs.workflow.ranking.config import RankingConfig
from kd_tfrs.workflow.ranking.learner import STUDENTS, RankingLearner
from kd_tfrs.workflow.ranking.matrix import request_matrix
from kd_tfrs.workflow.ranking.naming import member_stages
from kd_tfrs.workflow.ranking.prepare import RankingPrepared, prepare

logger = logging.getLogger(__name__)
BASELINES = ("prior", "lightgbm")
EXPORTS = ("int8", "saved_model")
_COPIED = ("parameters", "nonzero_parameters")


class RankingStages(Chain):
    """The stages of one ranking run, each done once and kept in its folder.

    `prior` says the mean label of everything, `lightgbm` are boosted trees on
    the teachers' features, `teacher_<kind>` each network that teaches,
    `teacher` all of them together; then come the student alone, distilled and
    pruned, and the pruned one as LiteRT int8 and as SavedModel.

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

    @property
    def names(self) -> tuple[str, ...]:
        """See `Chain.names`."""
        return stage_names(self.config)

    @property
    def title(self) -> str:
        """See `Chain.title`."""
        return str(self.prepared.split)

    def needs(self, stage: str) -> tuple[str, ...]:
        """See `Chain.needs`."""
        if stage == "teacher":
            return tuple(member_stages(self.config))
        before = {
            "distilled": ("teacher",),
            "pruned": ("distilled",),
            "int8": ("pruned",),
            "saved_model": ("pruned",),
        }
        return before.get(stage, ())

    def make(self, stage: str) -> Made:
        """See `Chain.make`."""
        makers = {
            "prior": self._prior,
            "lightgbm": self._lightgbm,
            "teacher": self._teacher,
            "int8": self._int8,
            "saved_model": self._saved_model,
        }
        if stage in makers:
            return makers[stage]()
        return self._model(stage)

    def model(self, stage: str) -> RankingModel:
        """The trained model of a stage, with its weights."""
        self.result(stage)
        return self.learner.load(stage)

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
        names = self.learner.inputs(stage).names
        logits = measure.Scoring(model, model.tasks)(
            self.prepared.rows("test", names)
        )
        return self._row(
            stage,
            logits,
            **measure.measure_network(
                model,
                measure.model_weights(model),
                names,
                self.prepared,
                self.config.evaluation,
            ),
            train_seconds=progress.seconds,
            history=progress.history,
        )

    def _teacher(self) -> Made:
        teaching = self.learner.teaching
        teacher = teaching.live
        rows = [self.result(name) for name in self.needs("teacher")]
        logits = measure.Scoring(teacher.outputs, self.prepared.tasks)(
            self.prepared.rows("test", teaching.names)
        )
        return self._row(
            "teacher",
            logits,
            **measure.measure_network(
                teacher.outputs,
                measure.teacher_weights(teacher, teaching.models),
                teaching.names,
                self.prepared,
                self.config.evaluation,
            ),
            train_seconds=teaching.gate_seconds
            + sum(row["train_seconds"] for row in rows),
        )

    def _int8(self) -> Made:
        options = self.config.evaluation
        names = self.learner.inputs("pruned").names
        path = self.run.path("export", "litert", "student-int8.tflite")
        runner = edge.write_int8(
            self.model("pruned"), self.prepared, names, path
        )
        return self._row(
            "int8",
            edge.litert_logits(runner, self.prepared, names),
            **self._as_pruned(),
            **measure.folder_size(path),
            latency_ms=edge.litert_latency(
                runner,
                self.prepared,
                names,
                options.candidates,
                options.latency_repeats,
            ),
        )

    def _saved_model(self) -> Made:
        prepared, options = self.prepared, self.config.evaluation
        tables = exporting.serving_tables(prepared, self.config.data)
        version = exporting.export_model(
            self.model("pruned"),
            self.learner.inputs("pruned"),
            prepared,
            self._export_folder("ranking"),
            tables,
        )
        return self._row(
            "saved_model",
            exporting.export_logits(version, prepared),
            **self._as_pruned(),
            **measure.folder_size(version),
            **exporting.export_latency(
                version,
                prepared,
                options.candidates,
                options.top_k,
                options.latency_repeats,
                ranks=tables is not None,
            ),
        )

    def _as_pruned(self) -> dict[str, Any]:
        pruned = self.result("pruned")
        return {name: pruned[name] for name in _COPIED} | {"train_seconds": 0.0}


def stage_names(config: RankingConfig) -> tuple[str, ...]:
    """The stages of a run, in the order of the table.

    Args:
        config: names the networks that teach, and says whether there are
            baselines.

    Returns:
        Their names.

    Example:
    >>> stage_names(RankingConfig())[:4]
    ('prior', 'lightgbm', 'teacher_dcn', 'teacher_deepfm')
    """
    baselines = BASELINES if config.evaluation.baselines else ()
    members = member_stages(config)
    return (*baselines, *members, "teacher", *STUDENTS, *EXPORTS)
