"""The chain: teacher, student, distilled, pruned, exported; each measured."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable
from functools import cached_property
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_model_optimization as tfmot

from kd_tfrs.compression import prunable, pruning_schedule, strip
from kd_tfrs.distillation import Distiller, Teacher, build_cache
from kd_tfrs.evaluation import SavedModelScorer
from kd_tfrs.export import export_saved_model, verify_export
from kd_tfrs.models import LazyAdam, RetrievalModel
from kd_tfrs.workflow import measure
from kd_tfrs.workflow.builders import (
    build_model,
    build_teacher,
    build_terms,
    parse_loss,
)
from kd_tfrs.workflow.config import TowerOptions, TrainOptions
from kd_tfrs.workflow.prepare import Encoded, Prepared, prepare
from kd_tfrs.workflow.run import Run
from kd_tfrs.workflow.training import (
    Progress,
    Training,
    get_weights,
    set_weights,
)

logger = logging.getLogger(__name__)
STAGES = ("teacher", "student", "distilled", "pruned", "saved_model")
_VERIFIED_USERS = 200
Watch = Callable[[dict[str, float]], None]


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
        for text in self.config.distillation.losses:
            parse_loss(text)  # a mistake shows before the teacher trains

    @cached_property
    def prepared(self) -> Prepared:
        """Data, split and protocols."""
        config = self.config
        prepared = prepare(config.data, config.evaluation, config.seed)
        self.run.check_data(prepared.interactions.fingerprint())
        return prepared

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
        logger.info("stage %s", stage)
        return getattr(self, f"_do_{stage}")()

    def adopt(self, other: Stages, stage: str) -> None:
        """Takes a finished stage over from another run of the same data.

        Args:
            other: has done the stage, with the same options for it.
            stage: its name.
        """
        row = other.result(stage)
        self.run.save_weights(stage, other.run.load_weights(stage))
        self._keep(row, other.per_user(stage), other.history(stage))

    def per_user(self, stage: str) -> dict[str, np.ndarray]:
        """Test metrics of a finished stage by user, `[users]` each."""
        with np.load(self.run.path("stages", f"{stage}.npz")) as arrays:
            return dict(arrays)

    def history(self, stage: str) -> list[dict[str, float]]:
        """Losses and validation metrics of a stage by epoch."""
        return self.run.read_json(f"stages/{stage}.history.json") or []

    def model(self, stage: str) -> RetrievalModel:
        """The trained model of a finished stage.

        Args:
            stage: "teacher", "student", "distilled" or "pruned".

        Returns:
            A model with its weights.
        """
        self.result(stage)
        model = build_model(
            self.encoded(stage),
            self._towers(stage),
            self._training_options(stage),
        )
        set_weights(model, self.run.load_weights(stage))
        return model

    def encoded(self, stage: str) -> Encoded:
        """The features of a stage's model."""
        if stage == "teacher":
            return self._teacher_encoded
        return self._student_encoded

    @cached_property
    def _teacher_encoded(self) -> Encoded:
        return self.prepared.encode(self.config.teacher_towers)

    @cached_property
    def _student_encoded(self) -> Encoded:
        if self.config.student_towers.features == (
            self.config.teacher_towers.features
        ):
            return self._teacher_encoded
        return self.prepared.encode(self.config.student_towers)

    def _set_seed(self, stage: str) -> None:
        # The same numbers whether the stages before were read or done.
        tf.keras.utils.set_random_seed(
            1000 * self.config.seed + STAGES.index(stage)
        )

    def _training_options(self, stage: str) -> TrainOptions:
        options = {
            "teacher": self.config.teacher,
            "student": self.config.student,
        }
        return options.get(stage, self.config.distilled)

    def _towers(self, stage: str) -> TowerOptions:
        if stage == "teacher":
            return self.config.teacher_towers
        return self.config.student_towers

    def _do_teacher(self) -> dict[str, Any]:
        return self._train_alone("teacher", self.config.teacher)

    def _do_student(self) -> dict[str, Any]:
        return self._train_alone("student", self.config.student)

    def _train_alone(self, stage: str, options: TrainOptions) -> dict[str, Any]:
        encoded = self.encoded(stage)
        model = build_model(encoded, self._towers(stage), options)
        training = self._training(stage, model, model)
        progress = training.fit(
            self.prepared.batches(encoded, options, self.config.seed),
            self._validate(model, encoded),
            epochs=options.epochs,
            patience=options.patience,
        )
        return self._finish(stage, model, progress)

    def _do_distilled(self) -> dict[str, Any]:
        teacher = self._teacher()
        options, encoded = self.config.distilled, self.encoded("distilled")
        tf.keras.utils.set_random_seed(1000 * self.config.seed + 2)
        student = build_model(encoded, self._towers("distilled"), options)
        distiller = self._distiller(teacher, student, options.learning_rate)
        training = self._training("distilled", distiller, student)
        progress = training.fit(
            self.prepared.batches(encoded, options, self.config.seed),
            self._validate(student, encoded),
            epochs=options.epochs,
            patience=options.patience,
            join=distiller.join,
        )
        return self._finish("distilled", student, progress)

    def _do_pruned(self) -> dict[str, Any]:
        dense, teacher = self.model("distilled"), self._teacher()
        options, pruning = self.config.distilled, self.config.pruning
        encoded = self.encoded("pruned")
        tf.keras.utils.set_random_seed(1000 * self.config.seed + 3)
        batches = self.prepared.batches(
            encoded, options, self.config.seed + 10_000
        )
        schedule = pruning_schedule(
            pruning.schedule,
            pruning.final_sparsity,
            pruning.epochs * batches.steps_per_epoch,
        )
        student = dense.with_towers(
            prunable(dense.query_tower, schedule),
            prunable(dense.candidate_tower, schedule),
        )
        rate = pruning.learning_rate or options.learning_rate / 2
        distiller = self._distiller(teacher, student, rate)
        training = self._training("pruned", distiller, student, monitor=None)
        progress = training.fit(
            batches,
            self._validate(student, encoded),
            epochs=pruning.epochs,
            patience=pruning.epochs,
            join=distiller.join,
            callbacks=[tfmot.sparsity.keras.UpdatePruningStep()],
        )
        sparse = student.with_towers(
            strip(student.query_tower, pruning.final_sparsity),
            strip(student.candidate_tower, pruning.final_sparsity),
        )
        return self._finish("pruned", sparse, progress)

    def _do_saved_model(self) -> dict[str, Any]:
        pruned = self.result("pruned")
        model, encoded = self.model("pruned"), self.encoded("pruned")
        prepared, evaluation = self.prepared, self.config.evaluation
        embedded = measure.embed(model, encoded, prepared)
        users = prepared.test.users[:_VERIFIED_USERS]
        parity = []
        version = export_saved_model(
            measure.serving_module(
                model, encoded, embedded, prepared, evaluation.top_k
            ),
            self.run.path("export", "retrieval"),
            verify=lambda path: parity.append(
                verify_export(
                    path,
                    embedded.scorer(prepared),
                    users,
                    k=min(100, prepared.catalogue.num_items),
                )
            ),
            items=prepared.catalogue.items,
        )
        logger.info("exported %s: %s", version, parity[0])
        scorer = SavedModelScorer(version)
        metrics, per_user = measure.quality(scorer, prepared)
        loaded = tf.saved_model.load(str(version))
        row = {
            "stage": "saved_model",
            "metrics": metrics,
            "parameters": pruned["parameters"],
            "nonzero_parameters": pruned["nonzero_parameters"],
            **measure.folder_size(version),
            "latency_ms": measure.latency(
                loaded.signatures["serving_default"],
                prepared.test.users,
                evaluation.latency_repeats,
            ),
            "train_seconds": 0.0,
        }
        return self._keep(row, per_user, [])

    def teacher(self) -> Teacher:
        """The trained teacher, live or as the cache that it has written."""
        options = self.config.distillation
        model, encoded = self.model("teacher"), self.encoded("teacher")
        seen = self.prepared.seen() if options.exclude_seen else None
        teacher = build_teacher(model, encoded, seen)
        if options.knowledge == "live":
            return teacher
        digest = hashlib.sha256(
            self.prepared.interactions.fingerprint().encode()
        )
        digest.update(str((options.exclude_seen, self.config.seed)).encode())
        for weight in get_weights(model):
            digest.update(np.ascontiguousarray(weight))
        return build_cache(
            teacher,
            self.run.path("knowledge"),
            fingerprint=digest.hexdigest(),
            k=options.top_k,
        )

    def _distiller(
        self, teacher: Teacher, student: RetrievalModel, learning_rate: float
    ) -> Distiller:
        options = self.config.distillation
        steps = self.config.distilled.epochs * (
            len(self.prepared.split.train) // self.config.distilled.batch_size
        )
        terms, weights = build_terms(
            options, max(1, steps), self.prepared.catalogue.num_items
        )
        distiller = Distiller(
            teacher, student, terms, weights, options.student_loss_weight
        )
        distiller.compile(optimizer=LazyAdam(learning_rate))
        return distiller

    def _training(
        self,
        stage: str,
        model: tf.keras.Model,
        student: RetrievalModel,
        monitor: str | None = "",
    ) -> Training:
        if monitor == "":
            monitor = self.config.evaluation.monitor
        directory = self.run.path("training", stage)
        directory.mkdir(exist_ok=True)
        return Training(model, student, directory, monitor, stage)

    def _validate(
        self,
        model: RetrievalModel,
        encoded: Encoded,
        watch: Watch | None = None,
    ) -> Callable[[], dict[str, float]]:
        def validate() -> dict[str, float]:
            embedded = measure.embed(model, encoded, self.prepared)
            scorer = embedded.scorer(self.prepared)
            result = self.prepared.validation.evaluate(scorer, fast=True)
            if watch is not None:
                watch(result.metrics)
            return result.metrics

        return validate

    def _finish(
        self, stage: str, model: RetrievalModel, progress: Progress
    ) -> dict[str, Any]:
        self.run.save_weights(stage, get_weights(model))
        prepared, evaluation = self.prepared, self.config.evaluation
        encoded = self.encoded(stage)
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
            "train_seconds": progress.seconds,
        }
        return self._keep(row, per_user, progress.history)

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
