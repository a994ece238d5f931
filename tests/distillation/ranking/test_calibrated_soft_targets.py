"""Soft targets of another task, brought to the labels' base rate."""

import numpy as np
import pytest
import tensorflow as tf

from kd_tfrs.distillation import DistillationTerm
from kd_tfrs.distillation.ranking import (
    CalibratedSoftTargets,
    RankingDistiller,
    TaskLogits,
)
from kd_tfrs.errors import UserError

RNG = np.random.default_rng(0)
TEACHER = RNG.normal(size=(6, 1)).astype(np.float32)
STUDENT = RNG.normal(size=(6, 1)).astype(np.float32)
LABELS = np.array([[0], [1], [np.nan], [1], [0], [0]], np.float32)
WEIGHTS = RNG.uniform(1, 2, 6).astype(np.float32)


def sigmoid(x):
    return 1.0 / (1.0 + np.exp(-x))


def scaled(loss, a, c):
    (layer,) = loss.trainable_layers
    layer.set_weights([np.array([[a]]), np.array([c])])
    return loss


def test_the_value_is_that_of_soft_targets_to_the_scaled_teacher():
    loss = scaled(CalibratedSoftTargets(2.0), 0.5, -1.0)
    p = sigmoid((0.5 * TEACHER - 1.0) / 2.0)
    z = STUDENT / 2.0
    rows = 4.0 * (np.logaddexp(0, z) - p * z)[:, 0]
    for labels in (None, tf.constant(LABELS)):
        np.testing.assert_allclose(
            loss(TEACHER, STUDENT, WEIGHTS, labels=labels),
            np.average(rows, weights=WEIGHTS),
            rtol=1e-5,
        )
    each = CalibratedSoftTargets(2.0, reduction="none", initial_offset=-1.0)
    np.testing.assert_allclose(
        scaled(each, 0.5, -1.0)(TEACHER, STUDENT, labels=tf.constant(LABELS)),
        rows,
        rtol=1e-5,
    )


def test_labels_train_the_scaling_and_the_teacher_trains_the_student():
    loss = scaled(CalibratedSoftTargets(), 0.5, -1.0)
    teacher, student = tf.Variable(TEACHER), tf.Variable(STUDENT)
    (layer,) = loss.trainable_layers
    with tf.GradientTape() as tape:
        value = loss(teacher, student, WEIGHTS, labels=tf.constant(LABELS))
    of_teacher, of_student, (of_a, of_c) = tape.gradient(
        value, [teacher, student, layer.trainable_variables]
    )
    assert of_teacher is None
    w = WEIGHTS[:, None] / WEIGHTS.sum()
    t = 0.5 * TEACHER - 1.0
    np.testing.assert_allclose(
        of_student, w * (sigmoid(STUDENT) - sigmoid(t)), rtol=1e-4
    )
    known = np.isfinite(LABELS)
    slope = np.where(known, w * (sigmoid(t) - np.nan_to_num(LABELS)), 0.0)
    np.testing.assert_allclose(of_c, [slope.sum()], rtol=1e-4)
    np.testing.assert_allclose(of_a, [[(slope * TEACHER).sum()]], rtol=1e-4)


def test_a_masked_score_spoils_nothing():
    loss = CalibratedSoftTargets()
    teacher = TEACHER.copy()
    teacher[1] = np.nan
    mask = np.arange(6)[:, None] != 1
    weights = np.where(mask[:, 0], WEIGHTS, 0.0)
    (layer,) = loss.trainable_layers
    with tf.GradientTape() as tape:
        value = loss(
            teacher, STUDENT, weights, labels=tf.constant(LABELS), mask=mask
        )
    kept = mask[:, 0]
    np.testing.assert_allclose(
        value, loss(TEACHER[kept], STUDENT[kept], WEIGHTS[kept]), rtol=1e-5
    )
    for gradient in tape.gradient(value, layer.trainable_variables):
        assert np.isfinite(gradient).all()


def test_it_finds_the_base_rate(world, fixed_teacher):
    # A teacher of a task with far higher odds: the labels say how far.
    rng = np.random.default_rng(1)
    truth = rng.normal(size=24) * 2
    world_labels = (rng.random(24) < sigmoid(truth)).astype(np.float32)
    student = world.student()
    loss = CalibratedSoftTargets()
    distiller = RankingDistiller(
        fixed_teacher(logits_clicked=truth + 4.0),
        student,
        DistillationTerm(loss, TaskLogits("liked", "clicked")),
        1.0,
        0.0,
    )
    distiller.compile(tf.keras.optimizers.legacy.Adam(0.1), run_eagerly=False)
    batch = dict(world.batch())
    batch["labels"] = {"liked": tf.constant(world_labels)}
    batch["weight"] = tf.ones(24)
    data = tf.data.Dataset.from_tensors(batch).repeat(150)
    distiller.fit(data, verbose=0)
    (layer,) = loss.trainable_layers
    scaled_odds = layer(tf.constant(truth[:, None] + 4.0, tf.float32))
    # Logistic regression with an intercept: the means agree.
    np.testing.assert_allclose(
        sigmoid(scaled_odds.numpy()).mean(), world_labels.mean(), atol=0.02
    )


def test_its_configuration():
    loss = CalibratedSoftTargets(3.0, initial_offset=-1.5, name="mine")
    copy = tf.keras.losses.deserialize(tf.keras.losses.serialize(loss))
    assert isinstance(copy, CalibratedSoftTargets)
    assert copy.get_config() == loss.get_config()
    np.testing.assert_allclose(copy(TEACHER, STUDENT), loss(TEACHER, STUDENT))
    plain = CalibratedSoftTargets(3.0)
    assert float(plain(TEACHER, STUDENT)) != float(loss(TEACHER, STUDENT))
    with pytest.raises(UserError, match="temperature"):
        CalibratedSoftTargets(0.0)
