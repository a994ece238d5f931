"""The student adapter: labels train it, and it trains the student."""

import numpy as np
import pytest
import tensorflow as tf

from kd_tfrs.distillation import BinarySoftTargets, DistillationTerm
from kd_tfrs.distillation.ranking import (
    AdaptedSoftTargets,
    RankingDistiller,
    TaskLogits,
    with_auxiliary_head,
)
from kd_tfrs.errors import UserError

RNG = np.random.default_rng(0)
TEACHER = RNG.normal(size=(6, 1)).astype(np.float32)
STUDENT = RNG.normal(size=(6, 1)).astype(np.float32)
LABELS = np.array([[0], [1], [np.nan], [1], [0], [0]], np.float32)
WEIGHTS = RNG.uniform(1, 2, 6).astype(np.float32)
KERNELS = [
    np.array([[1.0, -2.0]]),
    np.array([0.1, 0.5]),
    np.array([[0.7], [-0.3]]),
    np.array([-0.2]),
]


def sigmoid(x):
    return 1.0 / (1.0 + np.exp(-x))


def adapted(t):
    """The corrected logits of `KERNELS`, in NumPy."""
    hidden = np.maximum(t @ KERNELS[0] + KERNELS[1], 0.0)
    return t + hidden @ KERNELS[2] + KERNELS[3]


def learned(*args, **options):
    loss = AdaptedSoftTargets(*args, hidden_units=(2,), **options)
    (adapter,) = loss.trainable_layers
    adapter.set_weights(KERNELS)
    return loss


def soft_targets(t, s, temperature=1.0):
    p, z = sigmoid(t / temperature), s / temperature
    return temperature**2 * (np.logaddexp(0, z) - p * z)[:, 0]


def test_it_starts_as_the_teachers_own_soft_targets():
    np.testing.assert_allclose(
        AdaptedSoftTargets(2.0)(TEACHER, STUDENT, WEIGHTS),
        BinarySoftTargets(2.0)(TEACHER, STUDENT, WEIGHTS),
        rtol=1e-6,
    )


@pytest.mark.parametrize("labels", [None, tf.constant(LABELS)])
def test_the_value_is_that_of_soft_targets_to_the_adapted_teacher(labels):
    rows = soft_targets(adapted(TEACHER), STUDENT, 2.0)
    np.testing.assert_allclose(
        learned(2.0)(TEACHER, STUDENT, WEIGHTS, labels=labels),
        np.average(rows, weights=WEIGHTS),
        rtol=1e-5,
    )
    np.testing.assert_allclose(
        learned(2.0, reduction="none")(TEACHER, STUDENT, labels=labels),
        rows,
        rtol=1e-5,
    )


def test_labels_train_the_adapter_and_the_teacher_trains_the_student():
    loss = learned()
    teacher, student = tf.Variable(TEACHER), tf.Variable(STUDENT)
    (adapter,) = loss.trainable_layers
    with tf.GradientTape() as tape:
        value = loss(teacher, student, WEIGHTS, labels=tf.constant(LABELS))
    of_teacher, of_student, own = tape.gradient(
        value, [teacher, student, adapter.trainable_variables]
    )
    assert of_teacher is None
    w, t = WEIGHTS[:, None] / WEIGHTS.sum(), adapted(TEACHER)
    np.testing.assert_allclose(
        of_student, w * (sigmoid(STUDENT) - sigmoid(t)), rtol=1e-4
    )
    # The slope of the labels' cross entropy alone, by differences.
    known = np.isfinite(LABELS)

    def own_loss():
        z = adapted(TEACHER.astype(np.float64))
        y = np.nan_to_num(LABELS)
        return np.where(known, w * (np.logaddexp(0, z) - y * z), 0.0).sum()

    for kernel, slope in zip(KERNELS, own, strict=True):
        wanted = np.zeros(kernel.shape)
        for at in np.ndindex(*kernel.shape):
            kept = kernel[at]
            sides = []
            for h in (1e-6, -1e-6):
                kernel[at] = kept + h
                sides.append(own_loss())
            kernel[at] = kept
            wanted[at] = (sides[0] - sides[1]) / 2e-6
        np.testing.assert_allclose(slope, wanted, atol=1e-5)


