"""How the models of a ranking run are built, distilled and validated."""

from __future__ import annotations

import dataclasses
from functools import cached_property
from typing import ClassVar

import numpy as np

from kd_tfrs.compression.pruning import copy
from kd_tfrs.data.ranking.batches import RankingBatches
from kd_tfrs.distillation import GradientNormBalance
from kd_tfrs.distillation.ranking import (
    RankingDistiller,
    with_auxiliary_head,
    without_auxiliary_head,
)
from kd_tfrs.errors import UserError
from kd_tfrs.models.ranking import RankingModel
from kd_tfrs.workflow.given import Given
from kd_tfrs.workflow.learner import Learner
from kd_tfrs.workflow.ranking import measure
from kd_tfrs.workflow.ranking.builders import build_model, shift_head
from kd_tfrs.workflow.ranking.checks import check_shifts
from kd_tfrs.workflow.ranking.chosen_methods import ChosenMethods
from kd_tfrs.workflow.ranking.naming import member_stages
from kd_tfrs.workflow.ranking.networks import network_flags
from kd_tfrs.workflow.ranking.options import RankerOptions, labels_weight
from kd_tfrs.workflow.ranking.prepare import Inputs, RankingPrepared
from kd_tfrs.workflow.ranking.teacher_factory import (
    RankingTeacherFactory,
    together,
)
from kd_tfrs.workflow.run import Run
from kd_tfrs.workflow.training import Guard, Validate


