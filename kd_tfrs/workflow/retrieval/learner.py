"""How the models of a retrieval run are built, distilled and validated."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import cached_property

import numpy as np

from kd_tfrs.data.retrieval.batches import RetrievalBatches
from kd_tfrs.distillation import GradientNormBalance
from kd_tfrs.distillation.retrieval import (
    Distiller,
    Teacher,
    project_embeddings,
)
from kd_tfrs.models.retrieval import RetrievalModel
from kd_tfrs.workflow import learner
from kd_tfrs.workflow.given import Given
from kd_tfrs.workflow.retrieval import measure
from kd_tfrs.workflow.retrieval.auto_method import resolve_auto
from kd_tfrs.workflow.retrieval.builders import (
    build_model,
    build_teacher,
)
from kd_tfrs.workflow.retrieval.config import TowerOptions
from kd_tfrs.workflow.retrieval.methods import (
    METHODS,
    Setting,
    build_terms,
    parse_method,
)
from kd_tfrs.workflow.retrieval.prepare import (
    Encoded,
    Prepared,
    encode_rows,
)
from kd_tfrs.workflow.retrieval.teacher_factory import TeacherFactory
from kd_tfrs.workflow.run import Run
from kd_tfrs.workflow.training import Validate, get_weights, set_weights


class Learner(learner.Learner):
    """Trains the models of a retrieval run.

    Args:
        run: keeps checkpoints and weights.
        prepared: data, split and protocols.
        given: see `kd_tfrs.workflow.learner.Learner`.

    Raises:
        UserError: a method of distillation is unknown.

    Attributes:
        config: the run's options, with the method that "auto" stands for.
        method: the method and why it was taken, one sentence.

    Example:
    ```python
    model, progress = Learner(run, prepared).train("student")
    ```
    """

    def __init__(
        self, run: Run, prepared: Prepared, given: Given | None = None
    ) -> None:
        super().__init__(run, prepared, given)
        options, self.method = resolve_auto(
            run.config.distillation, prepared.catalogue.num_items
        )
        self.config = dataclasses.replace(run.config, distillation=options)
        self.monitor = self.config.evaluation.monitor
        self._sources: dict[str, RetrievalModel] = {}
        self._encoded: dict[str, Encoded] = {}
        # A mistake shows before the teacher trains.
        named = [parse_method(text, METHODS) for text in options.losses]
        self._teacher_names = [
            "teacher",
            *(name.teacher or METHODS[name.method].teacher for name in named),
        ]

    def encoded(self, stage: str) -> Encoded:
        """The features of a stage's model."""
        if stage in self.given.teachers:
            return self.prepared.encoded_for(self.given.teachers[stage])
        if self.copies_student(stage):
            return self.prepared.encoded_for(self.given.student)
        towers, has_tables = self._towers(stage), self._has_tables(stage)
        key = "tables" if has_tables else towers.features
        if key not in self._encoded:
            self._encoded[key] = (
                encode_rows(self.prepared.catalogue)
                if has_tables
                else self.prepared.encode(towers)
            )
        return self._encoded[key]

    @cached_property
    def teacher_factory(self) -> TeacherFactory:
        """All teachers; trains assistants where a chain has them."""
        return TeacherFactory(
            self.run, self.config, self.prepared, self._last_of_chain
        )

    def _last_of_chain(self) -> tuple[Teacher, list[np.ndarray]]:
        stage = self.taught_by("distilled")
        return self._live(stage), get_weights(self._source(stage))

    def _source(self, stage: str) -> RetrievalModel:
        if stage not in self._sources:
            load = self.load if stage in self.teachers else self.assistant
            self._sources[stage] = load(stage)
        return self._sources[stage]

    def _live(self, stage: str) -> Teacher:
        return build_teacher(
            self._source(stage),
            self.encoded(stage),
            self.teacher_factory.seen(),
        )

    def _teachers_of(self, stage: str) -> Callable[[str], Teacher]:
        if stage not in self.assistants:
            return self.teacher_factory.get
        # It is taught by the one before and by no other teacher.
        teacher = self._live(self.taught_by(stage))
        return lambda name: teacher

    def make_teachers(self, stage: str) -> None:
        """See `kd_tfrs.workflow.learner.Learner.make_teachers`."""
        if self.distils(stage):
            teacher = self._teachers_of(stage)
            for name in self._teacher_names:
                teacher(name)

    def batches(self, stage: str, seed: int) -> RetrievalBatches:
        """See `kd_tfrs.workflow.learner.Learner.batches`."""
        encoded, options = self.encoded(stage), self.training(stage)
        return self.prepared.batches(encoded, options, seed)

    @property
    def distils_tables(self) -> bool:
        """Whether the distilled student is two tables.

        The towers of a known user and item give the same embedding at every
        request. Tables hold just these: they are what is exported, zeros in
        them save bytes, and a step over the whole catalogue reads no columns.
        """
        if self.given.student is not None:
            return False
        given = self.config.distillation.tables
        if given is not None:
            return given
        plain = not self.config.student_towers.hidden_units
        return plain and self.config.distillation.student_output == "embedding"

    def build(self, stage: str, steps_per_epoch: int) -> RetrievalModel:
        """See `kd_tfrs.workflow.learner.Learner.build`."""
        encoded, options = self.encoded(stage), self.training(stage)
        return build_model(
            encoded, self._towers(stage), options, steps_per_epoch
        )

    def initialised(
        self, stage: str, model: RetrievalModel, batches: RetrievalBatches
    ) -> RetrievalModel:
        """Gives new tables the embeddings of a teacher, projected."""
        del batches
        start = self.config.distillation.initialization
        is_new = self._has_tables(stage) and not self.compresses(stage)
        if is_new and start == "teacher":
            source = self.taught_by(stage)
            embedded = measure.embed(
                self._source(source), self.encoded(source), self.prepared
            )
            dim, seed = self._towers(stage).embedding_dim, self.config.seed
            tables = project_embeddings(
                embedded.queries, embedded.candidates, dim, seed=seed
            )
            set_weights(model, tables)
        return model

    def _distiller(
        self,
        stage: str,
        student: RetrievalModel,
        batches: RetrievalBatches,
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
            self.teacher_factory.seen(),
        )
        teacher = self._teachers_of(stage)
        terms, weights = build_terms(options.losses, setting, teacher)
        return Distiller(
            teacher("teacher"),
            student,
            terms,
            weights,
            options.student_loss_weight,
            balance=GradientNormBalance() if options.balance else None,
        )

    def _validator(
        self, stage: str, model: RetrievalModel, batches: RetrievalBatches
    ) -> Validate:
        encoded = self.encoded(stage)
        return lambda: measure.validate(model, encoded, self.prepared)

    def validation_values(
        self, stage: str, model: RetrievalModel
    ) -> np.ndarray:
        """`[validation users]` values of the monitored metric."""
        prepared = self.prepared
        scorer = measure.embed(model, self.encoded(stage), prepared).scorer(
            prepared
        )
        found = prepared.validation.evaluate(scorer, fast=True)
        return found.per_user[self.monitor]

    def _towers(self, stage: str) -> TowerOptions:
        if stage == "teacher":
            return self.config.teacher_towers
        towers = self.config.student_towers
        if self._has_tables(stage):
            towers = dataclasses.replace(towers, hidden_units=())
        if stage in self.assistants:
            width = self.width_of(stage)
            towers = dataclasses.replace(towers, embedding_dim=width)
        return towers

    def _has_tables(self, stage: str) -> bool:
        return self.distils(stage) and self.distils_tables
