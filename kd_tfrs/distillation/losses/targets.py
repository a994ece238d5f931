"""Which candidates of a query are its real event."""

from __future__ import annotations

import tensorflow as tf

from kd_tfrs.distillation.losses.inputs import LossInputs


def known_targets(inputs: LossInputs) -> tf.Tensor:
    """Where an unmasked candidate is the query's own real event.

    Args:
        inputs: of a loss.

    Returns:
        `[queries, n]` bool; all false where the event is not among the
        candidates.
    """
    if inputs.target is None:
        return tf.zeros_like(inputs.mask)
    target = tf.broadcast_to(inputs.target, tf.shape(inputs.mask))
    return tf.logical_and(target, inputs.mask)


def targets_or_best(inputs: LossInputs) -> tf.Tensor:
    """The query's real event; where it is missing, the teacher's best.

    Lists of what a teacher recommends leave out what the user already has,
    so that its first candidate is the nearest thing to a target there.

    Args:
        inputs: of a loss.

    Returns:
        `[queries, n]` bool; all false for a query without candidates.
    """
    known = known_targets(inputs)
    scores = tf.where(inputs.mask, inputs.teacher, inputs.teacher.dtype.min)
    columns = tf.range(tf.shape(scores)[1], dtype=tf.int64)
    best = columns[None, :] == tf.argmax(scores, axis=1)[:, None]
    chosen = tf.where(tf.reduce_any(known, axis=1)[:, None], known, best)
    return tf.logical_and(chosen, inputs.mask)
