"""Gated teachers: the mixture, and what the gate learns."""

import numpy as np
import pytest
import tensorflow as tf

from kd_tfrs.distillation.losses.gated import GatedSoftTargets
from kd_tfrs.distillation.losses.response import SoftTargets
from kd_tfrs.errors import UserError

RNG = np.random.default_rng(17)
NONE = tf.keras.losses.Reduction.NONE
EACH = RNG.normal(scale=2.0, size=(6, 7, 3)).astype(np.float32)
TARGET = np.zeros((6, 7), bool)
TARGET[[0, 1, 2, 3], [0, 2, 1, 0]] = True
KERNEL = RNG.normal(size=(6, 3))
BIAS = RNG.normal(size=3)


def log_softmax(x):
    return x - x.max() - np.log(np.exp(x - x.max()).sum())


def make(**options):
    """With a gate that has already learned something."""
    loss = GatedSoftTargets(3, 0.2, 1.5, **options)
    loss.trainable_layers[0].set_weights([KERNEL, BIAS])
    return loss


def fresh(**options):
    return GatedSoftTargets(3, 0.2, 1.5, **options)


def gate(each, kernel=KERNEL, bias=BIAS):
    """Weights of the teachers of one query, `each` [n, teachers]."""
    features = []
    for scores in np.float64(each).T:
        log_p = log_softmax(scores)
        entropy = -(np.exp(log_p) * log_p).sum()
        features.append(entropy / np.log(len(scores)) if len(log_p) > 1 else 0)
        p = np.sort(np.exp(log_p))[::-1]
        features.append(p[0] - (p[1] if len(p) > 1 else 0))
    return np.exp(log_softmax(np.array(features) @ kernel + bias))


def mixture(each, weights, temperature):
    return sum(
        g * np.exp(log_softmax(np.float64(scores) / temperature))
        for g, scores in zip(weights, each.T, strict=True)
    )


def gated(t, s, each, temperature=1.5, **weights):
    m = mixture(each, gate(each, **weights), temperature)
    log_q = log_softmax(s / temperature)
    return temperature**2 * (m * (np.log(m) - log_q)).sum()


def test_it_is_sound(check):
    check(fresh, each=EACH, target=TARGET)


def test_it_is_sound_without_targets(check):
    check(fresh, each=EACH)


def test_it_is_the_formula(against):
    against(make, gated, each=EACH)


def test_extreme_teachers_stay_finite():
    s = RNG.normal(size=(6, 7)).astype(np.float32)
    loss = make()
    for scale in (1e4, -1e4):
        for target in (None, TARGET):
            with tf.GradientTape() as tape:
                value = loss(s, s, each=scale * EACH, target=target)
            assert np.isfinite(value)
            for part in tape.gradient(
                value, loss.trainable_layers[0].variables
            ):
                assert np.isfinite(part).all()


def test_it_starts_with_equal_weights():
    s = RNG.normal(size=(6, 7)).astype(np.float32)
    expected = [
        gated(None, a, e, kernel=np.zeros((6, 3)), bias=np.zeros(3))
        for a, e in zip(s, EACH, strict=True)
    ]
    value = fresh(reduction=NONE)(s, s, each=EACH)
    np.testing.assert_allclose(value, expected, rtol=1e-5)


def test_alike_teachers_are_one_teacher():
    t, s = RNG.normal(size=(2, 6, 7)).astype(np.float32)
    np.testing.assert_allclose(
        make()(t, s, each=np.stack([t] * 3, axis=2)),
        SoftTargets(1.5)(t, s),
        rtol=1e-5,
    )


def gate_losses(kernel, bias, s, target):
    """What the gate is trained on, from the docstring's formulas."""
    values = []
    for a, e, y in zip(np.float64(s), EACH, target, strict=True):
        g = gate(e, kernel, bias)
        if y.any():
            loss = -np.log(mixture(e, g, 1.0)[y].sum())
        else:
            loss = gated(None, a, e, kernel=kernel, bias=bias)
        values.append(loss + 0.2 * (g * np.log(3 * g)).sum())
    return np.mean(values)


@pytest.mark.parametrize("target", [TARGET, np.zeros_like(TARGET)])
def test_the_gradient_of_the_gate_is_its_own_loss(target):
    s = RNG.normal(size=(6, 7)).astype(np.float32)
    loss = make()
    with tf.GradientTape() as tape:
        value = loss(s, s, each=EACH, target=target)
    kernel, bias = tape.gradient(
        value, loss.trainable_layers[0].trainable_variables
    )
    h = 1e-5
    for at in np.ndindex(*KERNEL.shape):
        step = np.zeros_like(KERNEL)
        step[at] = h
        slope = (
            gate_losses(KERNEL + step, BIAS, s, target)
            - gate_losses(KERNEL - step, BIAS, s, target)
        ) / (2 * h)
        np.testing.assert_allclose(kernel[at], slope, atol=1e-4)
    for at in range(3):
        step = h * np.eye(3)[at]
        slope = (
            gate_losses(KERNEL, BIAS + step, s, target)
            - gate_losses(KERNEL, BIAS - step, s, target)
        ) / (2 * h)
        np.testing.assert_allclose(bias[at], slope, atol=1e-4)


def train_gate(loss, s, **inputs):
    optimizer = tf.keras.optimizers.legacy.Adam(0.1)
    weights = loss.trainable_layers[0].trainable_variables

    @tf.function
    def step():
        with tf.GradientTape() as tape:
            value = loss(s, s, **inputs)
        optimizer.minimize(value, weights, tape=tape)

    for _ in range(60):
        step()
    return tf.nn.softmax(loss.trainable_layers[0].bias).numpy()


def test_the_gate_trusts_the_right_teacher_and_not_the_easy_one():
    # The first teacher knows the event; the student is the second, which is
    # thus the easiest to imitate.
    target = np.eye(7, dtype=bool)[RNG.integers(0, 7, 6)]
    student = RNG.normal(size=(6, 7)).astype(np.float32)
    each = np.stack([4.0 * target, student, student[::-1]], axis=2)
    known = train_gate(fresh(), student, each=each, target=target)
    assert known[0] > 0.7
    unknown = train_gate(fresh(), student, each=each)
    assert unknown[1] == unknown.max()
    held = GatedSoftTargets(3, evenness=10.0)
    assert train_gate(held, student, each=each).min() > 0.25


def test_the_student_does_not_see_how_the_gate_is_trained():
    s = RNG.normal(size=(6, 7)).astype(np.float32)
    for target in (None, TARGET):
        student = tf.Variable(s)
        with tf.GradientTape() as tape:
            value = make()(s, student, each=EACH, target=target)
        expected = [
            1.5 * (np.exp(log_softmax(a / 1.5)) - mixture(e, gate(e), 1.5)) / 6
            for a, e in zip(np.float64(s), EACH, strict=True)
        ]
        np.testing.assert_allclose(
            tape.gradient(value, student), expected, rtol=1e-3, atol=1e-6
        )


@pytest.mark.parametrize("each", [None, EACH[:, :, :2]])
def test_it_needs_as_many_teachers(each):
    s = RNG.normal(size=(6, 7))
    with pytest.raises(UserError, match="`num_teachers` should be the number"):
        fresh()(s, s, each=each)


@pytest.mark.parametrize(
    "options", [{"num_teachers": 1}, {"num_teachers": 3, "evenness": -1.0}]
)
def test_arguments_out_of_range_are_refused(options):
    name = list(options)[-1]
    with pytest.raises(UserError, match=f"`{name}` should be a"):
        GatedSoftTargets(**options)
