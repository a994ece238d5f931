"""A plain Keras model of one output as a student, by the same call."""

import numpy as np
import pytest
import tensorflow as tf

import kd_tfrs as kd
from kd_tfrs.distillation.tfrs_models import KerasDistiller

from .conftest import FILMS, USERS

layers = tf.keras.layers
LOGITS = tf.keras.losses.BinaryCrossentropy(from_logits=True)


def functional(dim, regularizer=None, activation=None):
    """Logits from raw ids."""
    inputs, parts = {}, []
    for name, ids in (("user_id", USERS), ("movie_title", FILMS)):
        inputs[name] = layers.Input((), dtype=tf.string, name=name)
        rows = layers.StringLookup(vocabulary=ids)(inputs[name])
        parts.append(layers.Embedding(len(ids) + 1, dim)(rows))
    dense = layers.Dense(
        1, activation=activation, kernel_regularizer=regularizer
    )
    return tf.keras.Model(inputs, dense(layers.Concatenate()(parts)))


def compiled(dim, loss=LOGITS, **options):
    model = functional(dim, **options)
    model.compile(tf.keras.optimizers.legacy.Adagrad(0.1), loss=loss)
    model.set_weights([10.0 * w for w in model.get_weights()])
    return model


@pytest.fixture
def labelled(features):
    names = ("user_id", "movie_title")
    x = {name: features[name] for name in names}
    y = np.float32(features["user_rating"] > 3)
    weight = np.float32(0.5 + np.arange(len(y)) % 2)
    return tf.data.Dataset.from_tensor_slices((x, y, weight)).batch(32)


def test_the_call_is_that_of_every_student(labelled):
    teacher, student = compiled(8), compiled(2)
    distiller = kd.Distiller(teacher, student, kd.BinarySoftTargets(2.0))
    assert type(distiller) is KerasDistiller
    distiller.compile(tf.keras.optimizers.legacy.Adagrad(0.1))
    before = teacher.get_weights()
    history = distiller.fit(labelled, epochs=4, verbose=0)
    assert isinstance(history, tf.keras.callbacks.History)
    assert history.history["loss"][-1] < history.history["loss"][0]
    for old, new in zip(before, teacher.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
    tracked = {id(v) for v in distiller.variables}
    assert not tracked & {id(v) for v in teacher.variables}
    assert distiller.predict(labelled, verbose=0).shape == (96, 1)


def test_the_total_is_keras_loss_and_the_divergence(labelled):
    # Keras's own evaluation gives the student's loss with its penalties.
    student = compiled(2, regularizer=tf.keras.regularizers.L2(0.1))
    teacher = compiled(8)
    distiller = kd.Distiller(
        teacher, student, kd.BinarySoftTargets(2.0), 0.7, 0.3
    )
    distiller.compile()
    data = labelled.take(1)
    logs = distiller.evaluate(data, return_dict=True, verbose=0)
    x, y, weight = next(iter(data))
    z, t = (m(x).numpy()[:, 0] for m in (student, teacher))
    entropy = np.logaddexp(0, z) - y.numpy() * z
    # Keras divides by the number of rows, kd_tfrs by the sum of the weights.
    own = np.mean(weight.numpy() * entropy)
    p = 1 / (1 + np.exp(-t / 2))
    soft = 4 * (np.logaddexp(0, z / 2) - p * z / 2)
    soft = np.average(soft, weights=weight)
    penalty = 0.1 * np.sum(student.layers[-1].kernel.numpy() ** 2)
    np.testing.assert_allclose(logs["student_loss"], own, rtol=1e-5)
    np.testing.assert_allclose(logs["binary_soft_targets"], soft, rtol=1e-5)
    np.testing.assert_allclose(
        logs["loss"], 0.3 * own + 0.7 * soft + penalty, rtol=1e-5
    )


def test_probabilities_are_compared_as_logits(labelled):
    # The same network with a sigmoid, of the same weights.
    teacher = compiled(8)
    losses = {}
    for loss, activation in (
        (LOGITS, None),
        ("binary_crossentropy", "sigmoid"),
    ):
        tf.keras.utils.set_random_seed(1)
        student = compiled(2, loss, activation=activation)
        distiller = kd.Distiller(teacher, student, kd.BinarySoftTargets(2.0))
        distiller.compile()
        losses[activation] = distiller.evaluate(
            labelled, return_dict=True, verbose=0
        )
    for name, value in losses[None].items():
        np.testing.assert_allclose(losses["sigmoid"][name], value, rtol=1e-3)


def test_metrics_of_both_compiles_are_in_the_history(labelled):
    student = functional(2)
    student.compile(loss=LOGITS, metrics=[tf.keras.metrics.AUC(name="own")])
    distiller = kd.Distiller(compiled(8), student, kd.BinarySoftTargets(2.0))
    distiller.compile(
        tf.keras.optimizers.legacy.Adagrad(0.1),
        metrics=[tf.keras.metrics.AUC(from_logits=True, name="auc")],
        weighted_metrics=[tf.keras.metrics.MeanSquaredError(name="mse")],
    )
    logs = distiller.evaluate(labelled, return_dict=True, verbose=0)
    y = np.concatenate([y for _, y, _ in labelled])
    weight = np.concatenate([w for _, _, w in labelled])
    predicted = student.predict(labelled, verbose=0)[:, 0]
    auc = tf.keras.metrics.AUC(from_logits=True)
    auc.update_state(y, predicted)
    np.testing.assert_allclose(logs["auc"], auc.result(), rtol=1e-5)
    mse = np.average((y - predicted) ** 2, weights=weight)
    np.testing.assert_allclose(logs["mse"], mse, rtol=1e-5)
    assert "own" in logs


def test_a_tfrs_teacher_reads_the_label_as_a_feature(models, features):
    names = ("user_id", "movie_title")
    data = tf.data.Dataset.from_tensor_slices(
        ({n: features[n] for n in names}, features["user_rating"])
    ).batch(32)
    teacher = kd.TfrsTeacher(models["basic_ranking"](8), label="user_rating")
    distiller = kd.Distiller(teacher, compiled(2, "mse"), kd.ScoreRegression())
    distiller.compile(tf.keras.optimizers.legacy.Adagrad(0.1))
    history = distiller.fit(data, epochs=3, verbose=0).history
    assert history["score_regression"][-1] < history["score_regression"][0]


def test_logits_for_a_loss_of_probabilities_are_refused(labelled):
    student = compiled(2, "binary_crossentropy")
    distiller = kd.Distiller(compiled(8), student, kd.BinarySoftTargets())
    distiller.compile()
    with pytest.raises(kd.UserError, match="from_logits=True"):
        distiller.fit(labelled)


def test_data_without_labels_are_refused(labelled):
    distiller = kd.Distiller(compiled(8), compiled(2), kd.BinarySoftTargets())
    distiller.compile()
    with pytest.raises(kd.UserError, match="without labels"):
        distiller.fit(labelled.map(lambda x, y, w: x))
