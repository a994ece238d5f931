"""Weights of queries: their formulas, and that the loss inside stays itself."""

import numpy as np
import pytest
import tensorflow as tf

from kd_tfrs.distillation.losses.base import DistillationLoss
from kd_tfrs.distillation.losses.curriculum_temperature import (
    CurriculumTemperature,
)
from kd_tfrs.distillation.losses.decoupled import DecoupledSoftTargets
from kd_tfrs.distillation.losses.response import ScoreRegression, SoftTargets
from kd_tfrs.distillation.losses.weighting import (
    ConfidenceWeighted,
    GapWeighted,
)
from kd_tfrs.errors import UserError

RNG = np.random.default_rng(13)
NONE = tf.keras.losses.Reduction.NONE
FLOOR = 1e-3


def log_softmax(x):
    return x - x.max() - np.log(np.exp(x - x.max()).sum())


def confidence(t, temperature):
    log_p = log_softmax(t / temperature)
    entropy = -(np.exp(log_p) * log_p).sum()
    return 1 - entropy / np.log(len(t)) if len(t) > 1 else 1.0


def gap(t, s, temperature, focus):
    log_p, log_q = log_softmax(t / temperature), log_softmax(s / temperature)
    return (1 - np.exp(-(np.exp(log_p) * (log_p - log_q)).sum())) ** focus


def regression(t, s):
    return np.mean((t - s) ** 2)


def expected(importance, inner, t, s, mask):
    """Loss of every query, with weights of mean 1 over those that count."""
    kept = [i for i, m in enumerate(mask) if m.any()]
    t, s = np.float64(t), np.float64(s)
    raw = {i: importance(t[i][mask[i]], s[i][mask[i]]) + FLOOR for i in kept}
    mean = np.mean(list(raw.values()))
    return np.array(
        [
            raw[i] / mean * inner(t[i][mask[i]], s[i][mask[i]])
            if i in raw
            else 0.0
            for i in range(len(t))
        ]
    )


def by_confidence(**options):
    return ConfidenceWeighted(ScoreRegression(), 2.0, **options)


def by_gap(**options):
    return GapWeighted(ScoreRegression(), 1.5, 2.0, **options)


WEIGHTED = {
    "confidence": (by_confidence, lambda t, s: confidence(t, 2.0)),
    "gap": (by_gap, lambda t, s: gap(t, s, 2.0, 1.5)),
}
both = pytest.mark.parametrize(
    ("make", "importance"), WEIGHTED.values(), ids=WEIGHTED
)


@both
def test_they_are_sound(check, make, importance):
    check(make)


@both
def test_they_are_the_formulas(make, importance):
    t, s = RNG.normal(size=(2, 6, 7)).astype(np.float32)
    mask = RNG.random(t.shape) < 0.6
    mask[0], mask[1] = False, np.arange(7) == 2
    for m in (np.ones_like(mask), mask):
        np.testing.assert_allclose(
            make(reduction=NONE)(t, s, mask=m),
            expected(importance, regression, t, s, m),
            rtol=1e-4,
        )


@both
def test_no_gradient_flows_through_the_weights(make, importance):
    t, s = RNG.normal(size=(2, 6, 7)).astype(np.float32)
    student = tf.Variable(s)
    with tf.GradientTape() as tape:
        value = make()(t, student)
    weights = expected(
        importance, lambda a, b: 1.0, t, s, np.ones(t.shape, bool)
    )
    np.testing.assert_allclose(
        tape.gradient(value, student),
        weights[:, None] * 2 * (s - t) / 7 / 6,
        rtol=1e-3,
        atol=1e-6,
    )


@both
def test_equal_queries_weigh_the_same(make, importance):
    t, s = np.tile(RNG.normal(size=(2, 1, 7)), (1, 5, 1))
    np.testing.assert_allclose(make()(t, s), ScoreRegression()(t, s), rtol=1e-5)


