"""A head for the teacher beside the one that is served."""

import numpy as np
import pytest
import tensorflow as tf

from kd_tfrs.distillation import BinarySoftTargets, DistillationTerm
from kd_tfrs.distillation.ranking import (
    RankingDistiller,
    TaskLogits,
    with_auxiliary_head,
    without_auxiliary_head,
)
from kd_tfrs.errors import UserError
from kd_tfrs.models.ranking import RankerConfig, RankingModel, RankingTask

CONFIGS = {
    "dnn": {"hidden_units": (4,)},
    # Additive terms, and towers of each task's own.
    "deepfm": {"hidden_units": (4,), "tower_units": (3,), "experts": 2},
}


@pytest.mark.parametrize("architecture", CONFIGS)
def test_a_head_is_added_and_taken_away(world, architecture, tmp_path):
    tasks = (world.liked, world.clicked)
    config = RankerConfig(
        architecture, embedding_dim=2, **CONFIGS[architecture]
    )
    network = world.network(config, tasks)
    names = sorted(network.output)
    batch = world.batch()
    features = {name: batch["features"][name] for name in network.input}
    before = {k: x.numpy() for k, x in network(features).items()}
    both = with_auxiliary_head(network, tasks)
    assert sorted(network.output) == names
    student_values = both(features)
    assert sorted(set(student_values) - set(names)) == [
        "logits_clicked_teacher", "logits_liked_teacher",
    ]  # fmt: skip
    # What the served head's own layer sees, through a layer of its own.
    head = network.get_layer("head_liked")
    seen = tf.keras.Model(network.input, head.input)(features)
    mine = both.get_layer("head_liked_teacher")
    assert mine.kernel.shape == head.kernel.shape
    np.testing.assert_allclose(
        student_values["logits_liked_teacher"],
        (seen @ mine.kernel + mine.bias)[:, 0],
        rtol=1e-5,
    )
    served = without_auxiliary_head(both)
    assert sorted(served.output) == names
    assert served.count_params() == network.count_params()
    path = tmp_path / "served.keras"
    served.save(path)
    loaded = tf.keras.models.load_model(path)
    for model in (both, served, loaded):
        found = model(features)
        for name, x in before.items():
            np.testing.assert_array_equal(found[name], x)


def test_the_teacher_never_reaches_the_served_head(world, fixed_teacher):
    network = world.network()
    both = with_auxiliary_head(network, (world.liked,))
    student = RankingModel(both, (world.liked,))
    term = DistillationTerm(
        BinarySoftTargets(), TaskLogits("liked", auxiliary=True)
    )
    # A teacher that is far too sure; the labels' part is left out.
    distiller = RankingDistiller(
        fixed_teacher(logits_liked=np.full(24, 9.0)), student, term, 1.0, 0.0
    )
    distiller.compile(tf.keras.optimizers.legacy.SGD(0.5), run_eagerly=True)
    names = [layer.name for layer in both.layers if layer.weights]
    before = {n: both.get_layer(n).get_weights() for n in names}
    distiller.train_step(world.batch())
    changed = {
        name
        for name in names
        for x, y in zip(
            before[name], both.get_layer(name).get_weights(), strict=True
        )
        if not np.array_equal(x, y)
    }
    assert changed == set(names) - {"head_liked"}


def test_the_served_head_stays_calibrated_under_a_biased_teacher(
    world, fixed_teacher
):
    # The teacher's odds are e^4. Straight into the served head, the slope of
    # its bias, the mean of (p - y) + (p - sigmoid(4)), would be 0 halfway
    # between the labels' mean and 0.98. Beside it, that slope is the mean of
    # p - y: at the optimum the mean prediction is the labels' mean.
    biased = fixed_teacher(logits_liked=np.full(24, 4.0))
    labels, w = world.labels["liked"], world.weights
    known = np.isfinite(labels)
    rate = np.average(labels[known], weights=w[known])
    network = with_auxiliary_head(world.network(), (world.liked,))
    student = RankingModel(network, (world.liked,))
    term = DistillationTerm(
        BinarySoftTargets(), TaskLogits("liked", auxiliary=True)
    )
    distiller = RankingDistiller(biased, student, term, 1.0, 1.0)
    distiller.compile(tf.keras.optimizers.legacy.Adam(0.05))
    distiller.fit(world.batches(24).dataset(150), verbose=0)
    student_values = student(world.batch())
    served, inputs = (
        np.average(1 / (1 + np.exp(-x.numpy()[known])), weights=w[known])
        for x in (
            student_values["logits_liked"],
            student_values["logits_liked_teacher"],
        )
    )
    assert abs(served - rate) < 0.03
    assert inputs > 0.95


def test_a_missing_head_raises_an_error(world):
    network = world.network()
    with pytest.raises(UserError, match="logits_rating"):
        with_auxiliary_head(network, (world.rating,))
    both = with_auxiliary_head(network, (world.liked,))
    with pytest.raises(UserError, match="no 'logits_liked_teacher' yet"):
        with_auxiliary_head(both, (world.liked,))
    with pytest.raises(UserError, match="auxiliary head"):
        without_auxiliary_head(network)
    with pytest.raises(UserError, match="Functional"):
        with_auxiliary_head(tf.keras.Sequential(), (world.liked,))
    with pytest.raises(UserError, match="Rename"):
        with_auxiliary_head(network, (RankingTask("liked_teacher"),))
    x = tf.keras.Input((1,), name="x")
    bare = tf.keras.Model({"x": x}, {"logits_liked": x})
    with pytest.raises(UserError, match="head_liked"):
        with_auxiliary_head(bare, (world.liked,))
