"""The trainings of a comparison of rankers, and what is measured of each."""

from __future__ import annotations

import contextlib
import importlib.util
import shutil
import time
from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np
import tensorflow as tf

from kd_tfrs.models.ranking import RankingModel
from kd_tfrs.workflow.ranking import edge, measure
from kd_tfrs.workflow.ranking.boosting import BoostedTrees
from kd_tfrs.workflow.ranking.learner import RankingLearner
from kd_tfrs.workflow.ranking.measure import Logits
from kd_tfrs.workflow.ranking.prepare import RankingPrepared
from kd_tfrs.workflow.retrieval.comparison_summary import TEACHER, Row
from kd_tfrs.workflow.retrieval.comparison_training import Trainings
from kd_tfrs.workflow.retrieval.contenders import Contender

LIGHTGBM = "lightgbm"
ROWS = "rows"
Scored = tuple[Logits, dict[str, Any]]


class RankingTrainings(Trainings):
    """Trains rankers in folders of their own, and keeps what was found.

    Args:
        run: the comparison's.
        teachers: what the students learn from.
        say: prints a line for a person.
    """

    learner_type: ClassVar[type] = RankingLearner

    def teacher(
        self, seed: int, prepared: RankingPrepared, *, is_test: bool
    ) -> None:
        """Makes sure of the teachers, and measures each of them once.

        Args:
            seed: of the teachers.
            prepared: data of that seed.
            is_test: ask the test examples too, and LightGBM as well.
        """
        cost = self.teachers.get(prepared, seed)
        validated = f"teachers/validation-{seed}.json"
        wanted = [TEACHER, *self.teachers.networks, *self._baselines()]
        missing = [n for n in wanted if not self._is_tested(n, seed)]
        if not (missing and is_test) and self.run.read_json(validated):
            return
        tf.keras.backend.clear_session()
        costs = {TEACHER: cost, **self.teachers.costs(seed)}
        learner = self.teachers.learner(prepared, seed)
        with contextlib.closing(learner.run):
            validation = self._ensemble_validation(learner)
            self.run.write_json(validated, validation)
            for name in missing if is_test else ():
                self._reference(name, learner, costs.get(name, {}), validation)

    def compress(
        self,
        one: Contender,
        chosen: Row | None,
        seed: int,
        prepared: RankingPrepared,
    ) -> list[Row]:
        """Prunes a distilled student and makes it an int8 file; tests both.

        Args:
            one: who; it was repeated with that seed.
            chosen: see `repeat`.
            seed: of the training.
            prepared: data of that seed.

        Returns:
            A row each; read where they were found before.
        """
        names = [f"{one.name} {end}" for end in ("pruned", "int8")]
        if all(self._is_tested(name, seed) for name in names):
            return [self._read(name, seed) for name in names]
        flags = {**(chosen["flags"] if chosen else one.flat), "seed": seed}
        place = self._tried(one, chosen, seed) or self._place(
            one, f"seed-{seed}"
        )
        with self._learner(place, flags, prepared, one) as learner:
            rows = list(self._compressed(names, flags, learner))
        shutil.rmtree(place / "training", ignore_errors=True)
        return rows

    def _compressed(
        self, names: list[str], flags: dict[str, Any], learner: RankingLearner
    ) -> Iterator[Row]:
        model, progress = learner.train("pruned")
        learner.save("pruned", model)
        details = self._details(flags, progress)
        pruned, int8 = names
        kept = self._read(pruned, learner.config.seed)
        yield kept or self._test(
            pruned, _folder(pruned), model, learner, details
        )
        path = learner.run.path("export", "student-int8.tflite")
        inputs = learner.inputs("pruned").names
        runner = edge.write_int8(model, learner.prepared, inputs, path)
        logits = edge.litert_logits(runner, learner.prepared, inputs)
        more = {**_size(model), **measure.folder_size(path)}
        details = {**details, "validation": None, "train_seconds": 0.0}
        yield self._test(int8, _folder(int8), (logits, more), learner, details)

    def _reference(
        self,
        name: str,
        learner: RankingLearner,
        cost: Row,
        validation: dict[str, float],
    ) -> None:
        details = {**cost, "flags": learner.config.flat()}
        if name == LIGHTGBM:
            scored, more = _boosted(learner)
            self._test(name, name, scored, learner, {**details, **more})
            return
        if name == TEACHER:
            teaching, prepared = learner.teaching, learner.prepared
            logits = measure.Scoring(teaching.live.outputs, prepared.tasks)(
                prepared.rows("test", teaching.names)
            )
            weights = measure.teacher_weights(teaching.live, teaching.models)
            scored = logits, measure.parameters(weights)
            details["validation"] = validation
        else:
            scored = learner.load(name)
            details["validation"] = _validation(scored, name, learner)
        self._test(name, name, scored, learner, details)

    def _ensemble_validation(self, learner: RankingLearner) -> dict[str, float]:
        """What the teachers together reach; what they say is kept."""
        teaching, prepared = learner.teaching, learner.prepared
        said = teaching.cached("validation", teaching.outputs()).arrays
        logits = {t.name: np.asarray(said[t.output]) for t in prepared.tasks}
        return measure.validate(logits, prepared)

    def _measure(
        self, name: str, model: Any, learner: RankingLearner
    ) -> tuple[Row, dict[str, np.ndarray]]:
        """See `Trainings._measure`; a model, or its scores and its size."""
        prepared = learner.prepared
        if isinstance(model, RankingModel):
            stage = name if name in self.teachers.networks else "student"
            rows = prepared.rows("test", learner.inputs(stage).names)
            scored = measure.Scoring(model, prepared.tasks)(rows), _size(model)
        else:
            scored = model
        logits, more = scored
        self._keep_rows(prepared, learner.config.seed)
        row = measure.measure_logits(name, logits, prepared)
        kept = {task: np.float32(values) for task, values in logits.items()}
        return {"metrics": row["metrics"], **more}, kept

    def _keep_rows(self, prepared: RankingPrepared, seed: int) -> None:
        """Labels and users of the test examples, for tests later on."""
        path = self.run.path("results", ROWS, f"seed-{seed}.npz")
        if path.exists():
            return
        test = prepared.split.test
        arrays = {f"label_{n}": values for n, values in test.labels.items()}
        arrays["weight"] = np.float32(test.weights)
        if test.groups is not None:
            arrays["user"] = _user_numbers(prepared)
        partial = path.with_name(f".{path.name}.partial")
        with partial.open("wb") as file:
            np.savez(file, **arrays)
        partial.rename(path)

    def _baselines(self) -> tuple[str, ...]:
        there = importlib.util.find_spec(LIGHTGBM) is not None
        asked = self.config.evaluation.baselines
        return (LIGHTGBM,) if there and asked else ()

    def _read(self, name: str, seed: int) -> Row | None:
        return self.run.read_json(f"results/{_folder(name)}/seed-{seed}.json")

    def _is_tested(self, name: str, seed: int) -> bool:
        return self._read(name, seed) is not None


