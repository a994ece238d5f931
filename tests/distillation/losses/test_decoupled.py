"""Decoupled soft targets against Zhao et al. 2022, in NumPy float64."""

import numpy as np
import pytest
import tensorflow as tf

from kd_tfrs.distillation.losses.decoupled import DecoupledSoftTargets
from kd_tfrs.distillation.losses.response import SoftTargets
from kd_tfrs.errors import UserError

TARGET = np.zeros((6, 7), bool)
TARGET[[0, 1, 2, 3], [0, 2, 1, 0]] = True  # no event for the last two


def log_softmax(x):
    return x - x.max() - np.log(np.exp(x - x.max()).sum())


def kl(log_p, log_q):
    return sum(np.exp(a) * (a - b) for a, b in zip(log_p, log_q, strict=True))


def decoupled(t, s, target=None, alpha=1.0, beta=8.0, temperature=4.0):
    """alpha * TCKD + beta * NCKD, times T^2, one class as the target."""
    if target is None or not target.any():
        target = np.arange(len(t)) == np.argmax(t)
    (y,) = np.flatnonzero(target)
    logs = [log_softmax(x / temperature) for x in (t, s)]
    binary = [
        (x[y], np.logaddexp.reduce(np.delete(x, y)) if len(x) > 1 else -1e9)
        for x in logs
    ]
    others = [log_softmax(np.delete(x, y)) for x in logs] if len(t) > 1 else []
    tckd = kl(*binary)
    nckd = kl(*others) if others else 0.0
    return temperature**2 * (alpha * tckd + beta * nckd)


def other(**options):
    return DecoupledSoftTargets(0.5, 3.0, 1.5, **options)


@pytest.mark.parametrize("make", [DecoupledSoftTargets, other])
def test_it_is_sound(check, make):
    check(make, target=TARGET)


def test_it_is_sound_without_targets(check):
    check(DecoupledSoftTargets)


def test_it_is_the_papers(against):
    against(DecoupledSoftTargets, decoupled, target=TARGET)


def test_it_is_the_papers_with_other_weights(against):
    against(
        other,
        lambda t, s, target: decoupled(t, s, target, 0.5, 3.0, 1.5),
        target=TARGET,
    )


def test_without_targets_the_teachers_best_is_the_target(against):
    against(DecoupledSoftTargets, decoupled)


def test_classical_soft_targets_are_its_coupled_form():
    # Zhao et al. 2022, eq. 6: KD = TCKD + (1 - p_target) NCKD.
    rng = np.random.default_rng(0)
    t, s = rng.normal(size=(2, 5, 6)).astype(np.float32)
    target = np.eye(5, 6, dtype=bool)
    sure = tf.nn.softmax(t).numpy()[target]
    none = tf.keras.losses.Reduction.NONE
    about, among = (
        DecoupledSoftTargets(a, b, 1.0, reduction=none)(t, s, target=target)
        for a, b in ((1.0, 0.0), (0.0, 1.0))
    )
    np.testing.assert_allclose(
        about + (1 - sure) * among,
        SoftTargets(reduction=none)(t, s),
        rtol=1e-5,
    )


def test_several_events_are_one_target():
    # Masses 1/2 and 1/4 of (1, 1, 1, 1) and (1, 1, 3, 3); the others equal.
    t, s = np.zeros((1, 4)), np.log([[1.0, 1.0, 3.0, 3.0]])
    target = np.array([[True, True, False, False]])
    value = DecoupledSoftTargets(1.0, 5.0, 1.0)(t, s, target=target)
    expected = 0.5 * np.log(2) + 0.5 * np.log(0.5 / 0.75)
    np.testing.assert_allclose(value, expected, rtol=1e-5)


def test_a_masked_event_is_no_target():
    t, s = np.array([[1.0, 5.0, 2.0]]), np.array([[0.5, 1.0, 0.0]])
    mask, target = np.array([[True, False, True]]), np.eye(3, dtype=bool)[1:2]
    np.testing.assert_allclose(
        DecoupledSoftTargets()(t, s, mask=mask, target=target),
        decoupled(t[0, [0, 2]], s[0, [0, 2]]),
        rtol=1e-5,
    )


def test_agreement_is_zero():
    t = np.random.default_rng(0).normal(size=(4, 5)).astype(np.float32)
    np.testing.assert_allclose(
        DecoupledSoftTargets()(t, t + 3.0), 0.0, atol=1e-5
    )


@pytest.mark.parametrize("name", ["alpha", "beta"])
@pytest.mark.parametrize("value", [-1.0, np.nan, "1"])
def test_weights_out_of_range_are_refused(name, value):
    with pytest.raises(UserError, match=f"`{name}` should be a number of"):
        DecoupledSoftTargets(**{name: value})
