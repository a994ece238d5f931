"""An ensemble of rankers: the mean of their logits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import tensorflow as tf

from kd_tfrs.distillation.ensemble_weights import ensemble_weights
from kd_tfrs.distillation.ranking.teachers import (
    LOGITS,
    Outputs,
    RankingBatch,
    RankingTeacher,
)
from kd_tfrs.errors import UserError


class RankingEnsemble(RankingTeacher):
    r"""The weighted mean of several teachers' logits.

    $$t = \sum_m w_m t_m, \qquad \sum_m w_m = 1$$

    for every task that all of them have. The outputs of every member are
    there as well, as `teacher_0_hidden_1` and so on, so that a loss between
    features can compare with one member without a second forward pass.

    Args:
        teachers: two or more, of any kinds.
        weights: $w_m$ of each, not negative; they are divided by their sum.
            Equal when `None`.

    Raises:
        UserError: teachers or weights do not fit together.

    Example:
    ```python
    teacher = RankingEnsemble(
        [NetworkTeacher(dcn), NetworkTeacher(deepfm), NetworkTeacher(autoint)]
    )
    DistillationTerm(Hint(), NetworkOutputs("teacher_0_hidden_1", "hidden_0"))
    ```

    References:
        Zhu et al. 2020, "Ensembled CTR Prediction via Knowledge
        Distillation", for teachers of different kinds; there the mean is of
        the losses.
    """

    def __init__(
        self,
        teachers: Sequence[RankingTeacher],
        weights: Sequence[float] | None = None,
    ) -> None:
        self.teachers = _check_teachers(teachers)
        self.weights = ensemble_weights(weights, len(self.teachers))
        self._widths = member_widths(self.teachers)

    @property
    def widths(self) -> Mapping[str, int]:
        """See `RankingTeacher`."""
        return self._widths

    def outputs(self, batch: RankingBatch) -> Outputs:
        """See `RankingTeacher.outputs`."""
        outputs = [teacher.outputs(batch) for teacher in self.teachers]
        logits = {
            name: tf.add_n(
                [
                    w * x[name]
                    for w, x in zip(self.weights, outputs, strict=True)
                ]
            )
            for name in common_logits(outputs)
        }
        return {**logits, **by_member(outputs)}


def by_member(values: Sequence[Mapping]) -> dict:
    """The outputs, or widths, of every member, with its number in the name."""
    return {
        f"teacher_{m}_{name}": x
        for m, outputs in enumerate(values)
        for name, x in outputs.items()
    }


def common_logits(values: Sequence[Mapping]) -> list[str]:
    """Names of the logits that all members have, in the first one's order.

    Args:
        values: outputs, or widths, of every member.

    Returns:
        One name or more.

    Raises:
        UserError: there is none.
    """
    names = [
        name
        for name in values[0]
        if name.startswith(LOGITS) and all(name in other for other in values)
    ]
    if not names:
        raise UserError(
            "`teachers` should have a task in common. Received: outputs "
            f"{[sorted(outputs) for outputs in values]}. Train them for the "
            "same tasks."
        )
    return names


def member_widths(teachers: Sequence[RankingTeacher]) -> dict[str, int]:
    """Widths of an ensemble's outputs.

    Args:
        teachers: the members.

    Returns:
        Widths by name; of the mean only if those of all members are known.

    Raises:
        UserError: they have no task in common.
    """
    widths = [teacher.widths for teacher in teachers]
    names = common_logits(widths) if all(widths) else []
    return {**dict.fromkeys(names, 1), **by_member(widths)}


def _check_teachers(
    teachers: Sequence[RankingTeacher],
) -> tuple[RankingTeacher, ...]:
    teachers = tuple(teachers)
    good = all(isinstance(t, RankingTeacher) for t in teachers)
    if len(teachers) < 2 or not good:
        raise UserError(
            "`teachers` should be two or more RankingTeachers. Received: "
            f"{[type(t).__name__ for t in teachers]}. Wrap a network in "
            "NetworkTeacher, and take a single teacher as it is."
        )
    return teachers
