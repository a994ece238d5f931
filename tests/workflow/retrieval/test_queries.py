"""A query is a row of a query table: here a user at a time, not a user.

Every event is the next item of a prefix. The query of (user, time) has one
feature, the item before; the next item is mostly its successor on a ring, so
that what a query should retrieve depends on the time and not on the user.
"""

import dataclasses

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

from kd_tfrs.data.retrieval.batches import RetrievalBatches
from kd_tfrs.distillation import DistillationTerm, SoftTargets
from kd_tfrs.distillation.retrieval import (
    Distiller,
    TeacherTopK,
    TwoTowerTeacher,
    build_cache,
)
from kd_tfrs.evaluation.retrieval import EmbeddingScorer, FullRanking
from kd_tfrs.models import LazyAdam
from kd_tfrs.models.retrieval import RetrievalModel

NUM_USERS, LENGTH, NUM_ITEMS = 150, 9, 25
TEMPERATURE = 0.2


@dataclasses.dataclass(frozen=True)
class Prefixes:
    """Row 0 is the empty prefix; the others are (user, time) in order."""

    last_item: np.ndarray
    next_item: np.ndarray
    seen: tf.RaggedTensor
    is_test: np.ndarray
    ids: np.ndarray


@pytest.fixture(scope="module")
def prefixes():
    rng = np.random.default_rng(0)
    items = np.empty((NUM_USERS, LENGTH + 1), np.int32)
    items[:, 0] = rng.integers(0, NUM_ITEMS, NUM_USERS)
    for time in range(LENGTH):
        jump = rng.integers(0, NUM_ITEMS, NUM_USERS)
        ring = (items[:, time] + 1) % NUM_ITEMS
        items[:, time + 1] = np.where(rng.random(NUM_USERS) < 0.1, jump, ring)
    rows = [(u, t) for u in range(NUM_USERS) for t in range(LENGTH)]
    return Prefixes(
        np.int32([NUM_ITEMS, *(items[u, t] for u, t in rows)]),
        np.int32([-1, *(items[u, t + 1] for u, t in rows)]),
        tf.ragged.constant(
            [[], *(sorted({*items[u, : t + 1].tolist()}) for u, t in rows)],
            dtype=tf.int32,
        ),
        np.array([False, *(t == LENGTH - 1 for _, t in rows)]),
        np.array(["", *(f"u{u}@{t}" for u, t in rows)]),
    )


def tower(name, size, dim):
    """Named outputs of a Functional model, as `build_tower` makes them."""
    row = tf.keras.Input((), dtype=tf.int32, name=name)
    x = tf.keras.layers.Embedding(size, dim)(row)
    x = tf.keras.layers.UnitNormalization()(x)
    return tf.keras.Model({name: row}, {"embedding": x})


def model(dim):
    tf.keras.utils.set_random_seed(dim)
    return RetrievalModel(
        tower("last_item", NUM_ITEMS + 1, dim),
        tower("item", NUM_ITEMS, dim),
        temperature=TEMPERATURE,
    )


def tables(prefixes):
    return (
        {"last_item": prefixes.last_item},
        {"item": np.arange(NUM_ITEMS, dtype=np.int32)},
    )


def batches(prefixes):
    rows = np.flatnonzero(~prefixes.is_test)[1:]
    targets = prefixes.next_item[rows]
    return RetrievalBatches(
        rows.astype(np.int32),
        targets,
        *tables(prefixes),
        np.bincount(targets, minlength=NUM_ITEMS),
        batch_size=64,
        num_uniform_negatives=16,
    )


@pytest.fixture(scope="module")
def teacher(prefixes):
    network, data = model(16), batches(prefixes)
    network.compile(optimizer=LazyAdam(0.05))
    network.fit(data.dataset(12), verbose=0)
    return TwoTowerTeacher(
        network.query_tower,
        network.candidate_tower,
        *tables(prefixes),
        temperature=TEMPERATURE,
        seen=prefixes.seen,
    )


@pytest.fixture(scope="module")
def student(prefixes, teacher, tmp_path_factory):
    """Trained on the lists of a cache, without any label."""
    folder = tmp_path_factory.mktemp("cache")
    cached = build_cache(
        teacher, folder, fingerprint="ring", k=10, progress=False
    )
    network, data = model(6), batches(prefixes)
    distiller = Distiller(
        cached,
        network,
        DistillationTerm(SoftTargets(), TeacherTopK(k=10, num_random=10)),
        student_loss_weight=0.0,
    )
    distiller.compile(optimizer=LazyAdam(0.05))
    distiller.fit(data.dataset(12, join=distiller.join), verbose=0)
    return network


def recall(prefixes, query_embeddings, item_embeddings, k):
    """Share of the held-out queries whose next item is among the best k."""
    frame = pd.DataFrame({"query": prefixes.ids, "item": prefixes.next_item})
    test = prefixes.is_test
    ranking = FullRanking(
        frame[~test][1:],
        frame[test],
        np.arange(NUM_ITEMS),
        ks=(k,),
        depth=k,
        user_col="query",
        item_col="item",
    )
    scorer = EmbeddingScorer(
        prefixes.ids, query_embeddings, np.arange(NUM_ITEMS), item_embeddings
    )
    return ranking.evaluate(scorer, fast=True).metrics[f"recall@{k}"]


def test_lists_are_of_the_query_and_not_of_the_user(prefixes, teacher):
    """Two times of one user have other lists, and other seen items."""
    early, late = tf.constant([3]), tf.constant([LENGTH])
    lists = [teacher.top_k(rows, 5)[0].numpy()[0] for rows in (early, late)]
    assert prefixes.ids[3].split("@")[0] == prefixes.ids[LENGTH].split("@")[0]
    assert set(lists[0]) != set(lists[1])
    for row, items in zip((3, LENGTH), lists, strict=True):
        assert not {*items} & {*prefixes.seen[row].numpy()}


def test_the_teacher_knows_the_ring(prefixes, teacher):
    rows = tf.range(len(prefixes.ids))
    items = tf.range(NUM_ITEMS)
    found = recall(
        prefixes,
        teacher.embed_queries(rows).numpy(),
        teacher.embed_candidates(items).numpy(),
        1,
    )
    # 9 of 10 steps go to the successor; at random it is 1 of 25.
    assert found > 0.7


def test_a_distilled_student_answers_queries_of_no_training(prefixes, student):
    queries, candidates = tables(prefixes)
    found = recall(
        prefixes,
        student.query_tower(queries)["embedding"].numpy(),
        student.candidate_tower(candidates)["embedding"].numpy(),
        3,
    )
    assert found > 0.6
