"""Binary soft targets against their formula, in NumPy float64."""

import numpy as np
import tensorflow as tf

from kd_tfrs.distillation.losses.binary_soft_targets import BinarySoftTargets


def log_sigmoid(x):
    return -np.logaddexp(0.0, -x)


def make(**options):
    return BinarySoftTargets(2.5, **options)


def binary(t, s, temperature=2.5):
    """T^2 times the mean cross entropy of the candidates' two classes."""
    total = 0.0
    for a, b in zip(t / temperature, s / temperature, strict=True):
        yes = np.exp(log_sigmoid(a))
        total -= yes * log_sigmoid(b) + (1 - yes) * log_sigmoid(-b)
    return temperature**2 * total / len(t)


def test_it_is_sound(check):
    check(make)


def test_it_is_the_formula(against):
    against(make, binary)


def test_by_hand():
    # sigma(log 3) = 3/4 against sigma(0) = 1/2: log 2 whatever the label;
    # against sigma(log 3): the entropy of 3/4.
    t = np.log([[3.0]])
    np.testing.assert_allclose(
        BinarySoftTargets()(t, [[0.0]]), np.log(2), rtol=1e-6
    )
    entropy = -0.75 * np.log(0.75) - 0.25 * np.log(0.25)
    np.testing.assert_allclose(BinarySoftTargets()(t, t), entropy, rtol=1e-6)


def test_the_least_value_is_at_the_teacher():
    t = np.array([[2.0, -1.0, 0.3]], np.float32)
    least = BinarySoftTargets()(t, t)
    for shift in (-0.5, -0.01, 0.01, 0.5):
        assert BinarySoftTargets()(t, t + shift) > least


def test_hot_gradients_are_a_regression_of_the_scores():
    # T^2 (sigma(s/T) - sigma(t/T)) / T * 1/n -> (s - t) / (4 n).
    t, s = np.array([[2.0, -1.0]]), tf.Variable([[0.5, 1.0]])
    with tf.GradientTape() as tape:
        value = BinarySoftTargets(100.0)(t, s)
    np.testing.assert_allclose(tape.gradient(value, s), (s - t) / 8, rtol=1e-3)
