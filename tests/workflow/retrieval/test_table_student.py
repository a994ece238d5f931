"""Two tables that score as the model whose embeddings they were given."""

import numpy as np
import pytest
import tensorflow as tf

import kd_tfrs as kd
from kd_tfrs.data import Split
from kd_tfrs.distillation.retrieval import project_embeddings
from kd_tfrs.testing.retrieval import tiny_interactions
from kd_tfrs.workflow.retrieval import measure
from kd_tfrs.workflow.retrieval.builders import build_model
from kd_tfrs.workflow.retrieval.config import TowerOptions, TrainOptions
from kd_tfrs.workflow.retrieval.prepare import (
    encode_rows,
    prepare_interactions,
)
from kd_tfrs.workflow.training import set_weights

DIM, COLD_USER, COLD_ITEM = 6, "u04", "i07"


@pytest.fixture(scope="module")
def data():
    """A split that has a user and an item without a training event."""
    interactions = tiny_interactions()
    events = interactions.events
    held_out = (events["user_id"] == COLD_USER) | (
        events["item_id"] == COLD_ITEM
    )
    kept, rest = events[~held_out], events[held_out]
    return prepare_interactions(
        interactions, split=Split(kept, rest[::2], rest[1::2])
    )


@pytest.fixture(scope="module")
def dense(data):
    """Embeddings of a model that reads all columns, untrained."""
    tf.keras.utils.set_random_seed(0)
    encoded = data.encode()
    size = kd.TowerConfig(embedding_dim=DIM, hidden_units=(8,))
    model = kd.RetrievalModel(
        kd.build_tower(encoded.query, size),
        kd.build_tower(encoded.candidate, size),
    )
    return measure.embed(model, encoded, data)


def table_student(data, dim=DIM):
    encoded = encode_rows(data.catalogue)
    towers = TowerOptions(embedding_dim=dim, hidden_units=())
    return encoded, build_model(encoded, towers, TrainOptions(), 1)


def test_it_has_a_row_for_each_user_and_item_and_nobody(data):
    encoded, model = table_student(data)
    (queries,), (candidates,) = (n.get_weights() for n in model.networks)
    catalogue = data.catalogue
    assert queries.shape == (catalogue.num_users + 1, DIM)
    assert candidates.shape == (catalogue.num_items, DIM)
    # Columns are not read: the row is all there is.
    assert list(encoded.query_tables) == list(encoded.candidate_tables)
    assert len(encoded.query_tables) == 1


def test_it_scores_as_the_model_whose_embeddings_it_was_given(data, dense):
    encoded, model = table_student(data)
    set_weights(model, [dense.queries, dense.candidates])

    found = measure.embed(model, encoded, data)

    for name in ("queries", "candidates", "fallback"):
        np.testing.assert_allclose(
            getattr(found, name), getattr(dense, name), atol=1e-6, err_msg=name
        )
    users, k = [*data.catalogue.user_ids, "nobody"], data.catalogue.num_items
    (ids, scores), (same_ids, same_scores) = (
        one.scorer(data).recommend(users, k) for one in (dense, found)
    )
    np.testing.assert_allclose(same_scores, scores, atol=1e-5)
    np.testing.assert_array_equal(same_ids, ids)


def test_users_and_items_without_events_keep_what_they_were_given(data, dense):
    catalogue = data.catalogue
    user = catalogue.user_rows(np.array([COLD_USER]))[0]
    item = catalogue.item_rows(np.array([COLD_ITEM]))[0]
    assert catalogue.user_events[user] == catalogue.item_events[item] == 0
    encoded, model = table_student(data)
    set_weights(model, [dense.queries, dense.candidates])
    model.compile(optimizer=kd.LazyAdam(0.05))

    kd.fit(
        model,
        data,
        epochs=2,
        progress=False,
        batch_size=16,
        uniform_negatives=0,
    )

    found = measure.embed(model, encoded, data)
    # Their columns told the teacher something, which no label takes away.
    np.testing.assert_allclose(
        found.queries[user], dense.queries[user], atol=1e-6
    )
    np.testing.assert_allclose(
        found.candidates[item], dense.candidates[item], atol=1e-6
    )
    moved = np.abs(found.queries - dense.queries).max(axis=1)
    assert (moved[catalogue.user_events > 0] > 1e-3).all()


def test_fewer_dimensions_are_those_that_are_used_most(data, dense):
    encoded, model = table_student(data, dim=3)
    tables = project_embeddings(dense.queries, dense.candidates, 3)
    set_weights(model, tables)

    found = measure.embed(model, encoded, data)

    # Rows have length 1 on both sides of the tower's division by it.
    np.testing.assert_allclose(found.queries, tables[0], atol=1e-6)
    np.testing.assert_allclose(found.candidates, tables[1], atol=1e-6)
