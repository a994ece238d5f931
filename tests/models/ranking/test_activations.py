"""Dice: its formula, its moments, and what padding does to them."""

import numpy as np
import tensorflow as tf

from kd_tfrs.models.ranking import Dice


def dice(x, mean, variance, alpha, epsilon):
    gate = 1 / (1 + np.exp(-(x - mean) / np.sqrt(variance + epsilon)))
    return gate * x + (1 - gate) * alpha * x


def made(**options):
    layer = Dice(**options)
    layer = Dice.from_config(layer.get_config())
    layer.build((None, 3))
    layer.alpha.assign([0.1, -0.2, 0.5])
    return layer


def test_in_training_and_afterwards():
    x = np.random.default_rng(0).normal(2, 3, (50, 3))
    layer = made(momentum=0.9, epsilon=1e-3)
    alpha = layer.alpha.numpy()
    y = layer(tf.constant(x, tf.float32), training=True)
    expected = dice(x, x.mean(0), x.var(0), alpha, 1e-3)
    np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-4)
    mean, variance = 0.1 * x.mean(0), 0.9 + 0.1 * x.var(0)
    y = layer(tf.constant(x, tf.float32))
    expected = dice(x, mean, variance, alpha, 1e-3)
    np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-4)


def test_padding_has_no_moments():
    x = np.random.default_rng(0).normal(size=(6, 4, 3)).astype(np.float32)
    ids = np.ones((6, 4), np.int32)
    ids[:, 2:] = 0
    x[ids == 0] = 1e6
    alone, padded = made(), made()
    expected = alone(tf.constant(x[ids != 0]), training=True)
    y = padded([tf.constant(x), tf.constant(ids)], training=True)
    np.testing.assert_allclose(y.numpy()[ids != 0], expected, rtol=1e-5)
    for a, b in zip(alone.get_weights(), padded.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5)
    before = padded.get_weights()
    padded([tf.constant(x), tf.zeros_like(ids)], training=True)
    for a, b in zip(before, padded.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_constant_and_extreme_inputs_stay_finite():
    for x in (np.full((4, 3), 7.0), np.eye(4, 3) * 1e15, np.zeros((4, 3))):
        layer = made()
        x = tf.Variable(x, dtype=tf.float32)
        with tf.GradientTape() as tape:
            y = layer(x, training=True)
        gradient = tape.gradient(y, [x, layer.alpha])
        for value in (y, *gradient, *layer.get_weights()):
            assert np.isfinite(value).all()
