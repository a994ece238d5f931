"""Tables that are small on disk and float32 in memory."""

import numpy as np
import pytest

import kd_tfrs  # noqa: F401  # isort: skip  (first: it chooses Keras 2)
import tensorflow as tf

from kd_tfrs.evaluation import size_bytes
from kd_tfrs.export import CSavedModel, Storage, StoredTable, export_saved_model
from kd_tfrs.export.retrieval import RetrievalModule

STORAGES = [
    Storage(int8, sparse) for int8 in (False, True) for sparse in (False, True)
]
IDS = [
    f"{'int8' if s.int8 else 'float32'}{'-sparse' if s.sparse else ''}"
    for s in STORAGES
]


def make_table(rows=7, dim=5, zeros=0.5, seed=0):
    random = np.random.default_rng(seed)
    table = random.normal(size=(rows, dim)).astype(np.float32)
    table[random.random(table.shape) < zeros] = 0
    table[3] = 0
    return table


def expected_of(table, storage):
    """Rounded to the nearest of 255 steps up to the row's largest weight."""
    if not storage.int8:
        return table
    step = np.abs(table).max(axis=1, keepdims=True) / 127
    return np.round(table / np.where(step > 0, step, 1)) * step


@pytest.mark.parametrize("storage", STORAGES, ids=IDS)
@pytest.mark.parametrize("zeros", [0.0, 0.5, 1.0])
def test_what_is_read_is_the_table(storage, zeros):
    table = make_table(zeros=zeros)

    stored = StoredTable(table, storage)

    expected = expected_of(table, storage)
    np.testing.assert_allclose(stored.read(), expected, atol=1e-6)
    np.testing.assert_allclose(storage.stored(table), expected, atol=1e-6)
    rows = tf.constant([[6, 3], [0, 6]])
    np.testing.assert_allclose(
        stored.gather(rows), expected[[[6, 3], [0, 6]]], atol=1e-6
    )


def test_bytes_are_those_of_values_scales_and_bits():
    table = np.ones((10, 20), np.float32)
    table[:, :5] = 0

    sizes = [storage.model_bytes(table) for storage in STORAGES]

    # 200 weights of 4 bytes; 150 of them and 200 bits; 200 bytes and 10
    # scales; 150 bytes, 10 scales and 200 bits.
    assert sizes == [800, 600 + 25, 200 + 40, 150 + 40 + 25]


@pytest.mark.parametrize("storage", STORAGES, ids=IDS)
def test_an_export_stores_no_more_and_answers_the_same_everywhere(
    storage, tmp_path, catalogue_of
):
    catalogue = catalogue_of(int, num_users=400, num_items=600)
    queries, candidates = make_table(401, 24), make_table(600, 24, seed=1)
    module = RetrievalModule(queries, candidates, catalogue, storage=storage)
    module_bytes = sum(map(storage.model_bytes, (queries, candidates)))
    scores = storage.stored(queries)[1:] @ storage.stored(candidates).T

    version = export_saved_model(module, tmp_path / "model")

    users = catalogue.user_ids[:50]
    loaded = tf.saved_model.load(str(version))
    again = tf.saved_model.load(str(version))
    del again  # another copy that is freed leaves this one alone
    for found in (
        loaded.signatures["serving_default"](user_id=tf.constant(users)),
        CSavedModel(version).run("serving_default", {"user_id": users}),
    ):
        best = -np.sort(-scores[:50], axis=1)[:, :10]
        np.testing.assert_allclose(found["score"], best, atol=1e-5)
    weights = sum(
        size_bytes(file) for file in version.glob("variables/*.data-*")
    )
    ids = 8 * (400 + 600)
    assert module_bytes + ids <= weights < module_bytes + ids + 2_000
    # The graph holds neither ids nor weights.
    assert size_bytes(version / "saved_model.pb") < 100_000


@pytest.mark.parametrize("storage", STORAGES, ids=IDS)
def test_ids_that_are_text_are_not_in_the_graph_either(
    storage, tmp_path, catalogue_of
):
    catalogue = catalogue_of(str, num_users=1_000, num_items=1_000)
    queries, candidates = make_table(1_001, 12), make_table(1_000, 12, seed=1)
    module = RetrievalModule(queries, candidates, catalogue, storage=storage)

    version = export_saved_model(module, tmp_path / "model")

    # Ids alone are 7 to 40 bytes each, 2,000 times.
    graph = (version / "saved_model.pb").read_bytes()
    assert len(graph) < 100_000
    assert not [
        item for item in catalogue.item_ids[:50] if item.encode() in graph
    ]
    # By hand: both tables rounded, the best ten, ties to the smaller id.
    users = catalogue.user_ids[[3, 700, 999]]
    rows = storage.stored(queries)[[4, 701, 1000]]
    scores = rows @ storage.stored(candidates).T
    best = np.argsort(-scores, axis=1, kind="stable")[:, :10]
    loaded = tf.saved_model.load(str(version))
    for found in (
        loaded.signatures["serving_default"](user_id=tf.constant(users)),
        CSavedModel(version).run("serving_default", {"user_id": users}),
    ):
        np.testing.assert_allclose(
            found["score"], np.take_along_axis(scores, best, 1), atol=1e-5
        )
        ids = np.array(found["item_id"]).tolist()
        expected = catalogue.item_ids[best].tolist()
        assert [[i.decode() for i in row] for row in ids] == expected


def test_rounding_shows_in_what_is_answered(tmp_path, catalogue_of):
    """An export of 8-bit integers answers as the rounded tables do."""
    catalogue = catalogue_of(int, num_users=40, num_items=60)
    queries, candidates = make_table(41, 8), make_table(60, 8, seed=1)
    int8 = Storage(int8=True)
    module = RetrievalModule(queries, candidates, catalogue, storage=int8)
    version = export_saved_model(module, tmp_path / "model")
    users, items = catalogue.user_ids, np.tile(catalogue.item_ids, (40, 1))

    found = CSavedModel(version).run(
        "score", {"user_id": users, "item_id": items}
    )["score"]

    exact = queries[1:] @ candidates.T
    rounded = expected_of(queries, int8)[1:] @ expected_of(candidates, int8).T
    np.testing.assert_allclose(found, rounded, atol=1e-5)
    # Each weight is off by up to half a step, 1/254 of its row's largest.
    assert 1e-3 < np.abs(found - exact).max() < 0.2


def test_the_same_tables_give_the_same_files(tmp_path, catalogue_of):
    catalogue = catalogue_of(str, num_users=4, num_items=6)
    tables = make_table(5, 8), make_table(6, 8, seed=1)

    one, two = (
        RetrievalModule(*tables, catalogue, storage=Storage(int8=True))
        for _ in range(2)
    )
    expected = one.default(tf.constant(catalogue.user_ids))["score"].numpy()
    del one

    found = two.default(tf.constant(catalogue.user_ids))["score"].numpy()
    np.testing.assert_array_equal(found, expected)
