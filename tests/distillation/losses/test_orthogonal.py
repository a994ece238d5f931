"""Orthogonal hints: VkD, in NumPy and by values of the authors' code."""

import json
import pathlib

import numpy as np
import pytest
import tensorflow as tf
from feature_checks import FeatureLossChecks, features

from kd_tfrs.distillation.losses.orthogonal import (
    OrthogonalHint,
    OrthogonalProjection,
)
from kd_tfrs.errors import UserError

AUTHORS = pathlib.Path(__file__).with_name("vkd_values.json")


def orthogonal(kernel):
    q, r = np.linalg.qr(kernel.astype(np.float64))
    return q * np.where(np.diag(r) < 0, -1, 1)


def smooth_l1(x):
    return np.where(np.abs(x) < 1, x**2 / 2, np.abs(x) - 0.5)


class TestOrthogonalHint(FeatureLossChecks):
    def make(self, **options):
        return OrthogonalHint(**options)

    def reference(self, loss, t, s):
        (kernel,) = loss.projection.get_weights()
        mean = t.mean(axis=1, keepdims=True)
        wanted = (t - mean) / np.sqrt(t.var(axis=1, keepdims=True) + 1e-5)
        return smooth_l1(s @ orthogonal(kernel).T - wanted).mean()


def test_values_and_gradients_of_the_authors():
    values = json.loads(AUTHORS.read_text())
    loss = OrthogonalHint()
    loss.ensure_built(5, 3)
    loss.projection.set_weights([np.array(values["projection"], np.float32)])
    student = tf.Variable(np.array(values["student"], np.float32))
    with tf.GradientTape() as tape:
        value = loss(values["teacher"], student)
    np.testing.assert_allclose(value, values["loss"], rtol=1e-5)
    np.testing.assert_allclose(
        tape.gradient(value, student), values["student_gradient"], atol=1e-6
    )


@pytest.mark.parametrize("width", [7, 4, 2])
def test_the_projection_is_orthogonal_whatever_its_kernel(width):
    layer = OrthogonalProjection(width)
    layer.build(tf.TensorShape([None, 4]))
    (kernel,) = layer.get_weights()
    layer.set_weights([np.random.default_rng(0).normal(3.0, 2.0, kernel.shape)])
    matrix = layer(tf.eye(4)).numpy()
    gram = matrix @ matrix.T if width >= 4 else matrix.T @ matrix
    np.testing.assert_allclose(gram, np.eye(min(4, width)), atol=1e-5)


def test_a_wider_teacher_sees_the_students_own_dot_products():
    _, s = features()
    layer = OrthogonalProjection(6)
    projected = layer(s).numpy()
    np.testing.assert_allclose(projected @ projected.T, s @ s.T, atol=1e-5)


def test_a_rotated_teacher_is_matched_by_learning_the_rotation():
    # Rows of mean 0 and variance 1 in a plane of six dimensions.
    rng = np.random.default_rng(5)
    plane = np.linalg.qr(np.c_[np.ones(6), rng.normal(size=(6, 2))])[0][:, 1:]
    circle = rng.normal(size=(40, 2))
    circle *= np.sqrt(6) / np.linalg.norm(circle, axis=1, keepdims=True)
    teacher = (circle @ plane.T).astype(np.float32)
    student = (circle * np.sqrt(1 / (1 + 1e-5))).astype(np.float32)
    loss = OrthogonalHint()
    loss.ensure_built(6, 2)
    loss.projection.set_weights([plane.astype(np.float32)])
    np.testing.assert_allclose(loss(teacher, student), 0.0, atol=1e-8)


def test_the_length_of_a_teachers_row_is_not_seen():
    t, s = features()
    loss = OrthogonalHint()
    np.testing.assert_allclose(loss(9.0 * t, s), loss(t, s), rtol=1e-4)


def test_the_projection_comes_back_from_its_config():
    layer = OrthogonalProjection(6, name="mine")
    twin = OrthogonalProjection.from_config(layer.get_config())
    assert (twin.output_width, twin.name) == (6, "mine")
    assert tf.keras.utils.get_registered_name(OrthogonalProjection) == (
        "kd_tfrs>OrthogonalProjection"
    )


@pytest.mark.parametrize("width", [0, 2.5, True])
def test_wrong_widths_are_refused(width):
    with pytest.raises(UserError, match="output_width"):
        OrthogonalProjection(width)
