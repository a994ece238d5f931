"""Distances of pairs, at any size and where two rows are one."""

import numpy as np
import pytest
import tensorflow as tf

from kd_tfrs.distillation.losses.pairs import distances, first_counted


def rows(scale):
    """Seven rows, of which the second and the last are equal."""
    x = np.random.default_rng(0).normal(size=(7, 4)) * scale
    x[6] = x[1]
    return x.astype(np.float32)


@pytest.mark.parametrize("scale", [1e-6, 1e-3, 1.0, 1e3, 1e6])
def test_distances_of_any_size(scale):
    x = rows(scale)
    expected = np.linalg.norm(x - x[:, None].astype(np.float64), axis=2)
    found = distances(tf.constant(x), tf.ones(7)).numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=0)
    assert found[1, 6] == found[6, 1] == 0


def test_a_distance_of_0_has_no_slope():
    # d |x - y| / dx = (x - y) / |x - y|, and 0 where they are equal.
    x = tf.Variable(rows(1.0))
    with tf.GradientTape() as tape:
        apart = distances(x, tf.ones(7))
        value = apart[1, 6] + apart[0, 1]
    between = x[0] - x[1]
    slope = np.zeros((7, 4))
    slope[0] = between / tf.norm(between)
    slope[1] = -slope[0]
    np.testing.assert_allclose(tape.gradient(value, x), slope, atol=1e-5)


@pytest.mark.parametrize(
    ("most", "places"), [(2, [1, 2]), (9, [1, 2, 4, 0, 3])]
)
def test_rows_that_count_come_first(most, places):
    weight = tf.constant([0.0, 2.0, 0.5, 0.0, 1.0])
    np.testing.assert_array_equal(first_counted(weight, most), places)
