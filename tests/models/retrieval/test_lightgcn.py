"""LightGCN against its matrices, and that it learns."""

import numpy as np
import pytest
import scipy.sparse as sp
import tensorflow as tf

from kd_tfrs.distillation.retrieval import EmbeddingTeacher
from kd_tfrs.errors import UserError
from kd_tfrs.models.retrieval.ease import interaction_matrix
from kd_tfrs.models.retrieval.lightgcn import LightGcn
from kd_tfrs.testing.retrieval import tiny_world

NUM_USERS, NUM_ITEMS = 12, 20


@pytest.fixture(scope="module")
def world():
    return tiny_world(NUM_USERS, NUM_ITEMS, ids_only=True)


@pytest.fixture(scope="module")
def events(world):
    return interaction_matrix(
        world.user_rows, world.item_rows, (NUM_USERS + 1, NUM_ITEMS)
    )


def propagated(events, tables, num_layers):
    """Equations 7 and 8 on the dense matrix of the whole graph."""
    x = (events.toarray() != 0).astype(float)
    users = len(x)
    graph = np.block(
        [[np.zeros((users, users)), x], [x.T, np.zeros((x.shape[1],) * 2)]]
    )
    root = np.diag([1 / np.sqrt(d) if d else 0.0 for d in graph.sum(axis=1)])
    layer = np.concatenate(tables)
    total = layer.copy()
    for _ in range(num_layers):
        layer = root @ graph @ root @ layer
        total += layer
    mean = total / (num_layers + 1)
    return mean[:users], mean[users:]


@pytest.mark.parametrize("num_layers", [1, 3])
@pytest.mark.parametrize("normalize", [False, True])
def test_embeddings_are_the_papers(events, num_layers, normalize):
    # The value of an event does not matter.
    model = LightGcn(7.0 * events, 4, num_layers, normalize=normalize, seed=1)
    before = [x.numpy() for x in model.trainable_variables]
    assert [x.shape for x in before] == [(NUM_USERS + 1, 4), (NUM_ITEMS, 4)]
    expected = propagated(events, before, num_layers)
    for found, wanted in zip(model.embeddings(), expected, strict=True):
        if normalize:
            wanted /= np.linalg.norm(wanted, axis=1, keepdims=True)
        if len(wanted) == NUM_USERS + 1:
            wanted[0] = 0.0  # the unknown user has no neighbours
        np.testing.assert_allclose(found, wanted, atol=1e-5)


def test_one_gradient_reaches_the_neighbours(events):
    model = LightGcn(events, 4, num_layers=2)
    with tf.GradientTape() as tape:
        queries, _ = model.propagate()
        loss = tf.reduce_sum(queries[3])
    users, items = tape.gradient(loss, model.trainable_variables)
    own = np.flatnonzero(events.toarray()[3])
    others = np.setdiff1d(np.arange(NUM_ITEMS), own)
    # The neighbours are the items of the user; no other item has a gradient.
    assert np.abs(items.numpy()[own]).min() > 0
    assert np.abs(users.numpy()[3]).min() > 0
    np.testing.assert_allclose(items.numpy()[others], 0, atol=1e-7)


def test_training_and_teaching(world, events):
    model = LightGcn(events, 8, num_layers=2, temperature=0.2)
    model.compile(tf.keras.optimizers.legacy.Adam(0.05))
    batches = world.batches(16, num_uniform_negatives=8)
    history = model.fit(batches.dataset(1), verbose=0).history["loss"]
    history += model.fit(
        batches.dataset(15).skip(batches.steps_per_epoch), verbose=0
    ).history["loss"]
    assert history[-1] < history[0] - 0.2
    teacher = EmbeddingTeacher(*model.embeddings(), model.temperature)
    scores = teacher.all_scores(tf.range(NUM_USERS + 1)).numpy()
    assert not np.any(scores[0])
    liked = events.toarray().astype(bool)
    assert scores[liked].mean() > scores[1:][~liked[1:]].mean() + 0.5


def test_call_returns_the_rows_of_a_batch(world, events):
    model = LightGcn(events, 4)
    batch = world.batch(num_uniform_negatives=3)
    outputs = model(batch)
    for side, table in zip(
        ("query", "candidate"), model.embeddings(), strict=True
    ):
        np.testing.assert_allclose(
            outputs[side]["embedding"], table[batch[f"{side}_row"]], atol=1e-6
        )


def test_arguments_out_of_range(events):
    for options in ({"embedding_dim": 0}, {"num_layers": 0}):
        with pytest.raises(UserError, match="should be at least 1"):
            LightGcn(events, **options)
    with pytest.raises(UserError, match="`temperature` should be positive"):
        LightGcn(sp.eye(3), temperature=0.0)
