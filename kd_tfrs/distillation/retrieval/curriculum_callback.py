"""A curriculum's clock: the student is compared with it between epochs."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import tensorflow as tf

from kd_tfrs.distillation.retrieval.curriculum import TrajectoryTeacher
from kd_tfrs.distillation.retrieval.ensemble import EnsembleTeacher
from kd_tfrs.distillation.retrieval.teachers import Teacher, rank_all
from kd_tfrs.errors import UserError


class AdvanceCurriculum(tf.keras.callbacks.Callback):
    """Compares the student with its curriculum after every few epochs.

    Args:
        teacher: a `TrajectoryTeacher`, or an `EnsembleTeacher` that has some.
        student: gives the student as a Teacher that leaves out seen items;
            called at every comparison.
        every: epochs from one comparison to the next.

    Raises:
        UserError: `teacher` has no stages, or `every` is not positive.

    Example:
    ```python
    AdvanceCurriculum(
        teacher,
        lambda: TwoTowerTeacher(
            student.query_tower, student.candidate_tower, users, items,
            seen=seen,
        ),
        every=10,
    )
    ```
    """

    def __init__(
        self,
        teacher: TrajectoryTeacher | EnsembleTeacher,
        student: Callable[[], Teacher],
        every: int = 10,
    ) -> None:
        super().__init__()
        members = getattr(teacher, "teachers", (teacher,))
        self._staged = [x for x in members if isinstance(x, TrajectoryTeacher)]
        if not self._staged or every < 1:
            raise UserError(
                "`teacher` should be a TrajectoryTeacher or have one, and "
                "`every` should be positive. Received: "
                f"{type(teacher).__name__} and `every` = {every}."
            )
        self._teacher = teacher
        self._student = student
        self._every = every

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        """Advances, and logs the mean stage as `curriculum_stage`."""
        if (epoch + 1) % self._every:
            return
        depth = max(teacher.depth for teacher in self._staged)
        lists, _ = rank_all(self._student(), depth)
        stages = [teacher.advance(lists) for teacher in self._staged]
        if isinstance(self._teacher, EnsembleTeacher):
            self._teacher.refresh()
        if logs is not None:
            logs["curriculum_stage"] = float(np.mean(stages))
