"""The inputs of a distillation loss for one training step."""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf


class LossInputs(NamedTuple):
    """The inputs of a distillation loss for one training step.

    A row is a query for the losses between scores, and a user, an item or an
    example for the losses between features. The step inputs of a distiller
    build the object once, and `DistillationLoss.compute` and
    `FeatureLoss.compute` take it. A loss that wraps or transforms another
    loss passes on a changed copy, which `_replace` makes. The first fields
    are those that most losses read: `teacher, student, mask, temperature =
    inputs[:4]`.

    Args:
        teacher: `[rows, candidates]` scores, or `[rows, width]` features. No
            gradient flows into it.
        student: `[rows, candidates]` scores, or `[rows, width]` features,
            which may have another width than the teacher's.
        mask: bool, `[rows, candidates]` or `[candidates]` for scores, `[rows]`
            for features. False where a candidate or a row does not count.
            `None` counts all.
        temperature: float32 scalar; the loss sets its own.
        listed: number of leading candidates that are the row's own list, in
            the teacher's descending order. All rows share the other
            candidates.
        target: `[rows, candidates]` bool, true where the candidate is the
            row's own real event, or `None`.
        rows: `[candidates]` or `[rows, candidates]` int32 catalogue rows of
            the candidates; `[rows]` catalogue rows of features; or `None`.
        each: `[rows, candidates, teachers]` scores of every member of an
            ensemble, or `None`.
        labels: `[rows, candidates]` real labels, NaN where unknown, or
            `None`.
        weight: `[rows]` non-negative sample weights; 1 when `None`.
        step: training step.
    """

    teacher: tf.Tensor
    student: tf.Tensor
    mask: tf.Tensor | None = None
    temperature: tf.Tensor | float = 1.0
    listed: int = 0
    target: tf.Tensor | None = None
    rows: tf.Tensor | None = None
    each: tf.Tensor | None = None
    labels: tf.Tensor | None = None
    weight: tf.Tensor | None = None
    step: tf.Tensor | int = 0
