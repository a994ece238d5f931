"""One `Distiller` for every kind of student, with Keras's contracts."""

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_recommenders as tfrs

import kd_tfrs as kd
from kd_tfrs.distillation.retrieval import Distiller as RetrievalDistiller
from kd_tfrs.distillation.retrieval import EmbeddingTeacher
from kd_tfrs.distillation.tfrs_models import ModelDistiller
from kd_tfrs.testing.retrieval import tiny_world

Adagrad = tf.keras.optimizers.legacy.Adagrad


class Towers(tfrs.Model):
    """As the TFRS documentation writes it."""

    def __init__(self, dim):
        super().__init__()
        self.users = tf.keras.layers.Embedding(9, dim)
        self.items = tf.keras.layers.Embedding(9, dim)
        self.task = tfrs.tasks.Retrieval()

    def compute_loss(self, features, training=False):
        return self.task(
            self.users(features["user"]), self.items(features["item"])
        )


ROWS = {"user": np.arange(8), "item": np.arange(8)[::-1].copy()}


def dataset():
    return tf.data.Dataset.from_tensor_slices(ROWS).batch(4)


def trained(dim):
    model = Towers(dim)
    model.compile(Adagrad(0.1))
    model.fit(dataset(), verbose=0)
    return model


def test_each_student_has_its_distiller():
    loss = kd.SoftTargets(2.0)
    own = kd.Distiller(trained(4), trained(2), loss)
    assert type(own) is ModelDistiller
    world = tiny_world(ids_only=True)
    rng = np.random.default_rng(0)
    sizes = (world.catalogue.num_users + 1, world.catalogue.num_items)
    tables = (np.float32(rng.normal(size=(rows, 4))) for rows in sizes)
    teacher = EmbeddingTeacher(*tables)
    retrieval = kd.Distiller(teacher, world.model(3), loss)
    assert type(retrieval) is RetrievalDistiller
    for distiller in (own, retrieval):
        assert isinstance(distiller, kd.Distiller)


def test_arguments_go_by_name_as_in_keras():
    distiller = kd.Distiller(
        student=trained(2),
        teacher=trained(4),
        distillation_losses=kd.SoftTargets(2.0),
    )
    distiller.compile(optimizer=Adagrad(0.1))
    history = distiller.fit(dataset(), epochs=2, verbose=0)
    assert isinstance(history, tf.keras.callbacks.History)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"loss": "mse"}, "Distiller(teacher, student, losses)"),
        ({"alpha": 0.1}, "student_loss_weight=alpha"),
        ({"temperature": 3}, "SoftTargets(temperature)"),
    ],
)
def test_arguments_of_other_distillers_are_refused(arguments, words):
    distiller = kd.Distiller(trained(4), trained(2), kd.SoftTargets())
    with pytest.raises(kd.UserError) as error:
        distiller.compile(Adagrad(0.1), **arguments)
    assert words in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("student", [None, "model", tf.keras.Sequential()])
def test_a_student_of_no_kind_is_refused(student):
    with pytest.raises(kd.UserError, match="`student` should be"):
        kd.Distiller(trained(4), student, kd.SoftTargets())
