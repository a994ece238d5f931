"""Networks are saved, cloned, pruned and stripped without a change."""

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_model_optimization as tfmot

from kd_tfrs.compression import pruning
from kd_tfrs.models import LazyAdam
from kd_tfrs.models.ranking import ARCHITECTURES, RankerConfig, RankingModel

# Options that leave the defaults, so that a lost one would show.
OPTIONS = {
    "wide_deep": {"crosses": (("user_id", "Item id"),)},
    "dcn": {"projection_dim": 2, "stacked": True, "cross_layers": 1},
    "din": {"attention_softmax": True, "activation": "dice"},
    "autoint": {"heads": 3, "activation": "prelu"},
}


def config(architecture, **options):
    return RankerConfig(
        architecture,
        2,
        (4,),
        dropout=0.1,
        l2=1e-3,
        **OPTIONS.get(architecture, {}),
        **options,
    )


def check_same(network, twin, batch):
    outputs, others = network(batch), twin(batch)
    assert set(outputs) == set(others)
    for name, values in outputs.items():
        np.testing.assert_allclose(values, others[name], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_saved_and_pruned(ranker, batch, tmp_path, architecture):
    network = ranker(config(architecture)).network
    network.save(tmp_path / "ranker.keras")
    twin = tf.keras.models.load_model(tmp_path / "ranker.keras")
    check_same(network, twin, batch)
    np.testing.assert_allclose(network.losses, twin.losses, rtol=1e-6)
    schedule = pruning.pruning_schedule("constant", 0.5, 10)
    check_same(network, pruning.prunable(network, schedule), batch)


def test_mmoe_saved_and_pruned(ranker, batch, tmp_path, tasks):
    network = ranker(config("dcn", experts=2, tower_units=(3,)), tasks).network
    network.save(tmp_path / "ranker.keras")
    twin = tf.keras.models.load_model(tmp_path / "ranker.keras")
    check_same(network, twin, batch)
    check_same(network, pruning.copy(network), batch)


def test_pruned_to_the_end(ranker, labelled, tasks):
    """With a table that item and history share, and layers with state."""
    tasks = tasks[:1]
    network = ranker(config("din"), tasks).network
    schedule = pruning.pruning_schedule("polynomial", 0.5, 12)
    wrapped = pruning.prunable(network, schedule)
    model = RankingModel(wrapped, tasks)
    model.compile(optimizer=LazyAdam(0.01))
    model.fit(
        tf.data.Dataset.from_tensors(labelled).repeat(12),
        callbacks=[tfmot.sparsity.keras.UpdatePruningStep()],
        verbose=0,
    )
    steps = {
        int(layer.pruning_step)
        for layer in wrapped.layers
        if hasattr(layer, "pruning_step")
    }
    assert steps == {12}, "a layer that is called twice counts twice"
    stripped = pruning.strip(wrapped, 0.5)
    assert pruning.sparsity(stripped) > 0.45
    check_same(wrapped, stripped, labelled["features"])
