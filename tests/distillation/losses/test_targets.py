"""Which candidates count as a query's real event."""

import numpy as np
import tensorflow as tf

from kd_tfrs.distillation.losses.inputs import LossInputs
from kd_tfrs.distillation.losses.targets import target_mask, targets_or_best

TEACHER = np.array([[1.0, 5.0, 2.0], [-3.0, -1.0, -2.0], [9.0, 8.0, 7.0]])
MASK = np.array([[1, 0, 1], [1, 1, 1], [0, 0, 0]], bool)


def inputs(target):
    return LossInputs(
        tf.constant(np.where(MASK, TEACHER, 0.0), tf.float32),
        tf.zeros([3, 3]),
        tf.constant(MASK),
        tf.constant(1.0),
        target=target,
    )


def test_an_event_has_to_be_unmasked():
    target = tf.constant([[0, 1, 0], [1, 0, 0], [1, 0, 0]]) > 0
    mask = target_mask(inputs(target)).numpy()
    np.testing.assert_array_equal(mask, [[0, 0, 0], [1, 0, 0], [0, 0, 0]])
    assert not target_mask(inputs(None)).numpy().any()


def test_the_teachers_best_unmasked_candidate_stands_in():
    best = targets_or_best(inputs(None)).numpy()
    np.testing.assert_array_equal(best, [[0, 0, 1], [0, 1, 0], [0, 0, 0]])
    target = tf.constant([[0, 1, 0], [1, 0, 0], [1, 0, 0]]) > 0
    mixed = targets_or_best(inputs(target)).numpy()
    np.testing.assert_array_equal(mixed, [[0, 0, 1], [1, 0, 0], [0, 0, 0]])


def test_a_target_of_candidates_serves_every_query():
    target = tf.constant([True, False, False])
    mask = target_mask(inputs(target)).numpy()
    np.testing.assert_array_equal(mask, [[1, 0, 0], [1, 0, 0], [0, 0, 0]])