def _folder(name: str) -> str:
    return name.replace(":", "=").replace(" ", "~")


def _boosted(learner: RankingLearner) -> tuple[Scored, Row]:
    """LightGBM on the teachers' features, and what its training took."""
    prepared, config = learner.prepared, learner.config
    inputs = learner.inputs(next(iter(learner.members)))
    start = time.perf_counter()
    trees = BoostedTrees(prepared, inputs, learner.monitor, config.seed)
    seconds = time.perf_counter() - start
    count = trees.save(learner.run.path("lightgbm", "model.txt").parent)
    said = trees.logits("validation", prepared.validation_rows)
    return (
        (trees.logits("test"), {"parameters": count}),
        {
            "train_seconds": seconds,
            "validation": measure.validate(said, prepared),
        },
    )


def _validation(
    model: RankingModel, stage: str, learner: RankingLearner
) -> dict[str, float]:
    prepared = learner.prepared
    rows = prepared.rows(
        "validation", learner.inputs(stage).names, prepared.validation_rows
    )
    return measure.validate(
        measure.Scoring(model, prepared.tasks)(rows), prepared
    )


def _size(model: RankingModel) -> dict[str, int]:
    return measure.parameters(measure.model_weights(model))


def _user_numbers(prepared: RankingPrepared) -> np.ndarray:
    """[test examples] numbers, the same for every split; ids stay out."""
    data, groups = prepared.split.interactions, prepared.split.test.groups
    known = np.unique(
        groups if data is None else data.events[data.schema.user_id]
    )
    return np.searchsorted(known, groups).astype(np.int32)
