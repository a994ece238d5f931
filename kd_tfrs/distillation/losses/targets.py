"""Masks of the candidates that are the real event of a query."""

from __future__ import annotations

import tensorflow as tf

from kd_tfrs.distillation.losses.inputs import LossInputs


def target_mask(inputs: LossInputs) -> tf.Tensor:
    """Marks the unmasked candidate that is the real event of the query.

    Args:
        inputs: the prepared inputs of a loss.

    Returns:
        `[queries, n]` bool; all false where the event is not among the
        candidates.
    """
    if inputs.target is None:
        return tf.zeros_like(inputs.mask)
    target = tf.broadcast_to(inputs.target, tf.shape(inputs.mask))
    return tf.logical_and(target, inputs.mask)


def targets_or_best(inputs: LossInputs) -> tf.Tensor:
    """Marks the real event of the query, or else the teacher's best.

    Lists of what a teacher recommends leave out what the user already has,
    so that its first candidate is the nearest thing to a target there.

    Args:
        inputs: the prepared inputs of a loss.

    Returns:
        `[queries, n]` bool; all false for a query without candidates.
    """
    mask = target_mask(inputs)
    scores = tf.where(inputs.mask, inputs.teacher, inputs.teacher.dtype.min)
    columns = tf.range(tf.shape(scores)[1], dtype=tf.int64)
    best = columns[None, :] == tf.argmax(scores, axis=1)[:, None]
    chosen = tf.where(tf.reduce_any(mask, axis=1)[:, None], mask, best)
    return tf.logical_and(chosen, inputs.mask)
