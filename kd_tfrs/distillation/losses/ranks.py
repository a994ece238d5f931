"""Ranks of candidates, and random draws that depend on the step alone."""

from __future__ import annotations

import tensorflow as tf

from kd_tfrs.distillation.losses.inputs import LossInputs

# The smallest draw: its double logarithm stays finite.
_TINY = 1e-30


def count_above(
    scores: tf.Tensor, among: tf.Tensor, mask: tf.Tensor
) -> tf.Tensor:
    """How many of a query's candidates score above a score.

    Args:
        scores: `[queries, n]`.
        among: `[queries, m]` scores of the candidates; m may be 0.
        mask: `[queries, m]` bool, false where one does not count.

    Returns:
        `[queries, n]` float32 counts; an equal score is not above.
    """
    if among.shape[1] == 0:
        return tf.zeros_like(scores)
    ascending = tf.sort(tf.where(mask, among, among.dtype.min), axis=1)
    not_above = tf.searchsorted(ascending, scores, side="right")
    return tf.cast(tf.shape(among)[1] - not_above, tf.float32)


def list_ranks(scores: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
    """Ranks of listed candidates by the student, from 0.

    Equal scores are ranked against the order of the list, so that a student
    that gives all candidates one score has all pairs in the wrong order and
    not none.

    Args:
        scores: `[queries, listed]` student scores, in the teacher's order.
        mask: `[queries, listed]` bool, false where one does not count.

    Returns:
        `[queries, listed]` float32.
    """
    first, second = scores[:, :, tf.newaxis], scores[:, tf.newaxis, :]
    places = tf.range(scores.shape[1])
    later = places[tf.newaxis, :] > places[:, tf.newaxis]
    above = (second > first) | ((second == first) & later)
    counted = above & mask[:, tf.newaxis, :]
    return tf.reduce_sum(tf.cast(counted, tf.float32), axis=2)


def share_above(inputs: LossInputs) -> tf.Tensor:
    """Share of unlisted candidates that the student scores above a listed one.

    Args:
        inputs: prepared inputs; the unlisted candidates follow the list.

    Returns:
        `[queries, listed]` in [0, 1]; 0 without unlisted candidates.
    """
    unlisted, mask = (
        x[:, inputs.listed :] for x in (inputs.student, inputs.mask)
    )
    above = count_above(inputs.student[:, : inputs.listed], unlisted, mask)
    size = tf.reduce_sum(tf.cast(mask, tf.float32), axis=1, keepdims=True)
    return tf.math.divide_no_nan(above, size)


def uniform_draws(
    shape: tf.Tensor | list[int], salt: int, step: tf.Tensor | int
) -> tf.Tensor:
    """Draws of a loss that depend on the training step alone.

    Args:
        shape: of the draws.
        salt: of the loss, so that two losses draw differently.
        step: training step: a run that goes on draws what it would have.

    Returns:
        float32 of that shape, in (0, 1).
    """
    seed = tf.stack([salt, tf.cast(step, tf.int32)])
    return tf.random.stateless_uniform(shape, seed, minval=_TINY)


def gumbel_noise(
    shape: tf.Tensor | list[int], salt: int, step: tf.Tensor | int
) -> tf.Tensor:
    """Noise that turns the largest log weights into a draw by weight.

    Args:
        shape: see `uniform_draws`, as all others.
        salt: likewise.
        step: likewise.

    Returns:
        float32 of that shape.
    """
    return -tf.math.log(-tf.math.log(uniform_draws(shape, salt, step)))


def largest(keys: tf.Tensor, mask: tf.Tensor, count: int) -> tf.Tensor:
    """Marks a query's largest keys.

    Args:
        keys: `[queries, n]` float32.
        mask: `[queries, n]` bool, false where a candidate is out of question.
        count: how many are marked; all that are in question if they are
            fewer. Of equal keys the first are marked.

    Returns:
        `[queries, n]` bool.
    """
    kept = tf.where(mask, keys, keys.dtype.min)
    count = min(count, keys.shape[1])
    places = tf.math.top_k(kept, count, sorted=False).indices
    rows = tf.range(tf.shape(keys)[0])[:, tf.newaxis] + tf.zeros_like(places)
    marked = tf.scatter_nd(
        tf.stack([rows, places], axis=2),
        tf.ones_like(places),
        tf.shape(keys),
    )
    return mask & (marked > 0)
