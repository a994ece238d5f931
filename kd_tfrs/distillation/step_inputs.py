"""The inputs of the terms of one step, of teachers that give outputs."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from kd_tfrs.distillation.losses import LossInputs
from kd_tfrs.distillation.terms import DistillationTerm


class OutputStepInputs:
    """The inputs of the terms of one step; every teacher runs once.

    Args:
        batch: of training.
        outputs: of the student for it.
        step: training step.
    """

    def __init__(self, batch: Any, outputs: Any, step: tf.Tensor | int) -> None:
        self._batch = batch
        self._outputs = outputs
        self._step = step
        self._teacher_outputs: dict[int, Any] = {}

    def loss_inputs(self, term: DistillationTerm) -> LossInputs:
        """The inputs of the loss of a term.

        Args:
            term: see `as_terms`.

        Returns:
            The outputs that the selector of the term picks.
        """
        key = id(term.teacher)
        if key not in self._teacher_outputs:
            self._teacher_outputs[key] = term.teacher.outputs(self._batch)
        inputs = self.select(term, self._teacher_outputs[key])
        return inputs._replace(step=self._step)

    def select(self, term: DistillationTerm, teacher: Any) -> LossInputs:
        """The outputs that the selector of a term picks."""
        return term.candidates.select(self._batch, teacher, self._outputs)