def test_teachers_that_know_nothing_weigh_the_same():
    t, s = np.full((4, 7), 3.3), RNG.normal(size=(4, 7))
    np.testing.assert_allclose(
        by_confidence()(t, s), ScoreRegression()(t, s), rtol=1e-2
    )


def test_gaps_of_nothing_weigh_the_same():
    t = RNG.normal(size=(4, 7))
    s = t + RNG.normal(size=(4, 1))  # a constant: no gap of distributions
    np.testing.assert_allclose(
        by_gap()(t, s), ScoreRegression()(t, s), rtol=1e-2
    )


def test_without_focus_the_gap_does_not_count():
    t, s = RNG.normal(size=(2, 4, 7))
    np.testing.assert_allclose(
        GapWeighted(SoftTargets(), 0.0)(t, s), SoftTargets()(t, s), rtol=1e-5
    )


def test_the_loss_inside_keeps_its_own_temperature():
    t, s = RNG.normal(size=(2, 1, 7))  # a single query has the weight 1
    schedule = tf.keras.optimizers.schedules.PolynomialDecay(8.0, 10, 1.0)
    loss = ConfidenceWeighted(SoftTargets(schedule), temperature=5.0)
    for step in (0, 4, 20):
        np.testing.assert_allclose(
            loss(t, s, step=step),
            SoftTargets(schedule)(t, s, step=step),
            rtol=1e-5,
        )


def test_the_weighted_loss_receives_all_inputs():
    t, s = RNG.normal(size=(2, 1, 7))
    target = np.arange(7)[None] == 3
    np.testing.assert_allclose(
        GapWeighted(DecoupledSoftTargets())(t, s, target=target),
        DecoupledSoftTargets()(t, s, target=target),
        rtol=1e-5,
    )


@pytest.mark.parametrize("around", [ConfidenceWeighted, GapWeighted])
def test_what_the_loss_inside_learns_is_learned(around):
    inner = CurriculumTemperature()
    assert around(inner).trainable_layers == inner.trainable_layers
    assert around(SoftTargets()).trainable_layers == ()
    (layer,) = around(inner).trainable_layers
    with tf.GradientTape() as tape:
        value = around(inner)(*RNG.normal(size=(2, 3, 4)), step=500)
    assert tape.gradient(value, layer.theta) != 0


@pytest.mark.parametrize("around", [ConfidenceWeighted, GapWeighted])
def test_the_loss_inside_comes_back_from_the_config(around):
    loss = around(DecoupledSoftTargets(0.5, 2.0, 1.5), temperature=3.0)
    twin = tf.keras.losses.deserialize(tf.keras.losses.serialize(loss))
    assert twin.loss.get_config() == loss.loss.get_config()
    t, s = RNG.normal(size=(2, 3, 4))
    assert twin(t, s) == loss(t, s)


def test_a_loss_of_ones_own_may_be_weighed():
    class Absolute(DistillationLoss):
        def per_query(self, inputs):
            apart = tf.abs(inputs.teacher - inputs.student)
            return tf.reduce_sum(apart, axis=1)

    t, s = RNG.normal(size=(2, 4, 5))
    wanted = expected(
        lambda a, b: confidence(a, 1.0),
        lambda a, b: np.abs(a - b).sum(),
        t,
        s,
        np.ones(t.shape, bool),
    )
    value = ConfidenceWeighted(Absolute())(t, s)
    np.testing.assert_allclose(value, wanted.mean(), rtol=1e-5)


@pytest.mark.parametrize("around", [ConfidenceWeighted, GapWeighted])
def test_what_is_no_mean_of_a_loss_is_refused(around):
    with pytest.raises(UserError, match="`loss` should be a Distillation"):
        around(tf.keras.losses.MeanSquaredError())
    with pytest.raises(UserError, match="`loss` should have its default red"):
        around(SoftTargets(reduction=NONE))


def test_a_focus_out_of_range_is_refused():
    with pytest.raises(UserError, match="`focus` should be a number of at"):
        GapWeighted(SoftTargets(), focus=-1.0)
