"""Rankers pruned while a teacher teaches them."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_model_optimization as tfmot

from kd_tfrs.compression import prunable, pruning_schedule, sparsity, strip
from kd_tfrs.data.ranking.batches import RankingBatches
from kd_tfrs.distillation import BinarySoftTargets, DistillationTerm
from kd_tfrs.distillation.ranking import (
    NetworkTeacher,
    RankingDistiller,
    TaskLogits,
    with_auxiliary_head,
    without_auxiliary_head,
)
from kd_tfrs.models import FeatureSet, LazyAdam
from kd_tfrs.models.ranking import RankingTask
from kd_tfrs.testing.ranking import tiny_ranking

SHARE, STEPS = 0.6, 8
COLUMNS = ("user_id", "item_id", "genres", "price")
PRUNED = (tf.keras.layers.Dense, tf.keras.layers.Embedding)
LIKED = RankingTask("liked")


@pytest.fixture(scope="module")
def world():
    """Few columns, which is fast: tables, a list, a number, the history."""
    world = tiny_ranking()
    kept = [f for f in world.features if f.name in COLUMNS]
    return dataclasses.replace(world, features=FeatureSet(kept))


@pytest.fixture(scope="module")
def rows(world):
    train = world.examples.train
    item_id = next(f for f in world.features if f.name == "item_id")
    history = item_id.encode_ids(train.history)
    return {**world.features.encode(train.table), "history": history}


def train(world, rows, student, term):
    """Prunes while distilling."""
    teacher = NetworkTeacher(world.model("deepfm", (LIKED,), seed=5))
    distiller = RankingDistiller(teacher, student, term)
    distiller.compile(optimizer=LazyAdam(0.01), run_eagerly=True)
    labels = {"liked": world.examples.train.labels["liked"]}
    batches = RankingBatches(rows, labels, batch_size=16)
    distiller.fit(
        batches.dataset(1 + STEPS // batches.steps_per_epoch),
        steps_per_epoch=STEPS,
        callbacks=[tfmot.sparsity.keras.UpdatePruningStep()],
        verbose=0,
    )


def check(dense, pruned, plain, rows):
    """The share in every tensor, and the same outputs as under the masks."""
    for layer in plain.layers:
        if isinstance(layer, PRUNED):
            tensor = layer.get_weights()[0]
            # TFMOT keeps round(size * (1 - share)) weights, one at least.
            kept = max(1, np.round(tensor.size * (1 - SHARE)))
            assert np.count_nonzero(tensor) <= kept, layer.name
    assert sparsity(plain) == pytest.approx(SHARE, abs=0.02)
    assert {x.name for x in plain.layers} == {x.name for x in dense.layers}
    for name, values in pruned(rows).items():
        np.testing.assert_allclose(plain(rows)[name], values, atol=1e-5)


@pytest.mark.parametrize(
    ("architecture", "kind"), [("dcn", "polynomial"), ("din", "constant")]
)
def test_pruned_while_distilling(world, rows, architecture, kind):
    dense = world.model(architecture, (LIKED,), dropout=0.1)
    before = [w.copy() for w in dense.get_weights()]
    schedule = pruning_schedule(kind, SHARE, STEPS)
    student = dense.with_networks(prunable(dense.network, schedule))
    term = DistillationTerm(
        BinarySoftTargets(temperature=2.0), TaskLogits("liked")
    )
    train(world, rows, student, term)
    # The student runs forward once a step.
    steps = {
        int(layer.pruning_step)
        for layer in student.network.layers
        if hasattr(layer, "pruning_step")
    }
    assert steps == {STEPS}
    plain = strip(student.network, SHARE)
    check(dense.network, student.network, plain, rows)
    for old, new in zip(before, dense.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_pruned_with_a_head_for_the_teacher(world, rows):
    """The served head is what it was under the masks."""
    dense = world.model("dnn", (LIKED,))
    network = with_auxiliary_head(dense.network, (LIKED,))
    schedule = pruning_schedule("constant", SHARE, STEPS)
    student = dense.with_networks(prunable(network, schedule))
    term = DistillationTerm(
        BinarySoftTargets(), TaskLogits("liked", auxiliary=True)
    )
    train(world, rows, student, term)
    plain = strip(student.network, SHARE)
    check(network, student.network, plain, rows)
    served = without_auxiliary_head(plain)
    assert "logits_liked_teacher" not in served.output
    np.testing.assert_allclose(
        served(rows)["logits_liked"],
        student.network(rows)["logits_liked"],
        atol=1e-5,
    )
    assert sparsity(served) == pytest.approx(SHARE, abs=0.02)
