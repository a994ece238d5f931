"""Margin-MSE against Hofstaetter et al. 2020, in NumPy float64."""

import numpy as np

from kd_tfrs.distillation.losses.margin_mse import MarginMSE

TARGET = np.zeros((6, 7), bool)
TARGET[[0, 1, 2, 3], [0, 2, 1, 0]] = True  # no event for the last two


def margins(t, s, target=None):
    """Mean over negatives of (M_t - M_s)^2 with M = positive - negative."""
    if target is None or not target.any():
        target = np.arange(len(t)) == np.argmax(t)
    (y,) = np.flatnonzero(target)
    squares = [
        ((t[y] - t[j]) - (s[y] - s[j])) ** 2 for j in range(len(t)) if j != y
    ]
    return np.mean(squares) if squares else 0.0


def test_it_is_sound(check):
    check(MarginMSE, target=TARGET)


def test_it_is_the_papers(against):
    against(MarginMSE, margins, target=TARGET)


def test_without_targets_the_teachers_best_is_the_target(against):
    against(MarginMSE, margins)


def test_by_hand():
    # Margins 2 and 3 of the second, against 1 and 1.
    t, s = [[1.0, 3.0, 0.0]], [[4.0, 5.0, 4.0]]
    np.testing.assert_allclose(MarginMSE()(t, s), (1 + 4) / 2)


def test_it_does_not_see_a_constant():
    t = np.random.default_rng(0).normal(size=(4, 5)).astype(np.float32)
    np.testing.assert_allclose(MarginMSE()(t, t + 7.0), 0.0, atol=1e-10)


def test_several_events_are_one_target():
    t, s = np.zeros((1, 3)), np.array([[1.0, 3.0, 0.0]])
    target = np.array([[True, True, False]])
    np.testing.assert_allclose(MarginMSE()(t, s, target=target), 4.0)
