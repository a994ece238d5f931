"""DIST against Huang et al. 2022, in NumPy float64."""

import numpy as np
import pytest
import tensorflow as tf

from kd_tfrs.distillation.losses.dist import CorrelationLoss
from kd_tfrs.errors import UserError

RNG = np.random.default_rng(5)


def softmax(x):
    e = np.exp(x - x.max())
    return e / e.sum()


def distance(p, q):
    return 1 - np.corrcoef(p, q)[0, 1]


def rows_only(**options):
    return CorrelationLoss(2.0, 0.0, 1.5, **options)


def row(t, s):
    return 1.5**2 * 2.0 * distance(softmax(t / 1.5), softmax(s / 1.5))


def both(**options):
    return CorrelationLoss(0.7, 1.3, 2.0, **options)


def whole(t, s, mask, listed=0, beta=0.7, gamma=1.3, temperature=2.0):
    """Mean over rows, plus mean over the shared columns."""
    p, q = np.zeros(t.shape), np.zeros(t.shape)
    for i, m in enumerate(mask):
        p[i, m] = softmax(np.float64(t[i][m]) / temperature)
        q[i, m] = softmax(np.float64(s[i][m]) / temperature)
    inter = np.mean([distance(p[i, m], q[i, m]) for i, m in enumerate(mask)])
    intra = np.mean(
        [
            distance(p[mask[:, j], j], q[mask[:, j], j])
            for j in range(listed, t.shape[1])
        ]
    )
    return temperature**2 * (beta * inter + gamma * intra)


def test_rows_are_sound(check):
    check(rows_only)


def test_rows_are_the_papers(against_mildly):
    against_mildly(rows_only, row)


def test_one_hot_rows():
    # One-hot at the same place: 0. At two places of n: -1/(n - 1).
    t = 1e4 * np.array([[1.0, 0.0, -1.0, -2.0]])
    value = CorrelationLoss(gamma=0.0)(np.vstack([t, t]), [t[0], -t[0]])
    np.testing.assert_allclose(value, (1 + 1 / 3) / 2, rtol=1e-6)


def test_rows_and_columns_are_sound(check):
    check(both)


@pytest.mark.parametrize("listed", [0, 3])
def test_rows_and_columns_are_the_papers(listed):
    t, s = RNG.normal(size=(2, 8, 9)).astype(np.float32)
    mask = RNG.random(t.shape) < 0.8
    mask[:3] = True
    for m in (np.ones_like(mask), mask):
        np.testing.assert_allclose(
            both()(t, s, mask=m, listed=listed),
            whole(t, s, m, listed),
            rtol=1e-4,
        )


def test_columns_see_only_the_queries_that_have_the_candidate():
    t, s = RNG.normal(size=(2, 6, 5)).astype(np.float32)
    mask = np.ones(t.shape, bool)
    mask[4:] = False
    loss = CorrelationLoss(0.0, 1.0)
    np.testing.assert_allclose(
        loss(t, s, [1, 1, 1, 1, 0, 0], mask=mask),
        loss(t[:4], s[:4]),
        rtol=1e-5,
    )


def test_the_gradient_is_the_slope():
    t, s = RNG.normal(size=(2, 4, 5)).astype(np.float32)
    student, everywhere = tf.Variable(s), np.ones(t.shape, bool)
    with tf.GradientTape() as tape:
        value = both()(t, student)
    gradient, h = tape.gradient(value, student).numpy(), 1e-5
    for at in np.ndindex(*s.shape):
        up, down = np.float64(s), np.float64(s)
        up[at] += h
        down[at] -= h
        slope = whole(t, up, everywhere) - whole(t, down, everywhere)
        np.testing.assert_allclose(gradient[at], slope / (2 * h), atol=1e-4)


def test_columns_need_shared_candidates():
    t, s = RNG.normal(size=(2, 4, 5))
    with pytest.raises(UserError, match="`gamma` should be 0 where"):
        CorrelationLoss()(t, s, listed=5)
    assert CorrelationLoss(gamma=0.0)(t, s, listed=5) > 0


def test_only_the_pattern_counts():
    p = np.array([[0.5, 0.3, 0.2], [0.1, 0.2, 0.7]])
    softer = 0.4 * p + 0.6 / 3  # along rows a positive linear map
    value = CorrelationLoss(gamma=0.0)(np.log(p), np.log(softer))
    np.testing.assert_allclose(value, 0.0, atol=1e-6)
    value = CorrelationLoss(beta=0.0)(np.log(p), np.log(softer))
    np.testing.assert_allclose(value, 0.0, atol=1e-6)
    contrary = CorrelationLoss(gamma=0.0)(
        np.log(p), np.log(2 / 3 - 0.9 * p + 0.9 / 3 - 1 / 3)
    )
    np.testing.assert_allclose(contrary, 2.0, rtol=1e-6)


def test_without_a_pattern_there_is_nothing_to_learn():
    t, s = np.zeros((3, 4)), RNG.normal(size=(3, 4))
    assert CorrelationLoss(gamma=0.0)(t, s) == 0.0
    assert CorrelationLoss()(t, t) == 0.0


@pytest.mark.parametrize("name", ["beta", "gamma"])
def test_weights_out_of_range_are_refused(name):
    with pytest.raises(UserError, match=f"`{name}` should be a number of"):
        CorrelationLoss(**{name: -0.1})