def test_a_masked_score_spoils_nothing():
    loss, teacher = learned(), TEACHER.copy()
    teacher[1] = np.nan
    kept = np.arange(6) != 1
    (adapter,) = loss.trainable_layers
    with tf.GradientTape() as tape:
        value = loss(
            teacher,
            STUDENT,
            np.where(kept, WEIGHTS, 0.0),
            labels=tf.constant(LABELS),
            mask=kept[:, None],
        )
    np.testing.assert_allclose(
        value, loss(TEACHER[kept], STUDENT[kept], WEIGHTS[kept]), rtol=1e-5
    )
    for slope in tape.gradient(value, adapter.trainable_variables):
        assert np.isfinite(slope).all()


def test_extreme_logits_stay_finite():
    for a, b in ((1e4, 1e4), (-1e4, 1e4), (0.0, 1e4), (1e4, 0.0)):
        student = tf.Variable(b * STUDENT)
        with tf.GradientTape() as tape:
            value = learned()(a * TEACHER, student, labels=tf.constant(LABELS))
        assert np.isfinite(value)
        assert np.isfinite(tape.gradient(value, student)).all()


def test_it_computes_in_float32_under_mixed_precision():
    tf.keras.mixed_precision.set_global_policy("mixed_float16")
    try:
        value = learned()(TEACHER, STUDENT)
    finally:
        tf.keras.mixed_precision.set_global_policy("float32")
    np.testing.assert_allclose(value, learned()(TEACHER, STUDENT), rtol=1e-6)


def test_it_corrects_a_teacher_whose_error_is_no_line(world, fixed_teacher):
    # A teacher of old data overrates what it rates high: labels of the true
    # odds, which a line through its logits does not give.
    odds = np.linspace(-3, 3, 24)
    old = odds + np.where(odds > 0, 3.0 * odds, 0.0)
    student = world.student()
    student = student.with_networks(
        with_auxiliary_head(student.network, student.tasks)
    )
    tf.keras.utils.set_random_seed(0)
    loss = AdaptedSoftTargets()
    distiller = RankingDistiller(
        fixed_teacher(logits_liked=old),
        student,
        DistillationTerm(loss, TaskLogits("liked", auxiliary=True)),
        1.0,
        0.0,
    )
    distiller.compile(tf.keras.optimizers.legacy.Adam(0.02))
    batch = dict(world.batch())
    batch["labels"] = {"liked": tf.constant(sigmoid(odds), tf.float32)}
    batch["weight"] = tf.ones(24)
    data = tf.data.Dataset.from_tensors(batch).repeat(600)
    distiller.fit(data, verbose=0)
    (adapter,) = loss.trainable_layers
    logits = tf.constant(old[None, :, None], tf.float32)
    wrong = np.abs(sigmoid(old) - sigmoid(odds)).mean()
    left = np.abs(sigmoid(adapter(logits)[0, :, 0]) - sigmoid(odds)).mean()
    assert left < 0.3 * wrong


def test_its_configuration():
    loss = AdaptedSoftTargets(3.0, hidden_units=(4, 2), name="mine")
    copy = tf.keras.losses.deserialize(tf.keras.losses.serialize(loss))
    assert isinstance(copy, AdaptedSoftTargets)
    assert copy.get_config() == loss.get_config()
    assert copy.get_config()["hidden_units"] == [4, 2]
    copy.trainable_layers[0].set_weights(loss.trainable_layers[0].get_weights())
    np.testing.assert_allclose(copy(TEACHER, STUDENT), loss(TEACHER, STUDENT))


@pytest.mark.parametrize(
    "options", [{"temperature": 0.0}, {"hidden_units": (0,)}]
)
def test_arguments_out_of_range(options):
    with pytest.raises(UserError, match=next(iter(options))):
        AdaptedSoftTargets(**options)