class RankingLearner(Learner):
    """Trains the models of a ranking run.

    Args:
        run: keeps checkpoints and weights.
        prepared: data, tasks and protocols.
        given: see `Learner`.

    Raises:
        UserError: a method of distillation or the monitored metric does not
            fit the data.

    Example:
    ```python
    model, progress = RankingLearner(run, prepared).train("student")
    ```
    """

    first_teacher: ClassVar[int] = 10

    def __init__(
        self, run: Run, prepared: RankingPrepared, given: Given | None = None
    ) -> None:
        super().__init__(run, prepared, given)
        # Mistakes show before the teachers train.
        self.monitor = monitored(self.config.evaluation.monitor, prepared)
        self.methods = ChosenMethods(self.config.distillation, prepared)
        check_shifts(self.config, [task.name for task in prepared.tasks])
        if self.methods.uses_layers:
            self._check_layers()
        # Rows for the teacher; the student alone has no use for them.
        self.distilled_data = prepared.with_unlabelled(
            self.config.distillation.unlabelled, self.config.seed
        )
        self._teachers: dict[str, RankingTeacherFactory] = {}

    @cached_property
    def members(self) -> dict[str, str]:
        """Kinds of the teacher's networks by the names of their stages."""
        given = dict.fromkeys(self.given.teachers, "given")
        return given or member_stages(self.config)

    @property
    def teachers(self) -> tuple[str, ...]:
        """See `Learner.teachers`."""
        return tuple(self.members)

    @property
    def teacher_factory(self) -> RankingTeacherFactory:
        """The teacher, once its members are trained."""
        return self._teacher_factory("teacher")

    def _teacher_factory(self, teacher: str) -> RankingTeacherFactory:
        """The teacher, or an assistant as a teacher."""
        if teacher not in self._teachers:
            is_assistant = teacher in self.assistants
            self._teachers[teacher] = RankingTeacherFactory(
                self.run,
                self.distilled_data,
                self.inputs(teacher).names,
                lambda: (
                    [self.assistant(teacher)]
                    if is_assistant
                    else [self.load(member) for member in self.members]
                ),
                f"training/{teacher}/knowledge"
                if is_assistant
                else "knowledge",
            )
        return self._teachers[teacher]

    def make_teachers(self, stage: str) -> None:
        """See `Learner.make_teachers`; a gate may be trained."""
        if stage == self.teachers[0]:
            self._check_networks()
        if self.distils(stage):
            self._teacher_factory(self.taught_by(stage)).live  # noqa: B018

    def inputs(self, stage: str) -> Inputs:
        """The inputs of a stage's model; of a teacher `training_only` too."""
        given = self.given.teachers
        if stage == "teacher" and given:
            names = {n for m in given.values() for n in m.feature_names}
            return self.prepared.inputs_of(names)
        if stage in given:
            return self.prepared.inputs_of(given[stage].feature_names)
        if self.copies_student(stage):
            return self.prepared.inputs_of(self.given.student.feature_names)
        if stage != "teacher" and stage not in self.members:
            return self.prepared.inputs(self.config.student_ranker, served=True)
        teacher = self.config.teacher_rankers
        return self.prepared.inputs(teacher, served=not teacher.training_only)

    def build(self, stage: str, steps_per_epoch: int) -> RankingModel:
        """See `Learner.build`."""
        student = self.config.student_ranker
        return build_model(
            self.inputs(stage),
            self._sizes(stage),
            self.members.get(stage, student.network),
            self.training(stage),
            self.prepared.tasks,
            steps_per_epoch,
        )

    def batches(self, stage: str, seed: int) -> RankingBatches:
        """See `Learner.batches`."""
        names, distils = self.inputs(stage).names, self.distils(stage)
        if distils and self.config.distillation.knowledge == "live":
            teacher_factory = self._teacher_factory(self.taught_by(stage))
            names = tuple(dict.fromkeys([*names, *teacher_factory.names]))
        prepared = self.distilled_data if distils else self.prepared
        return prepared.batches(
            names,
            self.training(stage),
            seed,
            self.methods.sessions() if distils else None,
        )

    def initialised(
        self, stage: str, model: RankingModel, batches: RankingBatches
    ) -> RankingModel:
        """Moves the head to the mean label of the batches; adds heads."""
        if self.compresses(stage):
            model = model.with_networks(copy(model.network))
        shift_head(model, self.prepared.task, -batches.logit_offset)
        return self._with_heads(model) if self.distils(stage) else model

    def _distiller(
        self,
        stage: str,
        student: RankingModel,
        batches: RankingBatches,
        epochs: int,
    ) -> RankingDistiller:
        options = self.config.distillation
        teacher_factory = self._teacher_factory(self.taught_by(stage))
        teacher = teacher_factory.live
        if options.knowledge == "cached":
            outputs = teacher_factory.outputs(self.methods.outputs(teacher))
            teacher = teacher_factory.of_training(outputs)
        terms, weights = self.methods.terms(
            teacher,
            student,
            epochs * batches.steps_per_epoch,
            batches.logit_offset,
        )
        return RankingDistiller(
            teacher,
            student,
            terms,
            weights,
            labels_weight(options),
            GradientNormBalance() if options.balance else None,
        )

    def _selection(self, stage: str) -> tuple[str, Guard | None]:
        """Log loss is guarded where the monitored metric ignores it."""
        stop_on = self.config.distillation.stop_on
        if self.distils(stage) and stop_on == "teacher":
            return "distillation_loss", None
        rise = self.config.evaluation.log_loss_rise
        ignores = self.monitor in ("auc", "gauc")
        return self.monitor, Guard("log_loss", rise) if ignores else None

    def _check_networks(self) -> None:
        """Builds all networks before the first one trains, to see if they can.

        Otherwise a student that does not fit the data would fail after all
        its teachers have trained.
        """
        for stage in (*self.members, "student"):
            with network_flags(stage):
                self.build(stage, 1)

    def _check_layers(self) -> None:
        """Checks by untrained networks that the layers exist."""
        student = self._with_heads(self._new("student", 1))
        given = self.given.teachers.values()
        teacher = together([*given] or [self.build(m, 1) for m in self.members])
        terms, weights = self.methods.terms(teacher, student, num_steps=1)
        try:
            RankingDistiller(teacher, student, terms, weights)
        except UserError as error:
            raise UserError(
                "`--distillation_teacher_output` and "
                "`--distillation_student_output` should name layers that the "
                f"networks have. {error}"
            ) from None

    def _with_heads(self, model: RankingModel) -> RankingModel:
        """Adds an auxiliary head if a method needs it."""
        if not self.methods.auxiliary:
            return model
        return model.with_networks(
            with_auxiliary_head(model.network, model.tasks)
        )

    def finished(
        self, model: RankingModel, batches: RankingBatches
    ) -> RankingModel:
        """Removes heads for the teacher, and corrects the probabilities."""
        heads = {f"{task.output}_teacher" for task in self.prepared.tasks}
        if heads & {*model.network.output}:
            model = model.with_networks(without_auxiliary_head(model.network))
        shift_head(model, self.prepared.task, batches.logit_offset)
        return model

    def validation(self, stage: str, model: RankingModel) -> dict[str, float]:
        """Validation metrics of a trained model."""
        scoring = measure.Scoring(model, self.prepared.tasks)
        logits = scoring(self.prepared.validated(self.inputs(stage).names))
        return measure.validate(logits, self.prepared)

    def validation_values(self, stage: str, model: RankingModel) -> np.ndarray:
        """`[1]`, the monitored metric of all rows."""
        return np.array([self.validation(stage, model)[self.monitor]])

    def _validator(
        self, stage: str, model: RankingModel, batches: RankingBatches
    ) -> Validate:
        prepared = self.prepared
        scoring = measure.Scoring(model, prepared.tasks)
        rows = prepared.validated(self.inputs(stage).names)
        teacher = None
        if self.distils(stage):
            teacher_factory = self._teacher_factory(self.taught_by(stage))
            cached = teacher_factory.cached(
                "validation", teacher_factory.outputs()
            )
            teacher = {t.name: cached.arrays[t.output] for t in prepared.tasks}

        def validate() -> dict[str, float]:
            logits = scoring(rows)
            logits[prepared.task.name] += batches.logit_offset
            return measure.validate(logits, prepared, teacher)

        return validate

    def _sizes(self, stage: str) -> RankerOptions:
        if stage in self.members:
            return self.config.teacher_rankers
        sizes = self.config.student_ranker
        if stage not in self.assistants:
            return sizes
        width = self.width_of(stage)
        return dataclasses.replace(
            sizes,
            embedding_dim=width,
            hidden_units=tuple(
                max(1, round(units * width / sizes.embedding_dim))
                for units in sizes.hidden_units
            ),
        )


def monitored(name: str, prepared: RankingPrepared) -> str:
    """The validation metric that decides, of the first task.

    Raises:
        UserError: it is not measured of the first task.
    """
    task = prepared.task
    if name == "auto":
        return "auc" if task.kind == "binary" else "rmse"
    names = prepared.validation[task.name].names
    if name not in names:
        raise UserError(
            "`--eval_monitor` should be measured of the first task, "
            f"{task.name} ({task.kind}). Received: {name!r}. Choose one of "
            f"auto, {', '.join(n for n in names if '@' not in n)}."
        )
    return name
