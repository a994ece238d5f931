"""Networks that are stored in 8 bits, and with a bit for every zero."""

import numpy as np
import pytest
import tensorflow as tf

from kd_tfrs.errors import UserError
from kd_tfrs.export import Storage, export_saved_model
from kd_tfrs.export.ranking import (
    KerasRanker,
    RankingCheck,
    RankingInputs,
    RankingModule,
    SavedModelRanker,
    ServingTables,
    verify_ranking,
)
from kd_tfrs.export.ranking.stored_layers import (
    _storage_of,
    model_bytes,
    rounded_network,
    stored_network,
)
from kd_tfrs.testing.ranking import tiny_ranking

STORAGES = [Storage(int8=True), Storage(sparse=True), Storage(True, True)]
INT8, SPARSE, BOTH = STORAGES


@pytest.fixture(scope="module")
def data():
    return tiny_ranking()


def with_zeros(network, share):
    """Every kernel and table with the smallest weights at zero."""
    for layer in network.layers:
        weights = layer.get_weights()
        if weights and weights[0].ndim == 2:
            size = np.abs(weights[0])
            kept = size >= np.quantile(size, share)
            layer.set_weights([weights[0] * kept, *weights[1:]])
    return network


@pytest.fixture(scope="module", params=["dnn", "din", "dcn", "deepfm"])
def model(request, data):
    model = data.model(request.param)
    with_zeros(model.network, 0.75)
    return model


def encoded(data, network):
    rows = data.features.encode(data.examples.test.table)
    item = next(f for f in data.features if f.name == "item_id")
    rows["history"] = item.encode_ids(data.examples.test.history)
    return {name: tf.constant(rows[name]) for name in network.input}


def test_a_tensor_is_stored_in_the_smallest_allowed_format():
    dense, narrow = np.ones((10, 8)), np.ones((10, 1))
    # 8 + 4 bytes a row of 32; 1 + 4 of 4.
    assert _storage_of(dense, INT8) == INT8
    assert _storage_of(narrow, INT8) == Storage()
    # A bit for each of 80 weights saves nothing where none is zero.
    assert _storage_of(dense, BOTH) == INT8
    half = dense * (np.arange(10) % 2)[:, None]
    # 40 integers, 10 scales, 10 bytes of bits: 90 of 120.
    assert _storage_of(half, BOTH) == BOTH
    # 5 floats and 2 bytes of bits: 22 of 40.
    assert _storage_of(half[:, :1], BOTH) == SPARSE
    assert _storage_of(np.ones(8), BOTH) == Storage()


def test_that_model_bytes_are_those_of_all_weights():
    inputs = tf.keras.Input((8,))
    outputs = tf.keras.layers.Dense(3)(inputs)
    network = tf.keras.Model(inputs, outputs)
    # Kernel [8, 3] and bias [3] in float32.
    assert model_bytes(network) == 4 * (24 + 3)
    # 24 integers, 8 scales, 3 floats.
    assert model_bytes(network, INT8) == 24 + 4 * 8 + 4 * 3


@pytest.mark.parametrize("storage", STORAGES, ids=["int8", "sparse", "both"])
def test_that_a_stored_network_scores_as_the_rounded_one(data, model, storage):
    rows = encoded(data, model.network)
    stored, tables = stored_network(model.network, storage)
    assert tables
    found = stored(rows)
    expected = rounded_network(model.network, storage)(rows)
    for name, values in expected.items():
        np.testing.assert_allclose(found[name], values, atol=1e-5)
    exact = model.network(rows)["logits_liked"]
    apart = np.abs(found["logits_liked"] - exact).max()
    if not storage.int8:
        assert apart < 1e-5
    else:
        # Each weight is off by a 254th of its row's largest at most.
        assert 0 < apart < 0.05 * np.ptp(exact)


def test_that_the_network_itself_stays_as_it_is(data, model):
    rows, before = encoded(data, model.network), model.network.get_weights()
    rounded_network(model.network, INT8)
    stored_network(model.network, BOTH)
    for one, other in zip(before, model.network.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    plain, tables = stored_network(model.network, Storage())
    assert plain is model.network
    assert not tables
    assert set(rows) == set(plain.input)


def test_that_an_export_is_smaller_and_verified_by_value(data, tmp_path):
    # Wide enough that weights are more than ids and names.
    model = data.model("dnn", embedding_dim=64, hidden_units=(128,))
    model.network.set_weights([w / 10 for w in model.network.get_weights()])
    with_zeros(model.network, 0.75)
    train = data.examples.train
    inputs = RankingInputs.of(model, data.features, train)
    tables = ServingTables.of(data.interactions, data.split.train, train)
    test, sizes = data.examples.test, {}
    items = tables.items["item_id"].tolist()
    users = tables.users["user_id"].tolist()[:3]
    for storage in (Storage(), INT8, BOTH):
        rounded = rounded_network(model.network, storage)
        check = RankingCheck(
            KerasRanker(rounded, model.tasks, inputs, tables),
            test.table,
            test.history,
            [(user, items, 5, None) for user in users],
        )
        module = RankingModule(model, inputs, tables, storage=storage)
        path = export_saved_model(
            module,
            tmp_path / str(len(sizes)),
            verify=lambda path, check=check: verify_ranking(path, check),
        )
        sizes[storage] = (path / "variables").stat(), path
        weights = path / "variables" / "variables.data-00000-of-00001"
        sizes[storage] = weights.stat().st_size
    assert sizes[BOTH] < sizes[INT8] < sizes[Storage()]
    # Serving tables are the same in all; what differs are the weights.
    saved = sizes[Storage()] - sizes[INT8]
    wanted = model_bytes(model.network) - model_bytes(model.network, INT8)
    assert saved == pytest.approx(wanted, rel=0.2)


def test_that_an_export_of_other_values_is_refused(data, tmp_path):
    model = data.model("dnn")
    train = data.examples.train
    inputs = RankingInputs.of(model, data.features, train)
    check = RankingCheck(
        KerasRanker(model.network, model.tasks, inputs),
        data.examples.test.table,
        data.examples.test.history,
        tolerance=1e-7,
    )
    module = RankingModule(model, inputs, storage=INT8)
    with pytest.raises(UserError, match="should score as the model does"):
        export_saved_model(
            module,
            tmp_path / "model",
            verify=lambda path: verify_ranking(path, check),
        )
    good = RankingModule(model, inputs)
    version = export_saved_model(good, tmp_path / "model")
    assert SavedModelRanker(version)
