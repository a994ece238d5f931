"""Soft targets under noise: the formula, and that the noise does harm."""

import numpy as np
import pytest

from kd_tfrs.distillation.losses.adversarial_soft_targets import (
    AdversarialSoftTargets,
)
from kd_tfrs.distillation.losses.response import SoftTargets
from kd_tfrs.errors import UserError

RNG = np.random.default_rng(7)


def log_softmax(x):
    return x - x.max() - np.log(np.exp(x - x.max()).sum())


def divergence(t, s, temperature):
    log_p, log_q = log_softmax(t / temperature), log_softmax(s / temperature)
    return (np.exp(log_p) * (log_p - log_q)).sum()


def adversarial(t, s, epsilon=0.3, temperature=1.5):
    """Noise along the signs of a gradient taken by finite differences."""
    signs = np.zeros(len(t))
    for j in range(len(t)):
        step = 1e-6 * np.eye(len(t))[j]
        signs[j] = np.sign(
            divergence(t + step, s, temperature)
            - divergence(t - step, s, temperature)
        )
    noisy = t + epsilon * signs
    return temperature**2 * divergence(noisy, s, temperature)


def make(**options):
    return AdversarialSoftTargets(0.3, 1.5, **options)


def test_it_is_sound(check):
    check(make)


def test_it_is_the_formula(against_mildly):
    # At extreme scores the differences in the reference are 0.
    against_mildly(make, adversarial)


def test_without_noise_they_are_soft_targets():
    t, s = RNG.normal(size=(2, 5, 6))
    np.testing.assert_allclose(
        AdversarialSoftTargets(0.0, 2.0)(t, s), SoftTargets(2.0)(t, s)
    )


def test_more_noise_is_worse_for_the_student():
    t, s = RNG.normal(size=(2, 50, 6))
    none = {"reduction": "none"}
    last = SoftTargets(**none)(t, s).numpy()
    for epsilon in (0.01, 0.1, 0.5, 2.0):
        harder = AdversarialSoftTargets(epsilon, **none)(t, s).numpy()
        assert (harder > last).all()
        last = harder


def test_it_is_worse_than_random_noise_of_the_same_size():
    t, s = RNG.normal(size=(2, 5, 6))
    worst = AdversarialSoftTargets(0.01, reduction="none")(t, s)
    for _ in range(20):
        noise = 0.01 * RNG.choice([-1.0, 1.0], size=t.shape)
        value = SoftTargets(reduction="none")(t + noise, s)
        assert (value.numpy() <= worst.numpy() + 1e-7).all()


def test_by_hand():
    # p = (2/3, 1/3), q = (1/2, 1/2): the noise makes the sure teacher surer.
    t = np.log([[2.0, 1.0]])
    value = AdversarialSoftTargets(0.5 * np.log(2))(t, [[0.0, 0.0]])
    expected = 0.8 * np.log(0.8 / 0.5) + 0.2 * np.log(0.2 / 0.5)
    np.testing.assert_allclose(value, expected, rtol=1e-5)


def test_where_they_agree_there_is_no_direction():
    t = RNG.normal(size=(4, 5)).astype(np.float32)
    assert AdversarialSoftTargets(1.0)(t, t) == 0.0


def test_a_negative_size_is_refused():
    with pytest.raises(UserError, match="`epsilon` should be a number of"):
        AdversarialSoftTargets(-0.1)
