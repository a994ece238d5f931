"""Attention transfer: Zagoruyko and Komodakis 2017, eq. 1 and 2."""

import numpy as np
import pytest
import tensorflow as tf
from feature_checks import NONE, slopes

from kd_tfrs.distillation.losses.attention_transfer import AttentionTransfer
from kd_tfrs.errors import UserError

SHAPES = {
    "activations": ((7, 5, 6), (7, 5, 3)),
    "weights": ((7, 4, 5, 5), (7, 2, 5, 5)),
}
CASES = [
    ({}, "activations"),
    ({"power": 1.5}, "activations"),
    ({"kind": "weights"}, "weights"),
    ({"kind": "weights", "power": 1.0}, "weights"),
]
every_case = pytest.mark.parametrize(("options", "kind"), CASES)


def sequences(kind, seed=0):
    rng = np.random.default_rng(seed)
    return tuple(
        rng.normal(size=shape).astype(np.float32) for shape in SHAPES[kind]
    )


def reference(t, s, kind, power=2.0):
    rows = []
    for pair in zip(t, s, strict=True):
        maps = []
        for a in pair:
            candidates = -1 if kind == "activations" else 0
            q = (
                (np.abs(a.astype(np.float64)) ** power)
                .sum(axis=candidates)
                .ravel()
            )
            maps.append(q / np.linalg.norm(q))
        rows.append(((maps[0] - maps[1]) ** 2).sum())
    return np.array(rows)


@every_case
def test_value_with_weights_and_mask(options, kind):
    t, s = sequences(kind)
    rows = reference(t, s, kind, options.get("power", 2.0))
    loss = AttentionTransfer(**options)
    np.testing.assert_allclose(loss(t, s), rows.mean(), rtol=1e-5)
    np.testing.assert_allclose(loss.call(t, s), rows, rtol=1e-5)
    weights, mask = np.arange(7.0), np.arange(7) % 3 > 0
    kept = weights * mask
    value = loss(t, s, weights, mask=mask)
    np.testing.assert_allclose(value, kept @ rows / kept.sum(), rtol=1e-5)
    assert loss(t, s, mask=np.zeros(7, bool)) == 0.0


@every_case
def test_slope_is_the_references(options, kind):
    t, s = (x[:2] for x in sequences(kind))
    _, gradient, _ = slopes(AttentionTransfer(**options), t, s)
    slope, h = np.zeros(s.shape), 1e-5
    for at in np.ndindex(*s.shape):
        up, down = s.astype(np.float64), s.astype(np.float64)
        up[at] += h
        down[at] -= h
        power = options.get("power", 2.0)
        slope[at] = (
            reference(t, up, kind, power).mean()
            - reference(t, down, kind, power).mean()
        ) / (2 * h)
    np.testing.assert_allclose(gradient, slope, atol=2e-5)


@every_case
def test_extremes_stay_finite(options, kind):
    t, s = sequences(kind)
    for a, b in ((1e4, -1e4), (0, 1), (1, 0), (0, 0), (1, 1e4)):
        value, gradient, _ = slopes(AttentionTransfer(**options), a * t, b * s)
        assert np.isfinite(value)
        assert np.isfinite(gradient).all()


def test_padding_and_scale_change_nothing():
    t, s = sequences("activations")
    padded = [np.pad(x, [(0, 0), (0, 3), (0, 0)]) for x in (t, s)]
    loss = AttentionTransfer()
    np.testing.assert_allclose(loss(*padded), loss(t, s), rtol=1e-6)
    np.testing.assert_allclose(loss(t, -9 * t), 0.0, atol=1e-6)


def test_no_gradient_reaches_the_teacher():
    teacher, student = (tf.Variable(x) for x in sequences("activations"))
    with tf.GradientTape() as tape:
        value = AttentionTransfer()(2.0 * teacher, student)
    assert tape.gradient(value, teacher) is None


def test_positions_may_vary_in_a_graph():
    t, s = sequences("activations")
    loss = AttentionTransfer()
    run = tf.function(
        lambda a, b: loss(a, b),
        input_signature=[
            tf.TensorSpec([None, None, 6]),
            tf.TensorSpec([None, None, 3]),
        ],
    )
    np.testing.assert_allclose(run(t, s), loss(t, s), rtol=1e-6)


def test_config_gives_the_same_loss_back():
    loss = AttentionTransfer("weights", 3.0, reduction=NONE, name="other")
    twin = tf.keras.losses.deserialize(tf.keras.losses.serialize(loss))
    assert twin.get_config() == loss.get_config()
    assert (twin.name, twin.reduction) == ("other", NONE)
    t, s = sequences("weights")
    np.testing.assert_array_equal(twin(t, s), loss(t, s))


def test_wrong_arguments_are_refused():
    with pytest.raises(UserError, match="`kind` should be"):
        AttentionTransfer("both")
    with pytest.raises(UserError, match="`power` should be"):
        AttentionTransfer(power=0.5)
    with pytest.raises(UserError, match="3 axes"):
        AttentionTransfer()(np.ones((2, 3)), np.ones((2, 3)))
