"""The methods of a run, from their names on the command line."""

from __future__ import annotations

import numpy as np

from kd_tfrs.data.ranking.sessions import session_numbers
from kd_tfrs.distillation import DistillationTerm
from kd_tfrs.distillation.ranking import NetworkTeacher, RankingTeacher
from kd_tfrs.distillation.ranking.teachers import LOGITS
from kd_tfrs.errors import UserError
from kd_tfrs.models.ranking import RankingModel
from kd_tfrs.workflow.ranking.methods import (
    RANKING_METHODS,
    RankingSetting,
    build_ranking_terms,
    kept_outputs,
    parse_ranking_method,
)
from kd_tfrs.workflow.ranking.options import RankingDistillationOptions
from kd_tfrs.workflow.ranking.prepare import RankingPrepared


class ChosenMethods:
    """The methods of a run.

    Args:
        options: as they were given.
        prepared: data and tasks.

    Raises:
        UserError: a method is unknown, or does not fit the tasks or the data.

    Attributes:
        auxiliary: whether the student has a head of its own for the teacher.
    """

    def __init__(
        self, options: RankingDistillationOptions, prepared: RankingPrepared
    ) -> None:
        self._options = options
        self._prepared = prepared
        chosen = [
            RANKING_METHODS[parse_ranking_method(text).method]
            for text in options.losses
        ]
        self.auxiliary = any(method.auxiliary for method in chosen)
        self._by_session = any(method.sessions for method in chosen)
        # A mistake shows before the teachers train.
        self.outputs(NetworkTeacher(lambda features: {}))
        if self._by_session and prepared.split.train.groups is None:
            raise UserError(
                "Methods over sessions need data with users. "
                f"Received: `--distillation_losses` = {list(options.losses)} "
                f"for {prepared.split.name}. Take binary_soft_targets."
            )
        self._check_gap()

    @property
    def uses_layers(self) -> bool:
        """Whether anything but logits is compared."""
        names = self.outputs(NetworkTeacher(lambda features: {}))
        return not all(name.startswith(LOGITS) for name in names)

    def sessions(self) -> np.ndarray | None:
        """`[train examples]` sessions, or `None` where no method has them."""
        if not self._by_session:
            return None
        split, gap = self._prepared.split, self._options.session_gap
        if gap is None:
            return split.train.groups
        schema = split.interactions.schema
        times = split.parts.train[schema.time].to_numpy(np.float64)
        return session_numbers(split.train.groups, times, gap)

    def outputs(self, teacher: RankingTeacher) -> tuple[str, ...]:
        """What a cache of the teacher has to keep."""
        return kept_outputs(self._options.losses, self._setting(teacher))

    def terms(
        self,
        teacher: RankingTeacher,
        student: RankingModel,
        num_steps: int,
        logit_offset: float = 0.0,
    ) -> tuple[list[DistillationTerm], list[float]]:
        """Terms and weights for the `RankingDistiller`.

        Args:
            teacher: live or cached.
            student: what is trained.
            num_steps: training steps in all.
            logit_offset: of the training's batches; where they sample
                negatives, the teacher's logits are shifted as the student's
                are.

        Returns:
            Terms and weights.
        """
        outputs = tuple(student.network.output)
        setting = self._setting(teacher, outputs, num_steps, -logit_offset)
        return build_ranking_terms(self._options.losses, setting)

    def _setting(
        self,
        teacher: RankingTeacher,
        student_outputs: tuple[str, ...] = (),
        num_steps: int = 1,
        teacher_offset: float = 0.0,
    ) -> RankingSetting:
        return RankingSetting(
            self._options,
            max(1, num_steps),
            self._prepared.tasks,
            teacher,
            student_outputs,
            self._options.session_length,
            teacher_offset,
        )

    def _check_gap(self) -> None:
        gap, data = self._options.session_gap, self._prepared.split.interactions
        timed = data is not None and data.schema.time is not None
        if gap is not None and not (self._by_session and timed):
            raise UserError(
                "`--distillation_session_gap` parts sessions of data with "
                f"time. Received: {gap:g} for {self._prepared.split.name} and "
                f"{list(self._options.losses)}. Leave it out, or take "
                "session_list."
            )
