"""CTKD: its loss, its bounds, and which way its temperature learns."""

import numpy as np
import pytest
import tensorflow as tf

from kd_tfrs.distillation.losses.curriculum_temperature import (
    CurriculumTemperature,
    LearnedTemperature,
)
from kd_tfrs.errors import UserError

RNG = np.random.default_rng(9)
STEPS = 10
START, WIDTH = 1.5, 6.0


def log_softmax(x):
    return x - x.max() - np.log(np.exp(x - x.max()).sum())


def temperature_of(theta):
    return START + WIDTH / (1 + np.exp(-theta))


def soft_targets(t, s, theta=1.0):
    temperature = temperature_of(theta)
    log_p, log_q = log_softmax(t / temperature), log_softmax(s / temperature)
    return temperature**2 * (np.exp(log_p) * (log_p - log_q)).sum()


def make(**options):
    return CurriculumTemperature(STEPS, START, WIDTH, **options)


def test_it_is_sound(check):
    check(make)


def test_it_is_soft_targets_at_the_learned_temperature(against):
    against(make, soft_targets)


def test_the_papers_first_temperature():
    (layer,) = CurriculumTemperature().trainable_layers
    np.testing.assert_allclose(layer(1.0), 1 + 20 / (1 + np.exp(-1)), rtol=1e-6)


@pytest.mark.parametrize(
    ("step", "strength"),
    [(0, 0.0), (2.5, None), (5, 0.5), (10, 1.0), (99, 1.0)],
)
def test_the_gradient_is_reversed_and_grows(step, strength):
    if strength is None:
        strength = (1 - np.cos(np.pi * step / STEPS)) / 2
    t, s = RNG.normal(scale=9.0, size=(2, 3, 5))
    loss = make()
    (layer,) = loss.trainable_layers
    with tf.GradientTape() as tape:
        value = loss(t, s, step=tf.constant(step, tf.float32))
    gradient = tape.gradient(value, layer.theta)
    h = 1e-5
    slope = np.mean(
        [
            soft_targets(a, b, 1 + h) - soft_targets(a, b, 1 - h)
            for a, b in zip(t, s, strict=True)
        ]
    ) / (2 * h)
    np.testing.assert_allclose(
        gradient, -strength * slope, rtol=1e-3, atol=1e-7
    )


def test_one_optimizer_makes_the_task_harder():
    t, s = RNG.normal(scale=9.0, size=(2, 8, 5))
    loss = make()
    (layer,) = loss.trainable_layers
    optimizer = tf.keras.optimizers.legacy.SGD(0.01)
    values = []
    for _ in range(20):
        with tf.GradientTape() as tape:
            value = loss(t, s, step=STEPS)
        optimizer.minimize(value, layer.trainable_variables, tape=tape)
        values.append(float(value))
    assert values == sorted(values)
    assert values[-1] > values[0] * 1.02


@pytest.mark.parametrize("theta", [-1e4, -3.0, 3.0, 1e4])
def test_the_temperature_stays_within_its_bounds(theta):
    layer = LearnedTemperature(START, WIDTH)
    layer.theta.assign(theta)
    assert START <= layer(1.0) <= START + WIDTH
    with tf.GradientTape() as tape:
        value = layer(1.0)
    assert np.isfinite(tape.gradient(value, layer.theta))


def test_the_layer_comes_back_from_its_config():
    layer = LearnedTemperature(START, WIDTH, name="other")
    twin = tf.keras.layers.deserialize(tf.keras.layers.serialize(layer))
    assert twin.get_config() == layer.get_config()
    assert twin(0.3) == layer(0.3)


def test_half_precision_leaves_the_temperature_alone():
    tf.keras.mixed_precision.set_global_policy("mixed_float16")
    try:
        assert make().trainable_layers[0](1.0).dtype == tf.float32
    finally:
        tf.keras.mixed_precision.set_global_policy("float32")


@pytest.mark.parametrize(
    "options",
    [{"curriculum_steps": 0}, {"t_start": 0.0}, {"t_range": -1.0}],
)
def test_arguments_out_of_range_are_refused(options):
    (name,) = options
    with pytest.raises(UserError, match=f"`{name}` should be a"):
        CurriculumTemperature(**options)
