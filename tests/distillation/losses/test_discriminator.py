"""A discriminator of features: Wang, Xu, Xu and Tao 2018."""

from typing import ClassVar

import numpy as np
import pytest
import tensorflow as tf
from feature_checks import NONE, FeatureLossChecks, dense, features

from kd_tfrs.distillation.losses.discriminator import FeatureDiscriminator
from kd_tfrs.distillation.losses.inputs import LossInputs
from kd_tfrs.errors import UserError


def adversary(loss, t, s, weight):
    return loss.compute_adversary(LossInputs(t, s, weight=weight))


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def verdicts(loss, t, s):
    real = dense(loss.discriminator, t)
    fake = dense(loss.discriminator, dense(loss.projection, s))
    # One verdict a row.
    return real.squeeze(axis=1), fake.squeeze(axis=1)


class TestFeatureDiscriminator(FeatureLossChecks):
    options: ClassVar = {"hidden_units": (5, 3), "projection_units": (7,)}

    def make(self, **options):
        return FeatureDiscriminator(**options)

    def reference(self, loss, t, s):
        return -np.log(sigmoid(verdicts(loss, t, s)[1])).mean()

    def test_config_gives_the_same_loss_back(self):
        optimizer = tf.keras.optimizers.legacy.SGD(0.3, momentum=0.8)
        loss = self.built(
            **self.options, adversary_optimizer=optimizer, reduction=NONE
        )
        twin = tf.keras.losses.deserialize(tf.keras.losses.serialize(loss))
        assert twin.get_config() == loss.get_config()
        assert isinstance(twin.adversary_optimizer, type(optimizer))
        assert twin.adversary_optimizer.get_config() == optimizer.get_config()
        assert twin.adversary_optimizer is not optimizer
        twin.ensure_built(6, 4)
        for a, b in (
            (loss.projection, twin.projection),
            (loss.discriminator, twin.discriminator),
        ):
            b.set_weights(a.get_weights())
        np.testing.assert_array_equal(twin(*features()), loss(*features()))

    def test_the_adversary_separates_teacher_and_student(self):
        loss = self.built()
        t, s = features()
        weight = np.array([1, 0, 2, 1, 0.5, 1, 0, 3, 1], np.float32)
        real, fake = verdicts(loss, t, s)
        rows = -np.log(sigmoid(real)) - np.log(1 - sigmoid(fake))
        np.testing.assert_allclose(
            adversary(loss, t, s, weight),
            (weight * rows).sum() / weight.sum(),
            rtol=1e-5,
        )
        nothing = loss.compute_adversary(
            LossInputs(t, s, weight=np.zeros(9, np.float32))
        )
        assert nothing == 0.0


def test_an_undecided_judge_costs_log_two():
    loss = FeatureDiscriminator()
    loss.ensure_built(6, 4)
    for variable in loss.discriminator.trainable_variables:
        variable.assign(tf.zeros_like(variable))
    t, s = features()
    np.testing.assert_allclose(loss(t, s), np.log(2), rtol=1e-6)
    np.testing.assert_allclose(
        adversary(loss, t, s, np.ones(9, np.float32)),
        2 * np.log(2),
        rtol=1e-6,
    )


def test_each_side_trains_its_own():
    loss = FeatureDiscriminator()
    t, s = features()
    student = tf.Variable(s)
    loss(t, s)
    with tf.GradientTape() as tape:
        value = loss.compute_adversary(
            LossInputs(t, student, weight=np.ones(9, np.float32))
        )
    own = loss.projection.trainable_variables
    judge = loss.discriminator.trainable_variables
    found = tape.gradient(value, [student, *own, *judge])
    assert found[:3] == [None] * 3
    assert all(x is not None for x in found[3:])
    assert not {id(v) for v in own} & {id(v) for v in judge}
    assert loss.trainable_layers == (loss.projection,)
    assert loss.adversaries == (loss.discriminator,)


def test_taking_turns_brings_the_student_to_the_teachers_distribution():
    tf.keras.utils.set_random_seed(3)
    rng = np.random.default_rng(0)
    t = rng.normal(3.0, 0.5, size=(64, 2)).astype(np.float32)
    s = tf.constant(rng.normal(size=(64, 2)).astype(np.float32))
    loss = FeatureDiscriminator((16,))
    loss.adversary_optimizer.learning_rate = 0.02
    loss.ensure_built(2, 2)
    optimizer = tf.keras.optimizers.legacy.Adam(0.02)
    weight = tf.ones(64)

    @tf.function
    def turn():
        with tf.GradientTape() as tape:
            value = loss(t, s)
        optimizer.minimize(
            value, loss.projection.trainable_variables, tape=tape
        )
        with tf.GradientTape() as tape:
            value = adversary(loss, t, s, weight)
        loss.adversary_optimizer.minimize(
            value, loss.discriminator.trainable_variables, tape=tape
        )

    before = np.abs(loss.projection(s).numpy().mean(axis=0) - 3).max()
    for _ in range(300):
        turn()
    after = np.abs(loss.projection(s).numpy().mean(axis=0) - 3).max()
    assert before > 2
    assert after < 1


@pytest.mark.parametrize(
    "wrong",
    [
        {"hidden_units": (0,)},
        {"projection_units": "3"},
        {"adversary_optimizer": "adam"},
    ],
)
def test_wrong_arguments_are_refused(wrong):
    with pytest.raises(UserError, match=f"`{next(iter(wrong))}` should be"):
        FeatureDiscriminator(**wrong)
