"""Pruning: the final sparsity of every tensor, after stripping as well."""

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_model_optimization as tfmot

from kd_tfrs.compression import prunable, pruning_schedule, sparsity, strip
from kd_tfrs.compression.pruning import copy
from kd_tfrs.distillation import SoftTargets
from kd_tfrs.distillation.retrieval import Distiller, EmbeddingTeacher
from kd_tfrs.errors import UserError
from kd_tfrs.models import LazyAdam
from kd_tfrs.testing.retrieval import tiny_world

SHARE = 0.6
PRUNED = (tf.keras.layers.Dense, tf.keras.layers.Embedding)


@pytest.fixture(scope="module")
def world():
    return tiny_world(ids_only=True)


@pytest.fixture(scope="module")
def teacher(world):
    rng = np.random.default_rng(0)
    return EmbeddingTeacher(rng.normal(size=(13, 4)), rng.normal(size=(20, 4)))


def with_pruning(model, schedule):
    return model.with_networks(
        prunable(model.query_tower, schedule),
        prunable(model.candidate_tower, schedule),
    )


def train(world, teacher, student, num_steps, eagerly=True):
    """Prunes while distilling."""
    distiller = Distiller(teacher, student, SoftTargets())
    distiller.compile(optimizer=LazyAdam(0.01), run_eagerly=eagerly)
    batches = world.batches(16)
    distiller.fit(
        batches.dataset(1 + num_steps // batches.steps_per_epoch),
        steps_per_epoch=num_steps,
        callbacks=[tfmot.sparsity.keras.UpdatePruningStep()],
        verbose=0,
    )


def zeros(tower):
    """Zeros and size of every kernel and table by layer."""
    found = {}
    for layer in tower.layers:
        if isinstance(layer, PRUNED):
            tensor = layer.get_weights()[0]
            found[layer.name] = (np.sum(tensor == 0), tensor.size)
    return found


@pytest.mark.parametrize("kind", ["constant", "polynomial"])
def test_every_tensor_gets_its_share_while_distilling(world, teacher, kind):
    dense = world.model(8, hidden_units=(10,), dropout=0.2)
    before = [w.copy() for w in dense.get_weights()]
    student = with_pruning(dense, pruning_schedule(kind, SHARE, 12))
    # A few eager steps are faster than a graph; users train in the graph.
    train(world, teacher, student, 12, eagerly=kind == "constant")
    for side in ("query_tower", "candidate_tower"):
        pruned = getattr(student, side)
        plain = strip(pruned, SHARE)
        for name, (count, size) in zeros(plain).items():
            # TFMOT keeps round(size * (1 - share)) weights, one at least.
            kept = max(1, np.round(size * (1 - SHARE)))
            assert count == size - kept, name
        assert zeros(plain).keys() == zeros(getattr(dense, side)).keys()
        assert sparsity(plain) == pytest.approx(SHARE, abs=0.02)
        assert not any("Prune" in type(x).__name__ for x in plain.layers)
        tables = getattr(world, f"{side.removesuffix('_tower')}_tables")
        # The wrappers apply their masks when called.
        for name, values in pruned(tables).items():
            np.testing.assert_allclose(
                plain(tables)[name], values, rtol=1e-5, atol=1e-6
            )
    for old, new in zip(before, dense.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_prunable_starts_as_the_same_model(world):
    tower = world.model(4, hidden_units=(6,)).candidate_tower
    before = [w.copy() for w in tower.get_weights()]
    pruned = prunable(tower, pruning_schedule("polynomial", SHARE, 100))
    outputs, twin = (
        tower(world.candidate_tables),
        pruned(world.candidate_tables),
    )
    assert set(outputs) == set(twin) == {"hidden_0", "embedding"}
    for name in outputs:
        np.testing.assert_array_equal(outputs[name], twin[name])
    own = {v.ref() for v in tower.variables}
    assert not own & {v.ref() for v in pruned.variables}
    for variable in pruned.trainable_variables:
        variable.assign(tf.zeros_like(variable))
    for old, new in zip(before, tower.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_strip_applies_the_masks_of_the_last_step(world, teacher):
    student = with_pruning(
        world.model(8), pruning_schedule("constant", SHARE, 12)
    )
    train(world, teacher, student, 12)
    tower = student.query_tower
    for layer in tower.layers:
        for weight, mask, _ in getattr(layer, "pruning_vars", ()):
            # What an optimizer does between two masks.
            weight.assign_add(0.01 * (1 - mask))
    before = [w.copy() for w in tower.get_weights()]
    assert sparsity(strip(tower, SHARE)) == pytest.approx(SHARE, abs=0.02)
    for old, new in zip(before, tower.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_a_run_that_is_too_short_raises(world, teacher):
    student = with_pruning(
        world.model(8), pruning_schedule("polynomial", SHARE, 200)
    )
    train(world, teacher, student, 2)
    with pytest.raises(UserError, match=r"should have a sparsity of 0\.600"):
        strip(student.query_tower, SHARE)


def test_a_tower_that_never_trained_is_not_pruned(world):
    schedule = pruning_schedule("constant", SHARE, 10)
    tower = prunable(world.model().query_tower, schedule)
    with pytest.raises(UserError, match="Train longer, or pass"):
        strip(tower, SHARE)


@pytest.mark.parametrize("num_steps", [1, 2, 7, 99, 1234])
@pytest.mark.parametrize(
    ("kind", "start"), [("constant", 0.5), ("polynomial", 0.0)]
)
def test_schedules_end_before_the_training_does(num_steps, kind, start):
    schedule = pruning_schedule(kind, 0.5, num_steps)
    calls = tf.function(
        lambda: tf.map_fn(
            schedule,
            tf.range(max(num_steps, 2)),
            fn_output_signature=(tf.bool, tf.float32),
        )
    )
    turns, shares = (x.numpy() for x in calls())
    assert turns[0]
    assert shares[0] == pytest.approx(start)
    last = np.nonzero(turns)[0][-1]
    assert last <= max(1, 0.75 * num_steps)
    assert shares[last] == pytest.approx(0.5, abs=1e-4)
    assert turns.sum() <= 76


def test_copy_shares_nothing(world):
    tower = world.model(4, hidden_units=(6,), dropout=0.3).query_tower
    twin = copy(tower)
    for name, values in tower(world.query_tables).items():
        np.testing.assert_array_equal(values, twin(world.query_tables)[name])
    own = {v.ref() for v in tower.variables}
    assert not own & {v.ref() for v in twin.variables}


def test_sparsity_counts_kernels_and_tables_only():
    model = tf.keras.Sequential([tf.keras.layers.Dense(4, input_shape=(5,))])
    assert sparsity(model) == 0.0, "biases are zero, and do not count"
    kernel = np.ones((5, 4))
    kernel[0] = 0
    model.set_weights([kernel, np.zeros(4)])
    assert sparsity(model) == pytest.approx(0.2)
    flat = tf.keras.Sequential([tf.keras.layers.Flatten(input_shape=(5,))])
    assert sparsity(flat) == 0.0


def test_invalid_arguments_raise():
    for share in (0.0, 1.0, -0.5):
        with pytest.raises(UserError, match="`final_sparsity` should lie"):
            pruning_schedule("constant", share, 10)
    with pytest.raises(UserError, match="polynomial or constant"):
        pruning_schedule("linear", 0.5, 10)
    flat = tf.keras.Sequential([tf.keras.layers.Flatten(input_shape=(5,))])
    with pytest.raises(UserError, match="have Dense or Embedding layers"):
        prunable(flat, pruning_schedule("constant", 0.5, 10))
