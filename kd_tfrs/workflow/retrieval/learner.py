"""How each stage's model comes to be: trained, distilled, pruned."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable
from functools import cached_property

import numpy as np
import tensorflow as tf
import tensorflow_model_optimization as tfmot

from kd_tfrs.compression import prunable, pruning_schedule, strip
from kd_tfrs.distillation import GradientNormBalance
from kd_tfrs.distillation.retrieval import (
    Distiller,
    Teacher,
    project_embeddings,
)
from kd_tfrs.errors import UserError
from kd_tfrs.models.retrieval import RetrievalModel
from kd_tfrs.workflow.choice import loss_margin, relative_loss
from kd_tfrs.workflow.levels import largest_within
from kd_tfrs.workflow.optimizers import build_optimizer
from kd_tfrs.workflow.retrieval import measure
from kd_tfrs.workflow.retrieval.auto_method import resolve_auto
from kd_tfrs.workflow.retrieval.builders import (
    build_model,
    build_teacher,
)
from kd_tfrs.workflow.retrieval.config import TowerOptions, TrainOptions
from kd_tfrs.workflow.retrieval.methods import (
    METHODS,
    Setting,
    build_terms,
    parse_method,
)
from kd_tfrs.workflow.retrieval.prepare import Encoded, Prepared
from kd_tfrs.workflow.retrieval.table_student import (
    build_table_student,
    encode_rows,
    set_tables,
)
from kd_tfrs.workflow.retrieval.teacher_factory import TeacherFactory
from kd_tfrs.workflow.run import Run
from kd_tfrs.workflow.training import (
    Progress,
    get_weights,
    joined,
    open_training,
    set_weights,
)

logger = logging.getLogger(__name__)
MODELS = ("teacher", "student", "distilled", "pruned")
DISTILLED = ("distilled", "pruned")
Watch = Callable[[dict[str, float]], None]
Learned = tuple[RetrievalModel, Progress]


class Learner:
    """Trains the models of a run, and asks the test events nothing.

    Args:
        run: keeps checkpoints and weights.
        prepared: data, split and protocols.

    Attributes:
        config: the run's options, with the method that "auto" stands for.
        method: the method and why it was taken, one sentence.

    Example:
    ```python
    model, progress = Learner(run, prepared).train("student")
    ```
    """

    def __init__(self, run: Run, prepared: Prepared) -> None:
        self.run = run
        self.prepared = prepared
        options, self.method = resolve_auto(
            run.config.distillation, prepared.catalogue.num_items
        )
        self.config = dataclasses.replace(run.config, distillation=options)
        for text in self.config.distillation.losses:
            parse_method(
                text, METHODS
            )  # a mistake shows before the teacher trains

    @property
    def monitor(self) -> str:
        """The validation metric that decides."""
        return self.config.evaluation.monitor

    def train(self, stage: str, watch: Watch | None = None) -> Learned:
        """Trains a stage, from the start or from where it was stopped.

        Args:
            stage: one of `MODELS`; "distilled" needs the teacher's weights in
                the run folder, "pruned" the distilled student's as well.
            watch: called with the validation metrics of every epoch; an
                exception from it ends the training.

        Returns:
            The model at its best epoch, and what happened.
        """
        if stage == "pruned":
            return self._prune(watch)
        if stage != "distilled":
            return self._fit(stage, self._towers(stage), None, watch)
        return self._fit(
            stage,
            self._towers(stage),
            self.teaching.get,
            watch,
            self._source,
        )

    def save(self, stage: str, model: RetrievalModel) -> None:
        """Keeps a stage's weights in the run folder."""
        self.run.save_weights(stage, get_weights(model))

    def load(self, stage: str) -> RetrievalModel:
        """The model of a stage with the weights that were kept.

        Args:
            stage: one of `MODELS`.

        Returns:
            A compiled model.

        Raises:
            UserError: the stage has not been done.
        """
        weights = self.run.load_weights(stage)
        if weights is None:
            raise UserError(
                f"The stage {stage} should be done first. Received: no "
                f"weights of it in {self.run.directory}."
            )
        if stage in DISTILLED:
            # One step an epoch: it is not trained any more.
            model = self._new_student(
                self._towers(stage), self._options(stage), 1
            )
        else:
            model = build_model(
                self.encoded(stage),
                self._towers(stage),
                self._options(stage),
                1,
            )
        set_weights(model, weights)
        return model

    def encoded(self, stage: str) -> Encoded:
        """The features of a stage's model."""
        if stage == "teacher":
            return self._teacher_encoded
        if stage in DISTILLED and self.distils_tables:
            return self._row_encoded
        return self._student_encoded

    def teacher(self) -> Teacher:
        """The teacher, live or as the cache that it has written."""
        return self.teaching.get("teacher")

    @cached_property
    def teaching(self) -> TeacherFactory:
        """All teachers; trains assistants where a chain has them."""
        return TeacherFactory(
            self.run, self.config, self.prepared, self._last_of_the_chain
        )

    def _last_of_the_chain(self) -> tuple[Teacher, list[np.ndarray]]:
        model, encoded = self._source
        return self._live(model, encoded), get_weights(model)

    @cached_property
    def _source(self) -> tuple[RetrievalModel, Encoded]:
        """The teacher, or the last assistant of a chain; and its features."""
        model, encoded = self.load("teacher"), self.encoded("teacher")
        for position, width in enumerate(self.config.distillation.chain):
            model = self._assistant(position, width, model, encoded)
            encoded = self.encoded("distilled")
        return model, encoded

    def _live(self, model: RetrievalModel, encoded: Encoded) -> Teacher:
        excludes = self.config.distillation.exclude_seen
        seen = self.prepared.seen() if excludes else None
        return build_teacher(model, encoded, seen)

    def _assistant(
        self,
        position: int,
        width: int,
        source: RetrievalModel,
        source_encoded: Encoded,
    ) -> RetrievalModel:
        """A model between teacher and student, trained once."""
        stage = f"assistant_{position}"
        towers = dataclasses.replace(
            self.config.student_towers, embedding_dim=width
        )
        kept = self.run.load_weights(stage)
        if kept is None:
            # It is taught by the one before and by no other teacher.
            teacher = self._live(source, source_encoded)
            model, _ = self._fit(
                stage,
                towers,
                lambda name: teacher,
                None,
                (source, source_encoded),
            )
            self.run.save_weights(stage, get_weights(model))
            return model
        model = self._new_student(towers, self.config.distilled, 1)
        set_weights(model, kept)
        return model

    def _teacher_names(self) -> list[str]:
        names = ["teacher"]
        for text in self.config.distillation.losses:
            named = parse_method(text, METHODS)
            names.append(named.teacher or METHODS[named.method].teacher)
        return names

    def _fit(
        self,
        stage: str,
        towers: TowerOptions,
        teacher: Callable[[str], Teacher] | None,
        watch: Watch | None,
        source: tuple[RetrievalModel, Encoded] | None = None,
    ) -> Learned:
        distils = teacher is not None
        options = self._options(stage)
        encoded = self.encoded("distilled" if distils else stage)
        if teacher is not None:
            # Before the seed is set: some of them train.
            for name in self._teacher_names():
                teacher(name)
        batches = self.prepared.batches(encoded, options, self.config.seed)
        self._set_seed(stage)
        steps = batches.steps_per_epoch
        trained, join = None, None
        if not distils:
            model = trained = build_model(encoded, towers, options, steps)
        else:
            model = self._new_student(towers, options, steps)
            if self._starts_as_teacher:
                self._start_as(model, towers.embedding_dim, *source)
            trained = self._distiller(teacher, model, options.epochs)
            # The distilled student learns at its own step size.
            trained.compile(optimizer=model.optimizer)
            join = trained.join
        progress = open_training(
            self.run, stage, trained, model, self.config.evaluation.monitor
        ).fit(
            batches,
            self._validate(model, encoded, watch),
            epochs=options.epochs,
            patience=options.patience,
            join=join,
        )
        return model, progress

    @cached_property
    def _teacher_encoded(self) -> Encoded:
        return self.prepared.encode(self.config.teacher_towers)

    @cached_property
    def _student_encoded(self) -> Encoded:
        mine, its = self.config.student_towers, self.config.teacher_towers
        if mine.features == its.features:
            return self._teacher_encoded
        return self.prepared.encode(mine)

    @cached_property
    def _row_encoded(self) -> Encoded:
        return encode_rows(self.prepared)

    @property
    def distils_tables(self) -> bool:
        """Whether the distilled student is two tables.

        The towers of a known user and item give the same embedding at every
        request. Tables hold just these: they are what is exported, zeros in
        them save bytes, and a step over the whole catalogue reads no columns.
        """
        asked = self.config.distillation.tables
        if asked is not None:
            return asked
        plain = not self.config.student_towers.hidden_units
        return plain and self.config.distillation.student_output == "embedding"

    @property
    def _starts_as_teacher(self) -> bool:
        start = self.config.distillation.initialization
        return self.distils_tables and start == "teacher"

    def _new_student(
        self, towers: TowerOptions, training: TrainOptions, steps: int
    ) -> RetrievalModel:
        encoded = self.encoded("distilled")
        if not self.distils_tables:
            return build_model(encoded, towers, training, steps)
        return build_table_student(encoded, towers, training, steps)

    def _start_as(
        self, model: RetrievalModel, dim: int, *source: object
    ) -> None:
        """Gives tables the embeddings of another model, projected."""
        embedded = measure.embed(*source, self.prepared)
        set_tables(
            model,
            *project_embeddings(
                embedded.queries,
                embedded.candidates,
                dim,
                seed=self.config.seed,
            ),
        )

    def _prune(self, watch: Watch | None) -> Learned:
        """To the largest sparsity that stays within the limit."""
        dense = self.load("distilled")
        # Before the seed is set: some of them train.
        for name in self._teacher_names():
            self.teaching.get(name)
        encoded = self.encoded("distilled")
        reference = self._validated_users(dense, encoded)
        best, tried = largest_within(
            self.config.pruning.sparsities,
            lambda sparsity, before: self._prune_to(
                sparsity, dense if before is None else before[0], watch
            ),
            lambda made: self._largest_loss(made[0], reference),
            self.config.shipping.max_loss,
        )
        for level in tried:
            logger.info(
                "sparsity %g: up to %.2f %% of validation %s lost",
                level.level,
                100 * level.loss,
                self.monitor,
            )
        progress = joined([level.made[1] for level in tried])
        return best.made[0], progress

    def _largest_loss(
        self, model: RetrievalModel, reference: np.ndarray
    ) -> float:
        """The loss as `choose` counts it, with its margin."""
        found = self._validated_users(model, self.encoded("pruned"))
        lost = relative_loss(found.mean(), reference.mean())
        return lost + loss_margin(reference, found)

    def _validated_users(
        self, model: RetrievalModel, encoded: Encoded
    ) -> np.ndarray:
        """The monitored metric of every validation user."""
        scorer = measure.embed(model, encoded, self.prepared).scorer(
            self.prepared
        )
        found = self.prepared.validation.evaluate(scorer, fast=True)
        return found.per_user[self.monitor]

    def _prune_to(
        self, sparsity: float, dense: RetrievalModel, watch: Watch | None
    ) -> Learned:
        """One level; a level that a stopped run has finished is read."""
        options, pruning = self.config.distilled, self.config.pruning
        stage = f"pruned_{sparsity:g}"
        encoded = self.encoded("pruned")
        position = pruning.sparsities.index(sparsity)
        tf.keras.utils.set_random_seed(self._seed_of("pruned") + 200 * position)
        # Other batches than those that the distilled student has seen.
        batches = self.prepared.batches(
            encoded, options, self.config.seed + 10_000 * (1 + position)
        )
        num_steps = pruning.epochs * batches.steps_per_epoch
        schedule = pruning_schedule(pruning.schedule, sparsity, num_steps)
        student = dense.with_towers(
            prunable(dense.query_tower, schedule),
            prunable(dense.candidate_tower, schedule),
        )
        distiller = self._distiller(self.teaching.get, student, pruning.epochs)
        distiller.compile(
            optimizer=build_optimizer(
                pruning.learning_rate or options.learning_rate / 2,
                options.decay,
                num_steps,
            )
        )
        # The last epoch is kept: the best one may not be sparse yet.
        progress = open_training(self.run, stage, distiller, student, None).fit(
            batches,
            self._validate(student, encoded, watch),
            epochs=pruning.epochs,
            patience=pruning.epochs,
            join=distiller.join,
            callbacks=[tfmot.sparsity.keras.UpdatePruningStep()],
        )
        sparse = student.with_towers(
            strip(student.query_tower, sparsity),
            strip(student.candidate_tower, sparsity),
        )
        return sparse, progress

    def _distiller(
        self,
        teacher: Callable[[str], Teacher],
        student: RetrievalModel,
        epochs: int,
    ) -> Distiller:
        options, training = self.config.distillation, self.config.distilled
        user_rows, item_rows = self.prepared.train_rows()
        setting = Setting(
            options,
            epochs * max(1, len(user_rows) // training.batch_size),
            user_rows,
            item_rows,
            self.prepared.catalogue.num_users + 1,
            self.prepared.catalogue.num_items,
            self.prepared.seen() if options.exclude_seen else None,
        )
        terms, weights = build_terms(options.losses, setting, teacher)
        return Distiller(
            teacher("teacher"),
            student,
            terms,
            weights,
            options.student_loss_weight,
            balance=GradientNormBalance() if options.balance else None,
        )

    def _validate(
        self, model: RetrievalModel, encoded: Encoded, watch: Watch | None
    ) -> Callable[[], dict[str, float]]:
        def validate() -> dict[str, float]:
            metrics = measure.validate(model, encoded, self.prepared)
            if watch is not None:
                watch(metrics)
            return metrics

        return validate

    def _set_seed(self, stage: str) -> None:
        tf.keras.utils.set_random_seed(self._seed_of(stage))

    def _seed_of(self, stage: str) -> int:
        # The same numbers whether the stages before were read or done.
        kind, _, position = stage.partition("_")
        number = (
            100 + int(position) if kind == "assistant" else MODELS.index(stage)
        )
        return 1000 * self.config.seed + number

    def _options(self, stage: str) -> TrainOptions:
        alone = {"teacher": self.config.teacher, "student": self.config.student}
        return alone.get(stage, self.config.distilled)

    def _towers(self, stage: str) -> TowerOptions:
        if stage == "teacher":
            return self.config.teacher_towers
        return self.config.student_towers
