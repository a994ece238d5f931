"""How each ranker comes to be: trained, distilled, pruned."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import cached_property

import tensorflow as tf
import tensorflow_model_optimization as tfmot

from kd_tfrs.compression import prunable, pruning_schedule, strip
from kd_tfrs.compression.pruning import copy
from kd_tfrs.data.ranking.batches import RankingBatches
from kd_tfrs.distillation.ranking import (
    RankingDistiller,
    with_auxiliary_head,
    without_auxiliary_head,
)
from kd_tfrs.errors import UserError
from kd_tfrs.models.ranking import RankingModel
from kd_tfrs.workflow.choice import chance_of, relative_loss
from kd_tfrs.workflow.levels import largest_within
from kd_tfrs.workflow.optimizers import build_optimizer
from kd_tfrs.workflow.ranking import measure
from kd_tfrs.workflow.ranking.builders import build_model, shift_head
from kd_tfrs.workflow.ranking.checks import check_shifts
from kd_tfrs.workflow.ranking.chosen_methods import ChosenMethods
from kd_tfrs.workflow.ranking.naming import member_stages
from kd_tfrs.workflow.ranking.networks import network_flags
from kd_tfrs.workflow.ranking.options import (
    RankerOptions,
    RankerTrainOptions,
    labels_weight,
)
from kd_tfrs.workflow.ranking.prepare import Inputs, RankingPrepared
from kd_tfrs.workflow.ranking.teacher_factory import (
    RankingTeacherFactory,
    together,
)
from kd_tfrs.workflow.run import Run
from kd_tfrs.workflow.training import (
    ERRORS,
    Guard,
    Progress,
    get_weights,
    joined,
    open_training,
    set_weights,
)

logger = logging.getLogger(__name__)
STUDENTS = ("student", "distilled", "pruned")
Watch = Callable[[dict[str, float]], None]
Learned = tuple[RankingModel, Progress]


class RankingLearner:
    """Trains the rankers of a run, and asks the test examples nothing.

    Args:
        run: keeps checkpoints and weights.
        prepared: data, tasks and protocols.

    Raises:
        UserError: a method of distillation or the monitored metric does not
            fit the data.

    Example:
    ```python
    model, progress = RankingLearner(run, prepared).train("student")
    ```
    """

    def __init__(self, run: Run, prepared: RankingPrepared) -> None:
        self.run = run
        self.config = run.config
        self.prepared = prepared
        # Mistakes show before the teachers train.
        self.monitor = monitored(self.config.evaluation.monitor, prepared)
        self.methods = ChosenMethods(self.config.distillation, prepared)
        check_shifts(self.config, [task.name for task in prepared.tasks])
        if self.methods.uses_layers:
            self._check_layers()
        # What the teacher speaks of; the student alone has no use for it.
        self.distilled_data = prepared.with_unlabelled(
            self.config.distillation.unlabelled, self.config.seed
        )

    @cached_property
    def members(self) -> dict[str, str]:
        """Kinds of the teacher's networks by the names of their stages."""
        return member_stages(self.config)

    @cached_property
    def teaching(self) -> RankingTeacherFactory:
        """The teacher, once its members are trained."""
        return RankingTeacherFactory(
            self.run,
            self.distilled_data,
            self.inputs(next(iter(self.members))).names,
            lambda: [self.load(member) for member in self.members],
        )

    def train(self, stage: str, watch: Watch | None = None) -> Learned:
        """Trains a stage, from the start or from where it was stopped.

        Args:
            stage: one of `members` or `STUDENTS`; "distilled" needs the
                weights of all members in the run folder, "pruned" those of
                the distilled student as well.
            watch: called with the validation metrics of every epoch; an
                exception from it ends the training.

        Returns:
            The model at its best epoch, its logits put right where negatives
            were sampled or classes weighted, and what happened.
        """
        if stage == "pruned":
            return self._prune(watch)
        if stage == next(iter(self.members)):
            self._check_networks()
        options = self._training(stage)
        batches = self._batches(stage)
        if stage == "distilled":
            # Before the seed is set: a gate may be learned.
            self.teaching.live  # noqa: B018
        self._set_seed(stage)
        model = self._build(stage, batches.steps_per_epoch)
        # The head starts at the mean label of the batches, not of the data.
        shift_head(model, self.prepared.task, -batches.logit_offset)
        trained, monitor, guard = model, self.monitor, self._guard
        if stage == "distilled":
            model = self._with_heads(model)
            trained = self._distiller(model, batches, options.epochs)
            trained.compile(optimizer=self._optimizer(options, batches))
            if self.config.distillation.stop_on == "teacher":
                monitor, guard = "distillation_loss", None
        progress = open_training(
            self.run, stage, trained, model, monitor, guard
        ).fit(
            batches,
            self._validate(stage, model, batches, watch),
            epochs=options.epochs,
            patience=options.patience,
        )
        return self._finished(model, batches), progress

    def save(self, stage: str, model: RankingModel) -> None:
        """Keeps a stage's weights in the run folder."""
        self.run.save_weights(stage, get_weights(model))

    def load(self, stage: str) -> RankingModel:
        """The model of a stage with the weights that were kept.

        Args:
            stage: one of `members` or `STUDENTS`.

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
        model = self._build(stage, steps_per_epoch=1)
        set_weights(model, weights)
        return model

    def inputs(self, stage: str) -> Inputs:
        """What a stage's model sees; a teacher also sees `training_only`."""
        if stage in STUDENTS:
            return self.prepared.inputs(self.config.student_ranker, served=True)
        teacher = self.config.teacher_rankers
        return self.prepared.inputs(teacher, served=not teacher.training_only)

    def _build(self, stage: str, steps_per_epoch: int) -> RankingModel:
        student = self.config.student_ranker
        kind = self.members.get(stage, student.network)
        return build_model(
            self.inputs(stage),
            self._sizes(stage),
            kind,
            self._training(stage),
            self.prepared.tasks,
            steps_per_epoch,
        )

    def _batches(self, stage: str, seed: int | None = None) -> RankingBatches:
        names, distils = self.inputs(stage).names, stage in STUDENTS[1:]
        if distils and self.config.distillation.knowledge == "live":
            names = tuple(dict.fromkeys([*names, *self.teaching.names]))
        prepared = self.distilled_data if distils else self.prepared
        return prepared.batches(
            names,
            self._training(stage),
            self.config.seed if seed is None else seed,
            self.methods.sessions() if distils else None,
        )

    def _distiller(
        self, student: RankingModel, batches: RankingBatches, epochs: int
    ) -> RankingDistiller:
        options = self.config.distillation
        teacher = self.teaching.live
        if options.knowledge == "cached":
            outputs = self.teaching.outputs(self.methods.outputs(teacher))
            teacher = self.teaching.of_training(outputs)
        terms, weights = self.methods.terms(
            teacher,
            student,
            epochs * batches.steps_per_epoch,
            batches.logit_offset,
        )
        return RankingDistiller(
            teacher, student, terms, weights, labels_weight(options)
        )

    @property
    def _guard(self) -> Guard | None:
        """Log loss, where what is monitored is blind to it."""
        rise = self.config.evaluation.log_loss_rise
        blind = self.monitor in ("auc", "gauc")
        return Guard("log_loss", rise) if blind else None

    def _check_networks(self) -> None:
        """Builds all networks before the first one trains, to see if they can.

        Else a student that does not fit the data would be told of when all
        its teachers have trained.
        """
        for stage in (*self.members, "student"):
            with network_flags(stage):
                self._build(stage, 1)

    def _check_layers(self) -> None:
        """Asks networks that nobody has trained whether they have them."""
        student = self._with_heads(self._build("student", 1))
        teacher = together([self._build(m, 1) for m in self.members])
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
        """A head of its own for the teacher, where a method asks for it."""
        if not self.methods.auxiliary:
            return model
        return model.with_network(
            with_auxiliary_head(model.network, model.tasks)
        )

    def _finished(
        self, model: RankingModel, batches: RankingBatches
    ) -> RankingModel:
        """What is served: no head of the teacher's, probabilities right."""
        heads = {f"{task.output}_teacher" for task in self.prepared.tasks}
        if heads & {*model.network.output}:
            model = model.with_network(without_auxiliary_head(model.network))
        shift_head(model, self.prepared.task, batches.logit_offset)
        return model

    def _prune(self, watch: Watch | None) -> Learned:
        """To the largest sparsity that stays within the limit."""
        dense = self.load("distilled")
        self.teaching.live  # noqa: B018
        reference = self.validation("distilled", dense)[self.monitor]
        best, tried = largest_within(
            self.config.pruning.sparsities,
            lambda sparsity, before: self._prune_to(
                sparsity, dense if before is None else before[0], watch
            ),
            lambda made: relative_loss(
                self.validation("pruned", made[0])[self.monitor],
                reference,
                is_error=self.monitor in ERRORS,
                chance=chance_of(self.monitor),
            ),
            self.config.shipping.max_loss,
        )
        for level in tried:
            logger.info(
                "sparsity %g: %.2f %% of validation %s lost",
                level.level,
                100 * level.loss,
                self.monitor,
            )
        return best.made[0], joined([level.made[1] for level in tried])

    def _prune_to(
        self, sparsity: float, dense: RankingModel, watch: Watch | None
    ) -> Learned:
        """One level; a level that a stopped run has finished is read."""
        options, pruning = self.config.distilled, self.config.pruning
        place = pruning.sparsities.index(sparsity)
        # Other batches than those that the student has seen before.
        batches = self._batches(
            "pruned", self.config.seed + 10_000 * (1 + place)
        )
        steps = pruning.epochs * batches.steps_per_epoch
        tf.keras.utils.set_random_seed(self._seed_of("pruned") + 200 * place)
        # A copy, whose head is moved to the mean label of the batches.
        mine = self._with_heads(dense.with_network(copy(dense.network)))
        shift_head(mine, self.prepared.task, -batches.logit_offset)
        schedule = pruning_schedule(pruning.schedule, sparsity, steps)
        student = dense.with_network(prunable(mine.network, schedule))
        distiller = self._distiller(student, batches, pruning.epochs)
        distiller.compile(
            optimizer=build_optimizer(
                pruning.learning_rate or options.learning_rate / 2,
                options.decay,
                steps,
            )
        )
        # The last epoch is kept: the best one may not be sparse yet.
        progress = open_training(
            self.run, f"pruned_{sparsity:g}", distiller, student, None
        ).fit(
            batches,
            self._validate("pruned", student, batches, watch),
            epochs=pruning.epochs,
            patience=pruning.epochs,
            callbacks=[tfmot.sparsity.keras.UpdatePruningStep()],
        )
        sparse = strip(student.network, sparsity)
        return self._finished(dense.with_network(sparse), batches), progress

    def validation(self, stage: str, model: RankingModel) -> dict[str, float]:
        """Validation metrics of a trained model.

        Args:
            stage: one of `members` or `STUDENTS`, for its features.
            model: as it would be served.

        Returns:
            Metrics by name, of the rows that trainings are validated on.
        """
        prepared = self.prepared
        rows = prepared.rows(
            "validation", self.inputs(stage).names, prepared.validation_rows
        )
        logits = measure.Scoring(model, prepared.tasks)(rows)
        return measure.validate(logits, prepared)

    def _validate(
        self,
        stage: str,
        model: RankingModel,
        batches: RankingBatches,
        watch: Watch | None,
    ) -> Callable[[], dict[str, float]]:
        prepared = self.prepared
        scoring = measure.Scoring(model, prepared.tasks)
        rows = prepared.rows(
            "validation", self.inputs(stage).names, prepared.validation_rows
        )
        teacher = None
        if stage in STUDENTS[1:]:
            said = self.teaching.cached("validation", self.teaching.outputs())
            teacher = {t.name: said.arrays[t.output] for t in prepared.tasks}

        def validate() -> dict[str, float]:
            logits = scoring(rows)
            logits[prepared.task.name] += batches.logit_offset
            metrics = measure.validate(logits, prepared, teacher)
            if watch is not None:
                watch(metrics)
            return metrics

        return validate

    def _optimizer(
        self, options: RankerTrainOptions, batches: RankingBatches
    ) -> tf.keras.optimizers.legacy.Optimizer:
        steps = max(1, options.epochs * batches.steps_per_epoch)
        return build_optimizer(options.learning_rate, options.decay, steps)

    def _set_seed(self, stage: str) -> None:
        tf.keras.utils.set_random_seed(self._seed_of(stage))

    def _seed_of(self, stage: str) -> int:
        # The same numbers whether the stages before were read or done.
        numbers = {name: 10 + i for i, name in enumerate(self.members)}
        numbers |= {name: 1 + i for i, name in enumerate(STUDENTS)}
        return 1000 * self.config.seed + numbers[stage]

    def _training(self, stage: str) -> RankerTrainOptions:
        if stage in self.members:
            return self.config.teacher
        alone = stage == "student"
        return self.config.student if alone else self.config.distilled

    def _sizes(self, stage: str) -> RankerOptions:
        if stage in self.members:
            return self.config.teacher_rankers
        return self.config.student_ranker


def monitored(asked: str, prepared: RankingPrepared) -> str:
    """The validation metric that decides, of the first task.

    Args:
        asked: `--eval_monitor`.
        prepared: for the first task.

    Returns:
        Its name.

    Raises:
        UserError: it is not measured of the first task.
    """
    task = prepared.task
    if asked == "auto":
        return "auc" if task.kind == "binary" else "rmse"
    names = prepared.validation[task.name].names
    if asked not in names:
        raise UserError(
            "`--eval_monitor` should be measured of the first task, "
            f"{task.name} ({task.kind}). Received: {asked!r}. Choose one of "
            f"auto, {', '.join(n for n in names if '@' not in n)}."
        )
    return asked
