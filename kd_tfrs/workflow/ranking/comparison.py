"""The comparison of methods that distil ranking models.

The networks of the ensemble teacher and LightGBM are tested beside the
methods.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import time
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from kd_tfrs.evaluation.lead import is_error
from kd_tfrs.models.ranking import RankingModel
from kd_tfrs.workflow.comparison.contenders import (
    ALONE,
    TEACHER,
    Contender,
    Family,
)
from kd_tfrs.workflow.comparison.experiment import Comparison
from kd_tfrs.workflow.comparison.findings import (
    Roles,
    Row,
    Rows,
    TestArrays,
    UserTest,
)
from kd_tfrs.workflow.comparison.trainings import (
    COMPRESSED,
    Arrays,
    Trainings,
)
from kd_tfrs.workflow.options import FlatConfig
from kd_tfrs.workflow.ranking import edge, measure
from kd_tfrs.workflow.ranking.boosting import BoostedTrees
from kd_tfrs.workflow.ranking.comparison_tests import (
    UserDraws,
    paired_over_users,
)
from kd_tfrs.workflow.ranking.contenders import (
    FAMILY,
    fitting_contenders,
    named_contenders,
    tuned_teacher,
)
from kd_tfrs.workflow.ranking.learner import RankingLearner, monitored
from kd_tfrs.workflow.ranking.measure import Logits
from kd_tfrs.workflow.ranking.naming import member_stages
from kd_tfrs.workflow.ranking.prepare import RankingPrepared, prepare
from kd_tfrs.workflow.shared_teachers import SharedTeachers

LIGHTGBM = "lightgbm"
_ROWS = "rows"
# Splits that depend on the seed.
_DRAWN = ("random", "u1", "u2", "u3", "u4", "u5", "ratio", "leave_one_out")
Scored = tuple[Logits, dict[str, Any]]


class RankingTrainings(Trainings):
    """Trains ranking models, and tests each repeat once."""

    learner_type: ClassVar[type[RankingLearner]] = RankingLearner

    def validate_teacher(self, learner: RankingLearner) -> dict[str, float]:
        """Metrics of the ensemble; its outputs are cached."""
        teacher_factory, prepared = learner.teacher_factory, learner.prepared
        cached = teacher_factory.cached(
            "validation", teacher_factory.outputs()
        ).arrays
        logits = {t.name: np.asarray(cached[t.output]) for t in prepared.tasks}
        return measure.validate(logits, prepared)

    def reference(
        self,
        name: str,
        learner: RankingLearner,
        validation: Mapping[str, float],
    ) -> tuple[RankingModel | Scored, Row]:
        """See `Trainings`."""
        if name == LIGHTGBM:
            return _boosted(learner)
        if name == TEACHER:
            return _ensemble(learner), {"validation": validation}
        model = learner.load(name)
        return model, {"validation": learner.validation(name, model)}

    def measure(
        self,
        name: str,
        model: RankingModel | Scored,
        learner: RankingLearner,
    ) -> tuple[Row, Arrays]:
        """See `Trainings`; a model, or its logits and its size."""
        prepared = learner.prepared
        if isinstance(model, RankingModel):
            stage = name if name in self.teachers.networks else ALONE
            rows = prepared.rows("test", learner.inputs(stage).names)
            model = measure.Scoring(model, prepared.tasks)(rows), _size(model)
        logits, size = model
        self._write_test_rows(prepared, learner.config.seed)
        row = measure.measure_logits(name, logits, prepared)
        arrays = {task: np.float32(values) for task, values in logits.items()}
        return {"metrics": row["metrics"], **size}, arrays

    def int8(self, model: RankingModel, learner: RankingLearner) -> Scored:
        """Logits of a model as an int8 file, and its size."""
        path = learner.run.path("export", "student-int8.tflite")
        inputs = learner.inputs("pruned").names
        runner = edge.write_int8(model, learner.prepared, inputs, path)
        logits = edge.litert_logits(runner, learner.prepared, inputs)
        return logits, {**_size(model), **measure.folder_size(path)}

    def _write_test_rows(self, prepared: RankingPrepared, seed: int) -> None:
        """Labels and users of the test examples, for tests over users."""
        path = self.run.path("results", _ROWS, f"seed-{seed}.npz")
        if path.exists():
            return
        test = prepared.split.test
        arrays = {f"label_{n}": values for n, values in test.labels.items()}
        arrays["weight"] = np.float32(test.weights)
        if test.groups is not None:
            arrays["user"] = _users(prepared)
        partial = path.with_name(f".{path.name}.partial")
        with partial.open("wb") as file:
            np.savez(file, **arrays)
        partial.rename(path)


class RankingComparison(Comparison):
    """A comparison of ranking models; see `Comparison`."""

    family: ClassVar[Family] = FAMILY
    trainings_type: ClassVar[type[Trainings]] = RankingTrainings

    @classmethod
    def named(cls, names: Sequence[str], config: FlatConfig) -> list[Contender]:
        """See `Comparison`; "all" depends on the data and follows later."""
        return named_contenders(names, config)

    def fitting(self, prepared: RankingPrepared) -> list[Contender]:
        """See `Comparison`."""
        # Both are kept: later the data may be split for another seed.
        self.monitor, self.tasks  # noqa: B018
        return fitting_contenders(self.plan.methods, self.config, prepared)

    def shared_teachers(
        self, directory: Path, source: Path | None
    ) -> SharedTeachers:
        """See `Comparison`; the gate of the ensemble is shared as well."""
        prefixes = (TEACHER, "gate")
        return SharedTeachers(
            directory,
            self.config,
            RankingLearner,
            tuple(member_stages(self.config)),
            prefixes,
            prefixes,
            source,
        )

    def prepare(self, seed: int) -> RankingPrepared:
        """See `Comparison`."""
        return prepare(self.config.data, self.config.evaluation, seed)

    def split_again(
        self, prepared: RankingPrepared, seed: int
    ) -> RankingPrepared:
        """See `Comparison`; splits by time are the same for all seeds."""
        data, interactions = self.config.data, prepared.split.interactions
        if data.dataset == "synthetic" or interactions is None:
            return prepared
        is_timed = interactions.schema.time is not None
        is_drawn = data.split == "auto" and not is_timed
        if is_drawn or data.split in _DRAWN:
            return self.prepare(seed)
        return prepared

    @cached_property
    def monitor(self) -> str:
        """See `Comparison`."""
        return monitored(
            self.config.evaluation.monitor, self.prepared(self.config.seed)
        )

    @cached_property
    def tasks(self) -> dict[str, str]:
        """See `Comparison`; the main task is the first one."""
        prepared = self.prepared(self.config.seed)
        return {task.name: task.kind for task in prepared.tasks}

    @property
    def roles(self) -> Roles:
        """See `Comparison`."""
        return Roles(self.teachers.networks, (LIGHTGBM,), COMPRESSED)

    @property
    def references(self) -> tuple[str, ...]:
        """See `Comparison`; LightGBM only if it is installed and wanted."""
        has_trees = importlib.util.find_spec(LIGHTGBM) is not None
        has_trees = has_trees and self.config.evaluation.baselines
        known = self.roles.references
        return tuple(n for n in known if n != LIGHTGBM or has_trees)

    def tuned(self, stage: str) -> Contender:
        """See `Comparison`; a teacher that is tuned is one network."""
        found = super().tuned(stage)
        if stage != TEACHER:
            return found
        return dataclasses.replace(found, stage=tuned_teacher(self.config))

    def metrics(self, rows: Rows) -> dict[str, bool]:
        """See `Comparison`; those that are measured, of all tasks."""
        names = self._metric_tasks()
        if ALONE in rows:
            measured = rows[ALONE][0]["metrics"]
            names = [n for n in names if measured.get(n) is not None]
        else:
            names = [n for n in names if "/" not in n and n != "gauc"]
        return {name: is_error(name) for name in names}

    def _metric_tasks(self) -> dict[str, tuple[str, str]]:
        """Task and plain name of each metric, by its name in a row."""
        first = next(iter(self.tasks))
        return {
            metric if task == first else f"{task}/{metric}": (task, metric)
            for task, kind in self.tasks.items()
            for metric in measure.INTERVALS[kind]
        }

    def user_test(self, arrays: TestArrays, *, final: bool) -> UserTest:
        """See `Comparison`; draws users once all trainings are done."""
        count = self.config.evaluation.bootstrap if final else 0
        draws = UserDraws(self._test_rows(), self.tasks, count)
        return paired_over_users(draws, self._metric_tasks(), arrays)

    def _test_rows(self) -> dict[int, Arrays]:
        rows = {}
        folder = self.run.directory / "results" / _ROWS
        for path in folder.glob("seed-*.npz"):
            with np.load(path) as arrays:
                rows[int(path.stem.partition("-")[2])] = dict(arrays)
        return rows


def _ensemble(learner: RankingLearner) -> Scored:
    """Logits of the ensemble on the test examples, and its size."""
    teacher_factory, prepared = learner.teacher_factory, learner.prepared
    scoring = measure.Scoring(teacher_factory.live.outputs, prepared.tasks)
    weights = measure.teacher_weights(
        teacher_factory.live, teacher_factory.models
    )
    logits = scoring(prepared.rows("test", teacher_factory.names))
    return logits, measure.parameters(weights)


def _boosted(learner: RankingLearner) -> tuple[Scored, Row]:
    """LightGBM on the teachers' features, and the cost of its training."""
    prepared, config = learner.prepared, learner.config
    inputs = learner.inputs(next(iter(learner.members)))
    start = time.perf_counter()
    trees = BoostedTrees(prepared, inputs, learner.monitor, config.seed)
    seconds = time.perf_counter() - start
    count = trees.save(learner.run.path("lightgbm", "model.txt").parent)
    logits = trees.logits("validation", prepared.validation_rows)
    details = {
        "train_seconds": seconds,
        "validation": measure.validate(logits, prepared),
    }
    return (trees.logits("test"), {"parameters": count}), details


def _size(model: RankingModel) -> dict[str, int]:
    return measure.parameters(measure.model_weights(model))


def _users(prepared: RankingPrepared) -> np.ndarray:
    """`[test examples]` numbers, the same for every split, without ids."""
    data, groups = prepared.split.interactions, prepared.split.test.groups
    known = np.unique(
        groups if data is None else data.events[data.schema.user_id]
    )
    return np.searchsorted(known, groups).astype(np.int32)
