"""The loss of a ranker against its formula, written out in NumPy float64."""

import numpy as np
import pytest
import tensorflow as tf

from kd_tfrs.errors import UserError
from kd_tfrs.models import LazyAdam
from kd_tfrs.models.ranking import (
    STUDENT,
    RankerConfig,
    RankingModel,
    RankingTask,
    build_ranker,
)

CONFIG = RankerConfig("dnn", 3, (4,))
TASKS = (RankingTask("liked", weight=2.0), RankingTask("rating", "rating", 0.5))


@pytest.fixture
def model(features):
    return RankingModel(build_ranker(features, CONFIG, TASKS), TASKS)


def rows(batch, outputs):
    """The losses of every row."""
    z, r = (
        outputs[f"logits_{name}"].numpy().astype(np.float64)
        for name in ("liked", "rating")
    )
    y, s = (batch["labels"][n].numpy() for n in ("liked", "rating"))
    p = 1 / (1 + np.exp(-z))
    return {
        "liked": -(y * np.log(p) + (1 - y) * np.log(1 - p)),
        "rating": (r - s) ** 2,
    }


def scaled(batch, logits):
    """Outputs with larger logits than an untrained network has."""
    rng = np.random.default_rng(0)
    size = len(batch["weight"])
    return {
        f"logits_{n}": tf.constant(rng.normal(size=size) * logits, tf.float32)
        for n in ("liked", "rating")
    }


def test_loss(model, labelled):
    outputs = scaled(labelled, 3.0)
    losses = rows(labelled, outputs)
    w = labelled["weight"].numpy()
    expected = {k: (v * w).sum() / w.sum() for k, v in losses.items()}
    found = model.task_losses(labelled, outputs)
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-5)
    np.testing.assert_allclose(
        model.task_loss(labelled, outputs),
        2.0 * expected["liked"] + 0.5 * expected["rating"],
        rtol=1e-5,
    )
    outputs = model(labelled)
    np.testing.assert_allclose(
        model.compute_loss(labelled), model.task_loss(labelled, outputs)
    )


def test_the_loss_does_not_grow_with_the_batch(model, labelled):
    outputs = scaled(labelled, 1.0)
    twice = tf.nest.map_structure(lambda x: tf.concat([x, x], 0), labelled)
    doubled = {k: tf.concat([v, v], 0) for k, v in outputs.items()}
    expected = model.task_loss(labelled, outputs)
    np.testing.assert_allclose(
        model.task_loss(twice, doubled), expected, rtol=1e-6
    )
    heavy = {**labelled, "weight": 7 * labelled["weight"]}
    np.testing.assert_allclose(
        model.task_loss(heavy, outputs), expected, rtol=1e-6
    )
    unweighted = {**labelled, "weight": 0 * labelled["weight"]}
    assert float(model.task_loss(unweighted, outputs)) == 0.0


def test_rows_without_a_label_or_a_weight_have_no_gradient(model, labelled):
    outputs = {k: tf.Variable(v) for k, v in scaled(labelled, 1.0).items()}
    losses = rows(labelled, outputs)["liked"]
    weight = labelled["weight"].numpy()
    weight[1] = 0
    labels = labelled["labels"]["liked"].numpy()
    labels[0] = np.nan
    labelled["weight"] = tf.constant(weight)
    labelled["labels"]["liked"] = tf.constant(labels)
    with tf.GradientTape() as tape:
        found = model.task_losses(labelled, outputs)["liked"]
    np.testing.assert_allclose(
        found, (losses * weight)[2:].sum() / weight[2:].sum(), rtol=1e-5
    )
    gradient = tape.gradient(found, outputs["logits_liked"]).numpy()
    assert not gradient[:2].any()
    assert gradient[2:].all()


def test_extreme_logits_have_finite_losses(model, labelled):
    labelled["labels"]["rating"] = tf.zeros([8])
    outputs = {k: tf.Variable(v) for k, v in scaled(labelled, 1e6).items()}
    with tf.GradientTape() as tape:
        loss = model.task_loss(labelled, outputs)
    assert np.isfinite(loss)
    for gradient in tape.gradient(loss, list(outputs.values())):
        assert np.isfinite(gradient).all()


def test_predictions_are_derived(model, labelled):
    outputs = scaled(labelled, 2.0)
    found = model.predictions(outputs)
    np.testing.assert_allclose(
        found["liked"], 1 / (1 + np.exp(-outputs["logits_liked"])), rtol=1e-5
    )
    np.testing.assert_array_equal(found["rating"], outputs["logits_rating"])


def test_training_descends(features, labelled):
    config = RankerConfig("dnn", 3, (4,), l2=1e-4)
    model = RankingModel(build_ranker(features, config, TASKS), TASKS)
    model.compile(optimizer=LazyAdam(0.05))
    data = tf.data.Dataset.from_tensors(labelled).repeat(30)
    logs = model.fit(data, verbose=0, epochs=2).history
    assert logs["loss"][1] < 0.5 * logs["loss"][0]
    assert logs["regularization_loss"][1] > 0


def test_other_features_are_ignored(model, labelled):
    expected = model(labelled)["logits_liked"]
    labelled["features"]["dwell_seconds"] = tf.ones([8])
    np.testing.assert_array_equal(model(labelled)["logits_liked"], expected)
    del labelled["features"]["age"]
    with pytest.raises(UserError, match=r"Received: no \['age'\]"):
        model(labelled)


def test_with_network_keeps_the_tasks(model, features):
    twin = model.with_networks(build_ranker(features, STUDENT, TASKS))
    assert twin is not model
    assert twin.tasks == model.tasks
    assert twin.network is not model.network
    assert twin.name == model.name


def test_networks_and_tasks_that_do_not_fit(model):
    for tasks in ((), (TASKS[0], TASKS[0]), ("liked",)):
        with pytest.raises(UserError, match="`tasks` should be"):
            RankingModel(model.network, tasks)
    with pytest.raises(UserError, match="an output 'logits_click'"):
        RankingModel(model.network, (RankingTask("click"),))
    plain = tf.keras.Sequential([tf.keras.layers.Dense(1, input_shape=(2,))])
    with pytest.raises(UserError, match="take a dict of features"):
        RankingModel(plain, TASKS)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"name": "a b"}, "`name` of a task"),
        ({"name": ""}, "`name` of a task"),
        ({"name": "y", "kind": "click"}, "`kind` of task"),
        ({"name": "y", "weight": 0.0}, "`weight` of task"),
        ({"name": "y", "weight": float("nan")}, "`weight` of task"),
        ({"name": "y", "initial_logit": float("inf")}, "`initial_logit` of"),
    ],
)
def test_tasks_out_of_range(options, named):
    with pytest.raises(UserError, match=named):
        RankingTask(**options)
