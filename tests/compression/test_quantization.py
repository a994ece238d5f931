"""Int8 tables by value, and quantisation-aware training."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from kd_tfrs.compression import (
    Int8Embedding,
    quantization_aware,
    quantize_tables,
)
from kd_tfrs.compression.quantization import quantized_rows
from kd_tfrs.errors import UserError
from kd_tfrs.models import FeatureSet
from kd_tfrs.testing.ranking import tiny_ranking

COLUMNS = ("user_id", "item_id", "genres", "price")


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


def test_rows_are_off_by_half_a_step_at_most():
    rng = np.random.default_rng(0)
    table = rng.normal(size=(50, 6)) * 10.0 ** rng.integers(-20, 20, (50, 1))
    table[7] = 0.0
    rows, scale = quantized_rows(table)
    np.testing.assert_allclose(scale, np.abs(table).max(axis=1) / 127)
    error = np.abs(rows * scale.astype(np.float64)[:, None] - table)
    assert (error <= 0.5001 * scale[:, None]).all()
    # The largest of a row is met, with either sign.
    assert (np.abs(rows).max(axis=1)[np.arange(50) != 7] == 127).all()
    assert not rows[7].any()


def test_a_layer_gives_its_rows_for_ids_of_any_shape():
    table = np.random.default_rng(1).normal(size=(9, 4))
    layer = Int8Embedding.of(table)
    rows, scale = quantized_rows(table)
    expected = rows * scale[:, None]
    for ids in (3, [1, 0, 8], [[2, 2], [5, 7]]):
        np.testing.assert_allclose(
            layer(tf.constant(ids)), expected[np.array(ids)], rtol=1e-6
        )
    assert layer.trainable_weights == []
    twin = Int8Embedding.from_config(layer.get_config())
    twin.build(None)
    twin.set_weights(layer.get_weights())
    np.testing.assert_array_equal(
        twin(tf.constant([4])), layer(tf.constant([4]))
    )


def dequantized(network):
    """The same network with tables that were rounded by NumPy."""
    twin = tf.keras.models.clone_model(network)
    twin.set_weights(network.get_weights())
    for layer in twin.layers:
        if isinstance(layer, tf.keras.layers.Embedding):
            rows, scale = quantized_rows(layer.get_weights()[0])
            layer.set_weights([rows * scale[:, None]])
    return twin


@pytest.mark.parametrize("architecture", ["dcn", "wide_deep"])
def test_a_network_has_the_outputs_of_its_rounded_tables(
    world, rows, architecture, tmp_path
):
    network = world.model(architecture).network
    before = [w.copy() for w in network.get_weights()]
    small = quantize_tables(network)
    expected = dequantized(network)(rows)
    assert set(small.output) == set(expected)
    for name, values in small(rows).items():
        np.testing.assert_allclose(values, expected[name], atol=1e-5)
    for old, new in zip(before, network.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
    small.save(tmp_path / "small.keras")
    loaded = tf.keras.models.load_model(tmp_path / "small.keras")
    np.testing.assert_array_equal(
        loaded(rows)["logits_liked"], small(rows)["logits_liked"]
    )


def test_training_aware_of_int8_starts_near_the_network_and_learns(world, rows):
    model = world.model("dnn")
    network = quantization_aware(model.network)
    before = [w.copy() for w in model.network.get_weights()]
    outputs, aware = model.network(rows), network(rows, training=True)
    assert set(outputs) == set(aware)
    # Weights are the same but for the rounding: a few per cent of a logit's
    # range for most rows, more where an activation was clipped.
    expected = outputs["logits_rating"].numpy()
    difference = np.abs(expected - aware["logits_rating"])
    assert 0 < difference.mean() < 0.1 * expected.std()
    twin = model.with_networks(network)
    labels = {k: tf.constant(v) for k, v in world.examples.train.labels.items()}
    batch = {
        "features": {k: tf.constant(v) for k, v in rows.items()},
        "labels": labels,
        "weight": tf.ones(len(world.examples.train)),
    }
    with tf.GradientTape() as tape:
        loss = twin.compute_loss(batch, training=True)
    gradients = tape.gradient(loss, twin.trainable_variables)
    assert not any(g is None for g in gradients)
    for variable, gradient in zip(
        twin.trainable_variables, gradients, strict=True
    ):
        variable.assign_sub(1e-3 * tf.convert_to_tensor(gradient))
    assert twin.compute_loss(batch, training=False) < loss
    for old, new in zip(before, model.network.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
    small = quantize_tables(network)
    np.testing.assert_allclose(
        small(rows)["logits_rating"], network(rows)["logits_rating"], atol=0.1
    )


def test_invalid_arguments_raise():
    flat = tf.keras.Sequential([tf.keras.layers.Flatten(input_shape=(5,))])
    with pytest.raises(UserError, match="should have Embedding layers"):
        quantize_tables(flat)
    with pytest.raises(UserError, match="should have Dense layers"):
        quantization_aware(flat)
    with pytest.raises(UserError, match="A table should be finite"):
        quantized_rows(np.array([[np.nan, 1.0]]))
