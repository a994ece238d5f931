"""Distillation experts: DE-RRD, section 4.1."""

from typing import ClassVar

import numpy as np
import pytest
import tensorflow as tf
from feature_checks import (
    FeatureLossChecks,
    dense,
    features,
    mixture,
    slopes,
    softmax,
)

from kd_tfrs.distillation.losses.expert_mixture import ExpertMixture, gumbel
from kd_tfrs.distillation.losses.experts import DistillationExperts
from kd_tfrs.errors import UserError


def shares(loss, t, step=0):
    logits = np.log(softmax(dense(loss.selection, t)))
    noise = (
        gumbel(np.ones(len(t)), logits.shape[1], loss.seed, step)
        .numpy()
        .astype(np.float64)
    )
    return softmax((logits + noise) / float(loss.temperature_at(step)))


class TestDistillationExperts(FeatureLossChecks):
    options: ClassVar = {
        "num_experts": 3,
        "annealing_steps": 10,
        "initial_temperature": 2.0,
        "final_temperature": 0.5,
        "seed": 4,
    }

    def make(self, **options):
        return DistillationExperts(**options)

    def reference(self, loss, t, s):
        guess = mixture(loss.experts, s, shares(loss, t))
        return ((t - guess) ** 2).sum(axis=1).mean()


def test_the_temperature_falls_geometrically():
    loss = DistillationExperts(annealing_steps=10)
    taus = [float(loss.temperature_at(p)) for p in (0, 1, 5, 10, 99)]
    np.testing.assert_allclose(taus, [1, 0.1, 1e-5, 1e-10, 1e-10], rtol=1e-4)


def test_in_the_end_one_expert_is_selected():
    t, s = features(rows=40)
    loss = DistillationExperts(num_experts=5, annealing_steps=10)
    loss.ensure_built(6, 4)
    at = 10
    logits = np.log(softmax(dense(loss.selection, t)))
    choice = (logits + gumbel(np.ones(len(t)), 5, 0, at).numpy()).argmax(axis=1)
    assert len(set(choice)) > 1
    guess = mixture(loss.experts, s, np.eye(5)[choice])
    np.testing.assert_allclose(
        loss(t, s, step=at), ((t - guess) ** 2).sum(axis=1).mean(), rtol=1e-5
    )
    _, gradient, own = slopes(loss, t, s, step=at)
    assert np.isfinite(gradient).all()
    assert all(np.isfinite(x).all() for x in own if x is not None)


def test_the_noise_follows_seed_and_step():
    t, s = features()
    losses = [DistillationExperts(num_experts=4, seed=x) for x in (0, 0, 1)]
    for loss in losses:
        tf.keras.utils.set_random_seed(2)
        loss.ensure_built(6, 4)
    a, b, c = (float(x(t, s, step=3)) for x in losses)
    assert a == b != c
    assert a != float(losses[0](t, s, step=4))


def test_gumbel_noise_is_standard():
    noise = gumbel(np.ones(20_000), 10, 1, 2).numpy()
    np.testing.assert_allclose(noise.mean(), np.euler_gamma, atol=0.01)
    np.testing.assert_allclose(noise.var(), np.pi**2 / 6, atol=0.03)


@pytest.mark.parametrize("sharp", [1.0, 1e3], ids=["all", "some"])
def test_a_mixture_and_its_slopes_are_the_plain_sum(sharp):
    layer = ExpertMixture(8, 5, 6)
    layer.build(tf.TensorShape([None, 4]))
    rng = np.random.default_rng(0)
    x = tf.Variable(rng.normal(size=(20, 4)).astype(np.float32))
    z = tf.Variable(softmax(sharp * rng.normal(size=(20, 8))), dtype="float32")
    variables = [x, z, *layer.trainable_variables]

    def plain():
        hidden = tf.einsum("ni,mih->nmh", x, layer.inner_kernel)
        hidden = tf.nn.relu(hidden + layer.inner_bias)
        each = tf.einsum("nmh,mho->nmo", hidden, layer.outer_kernel)
        return tf.reduce_sum(z[..., None] * (each + layer.outer_bias), axis=1)

    results = []
    for function in (lambda: layer(x, z), plain):
        with tf.GradientTape() as tape:
            mixed = function()
            value = tf.reduce_sum(tf.sin(mixed))
        results.append((mixed, *tape.gradient(value, variables)))
    few = np.mean(z.numpy() > 1e-7) < 0.25
    assert few == (sharp > 1)
    for i, (a, b) in enumerate(zip(*results, strict=True)):
        if i == 2 and few:  # no share, no slope of the share
            a, b = (y.numpy() * (z.numpy() > 1e-7) for y in (a, b))
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "wrong",
    [
        {"num_experts": 0},
        {"annealing_steps": 0},
        {"initial_temperature": 0.0},
        {"final_temperature": 0.0},
        {"initial_temperature": 0.1, "final_temperature": 0.2},
    ],
)
def test_wrong_arguments_are_refused(wrong):
    with pytest.raises(UserError, match=f"`{list(wrong)[-1]}` should be"):
        DistillationExperts(**wrong)
