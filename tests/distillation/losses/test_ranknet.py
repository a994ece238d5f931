"""Pair preferences against Burges et al. 2005, in NumPy float64."""

import itertools

import numpy as np
import pytest
import tensorflow as tf

from kd_tfrs.distillation.losses.ranknet import RankNetDistillation
from kd_tfrs.errors import UserError

RNG = np.random.default_rng(11)


def log_sigmoid(x):
    return -np.logaddexp(0.0, -x)


def all_pairs(t, s, temperature=1.5):
    """Mean cross entropy over all ordered pairs, times T^2."""
    total, pairs = 0.0, list(itertools.permutations(range(len(t)), 2))
    for j, k in pairs:
        a, b = (t[j] - t[k]) / temperature, (s[j] - s[k]) / temperature
        p = np.exp(log_sigmoid(a))
        total -= p * log_sigmoid(b) + (1 - p) * log_sigmoid(-b)
    return temperature**2 * total / len(pairs)


def make(**options):
    return RankNetDistillation(3, 1.5, seed=4, **options)


def test_it_is_sound(check):
    check(make)


def test_two_candidates_are_the_papers():
    t, s = RNG.normal(size=(2, 4, 2))
    expected = np.mean([all_pairs(a, b) for a, b in zip(t, s, strict=True)])
    np.testing.assert_allclose(make()(t, s), expected, rtol=1e-5)


def test_two_of_many_candidates_are_the_papers():
    # Far apart: some distance pairs them, or nothing is paired at all.
    t, s = RNG.normal(size=(2, 1, 6))
    mask = np.zeros((1, 6), bool)
    mask[0, [1, 4]] = True
    values = {
        round(float(make()(t, s, mask=mask, step=step)), 5)
        for step in range(30)
    }
    pair = all_pairs(t[0, [1, 4]], s[0, [1, 4]])
    assert values == {0.0, round(float(np.float32(pair)), 5)}


def test_the_mean_over_steps_is_over_all_pairs():
    t, s = RNG.normal(size=(2, 3, 5)).astype(np.float32)
    loss = RankNetDistillation(4, 1.5)
    draw = tf.function(lambda step: loss(t, s, step=step))
    mean = np.mean([draw(tf.constant(step)) for step in range(300)])
    expected = np.mean([all_pairs(a, b) for a, b in zip(t, s, strict=True)])
    np.testing.assert_allclose(mean, expected, rtol=0.04)


def test_many_partners_are_all_pairs_in_one_step():
    # Three candidates have two distances, and both pair the same things.
    t, s = RNG.normal(size=(2, 4, 3))
    expected = np.mean([all_pairs(a, b) for a, b in zip(t, s, strict=True)])
    np.testing.assert_allclose(make()(t, s), expected, rtol=1e-5)


def test_the_draw_follows_step_and_seed():
    t, s = RNG.normal(size=(2, 4, 30))
    value = RankNetDistillation(1)(t, s, step=1)
    assert value == RankNetDistillation(1)(t, s, step=1)
    others = [
        float(RankNetDistillation(1)(t, s, step=step)) for step in range(2, 6)
    ]
    assert any(other != value for other in others)
    others = [
        float(RankNetDistillation(1, seed=seed)(t, s, step=1))
        for seed in range(1, 5)
    ]
    assert any(other != value for other in others)


def test_it_does_not_see_a_constant_and_is_least_at_the_teacher():
    t = RNG.normal(size=(3, 6))
    least = make()(t, t)
    np.testing.assert_allclose(make()(t, t + 5.0), least, rtol=1e-4)
    for _ in range(5):
        assert make()(t, t + 0.3 * RNG.normal(size=t.shape)) > least


@pytest.mark.parametrize(
    "options", [{"num_partners": 0}, {"num_partners": 1.5}, {"seed": -1}]
)
def test_arguments_out_of_range_are_refused(options):
    (name,) = options
    with pytest.raises(UserError, match=f"`{name}` should be a whole number"):
        RankNetDistillation(**options)
