"""Selections of the samplers, against brute force on tiny data."""

import numpy as np
import pytest
import tensorflow as tf

from kd_tfrs.distillation.retrieval import (
    AllCandidates,
    EmbeddingTeacher,
    FeaturePair,
    InBatch,
    RankSampled,
    Sampled,
    TeacherTopK,
)
from kd_tfrs.distillation.retrieval.batch_scores import EmbeddingScores
from kd_tfrs.distillation.retrieval.candidates import first_occurrences
from kd_tfrs.errors import UserError
from kd_tfrs.testing.retrieval import tiny_world

ROWS = ("query_row", "candidate_row")
NUM_USERS, NUM_ITEMS, DIM, TAU = 12, 20, 5, 0.5


@pytest.fixture(scope="module")
def world():
    return tiny_world(NUM_USERS, NUM_ITEMS)


@pytest.fixture(scope="module")
def vectors():
    rng = np.random.default_rng(3)
    return (
        rng.normal(size=(NUM_USERS + 1, DIM)).astype(np.float32),
        rng.normal(size=(NUM_ITEMS, DIM)).astype(np.float32),
    )


@pytest.fixture(scope="module")
def teacher(vectors):
    return EmbeddingTeacher(*vectors, temperature=TAU)


def joined(world, sampler, teacher, **options):
    return world.batch(
        lambda rows, seed: sampler.join(rows, seed, teacher), **options
    )


def first(rows):
    return np.array([x not in rows[:i] for i, x in enumerate(list(rows))], bool)


def ranked(vectors, user, k, seen=()):
    """The best unseen items, ties to the lower row."""
    scores = (vectors[1] @ vectors[0][user] / TAU).astype(np.float64)
    scores[list(seen)] = -np.inf
    order = np.argsort(-scores, kind="stable")[:k]
    return order, scores[order]


@pytest.mark.parametrize(
    "rows", [[], [4], [1, 1, 1], [3, 1, 3, 2, 1], list(range(5))]
)
def test_first_occurrences(rows):
    marked = first_occurrences(tf.constant(rows, tf.int32))
    np.testing.assert_array_equal(marked, first(rows))


def test_in_batch_selects_the_candidates_of_the_softmax(
    world, teacher, vectors
):
    batch = world.batch(num_uniform_negatives=9)
    selection = InBatch().select(batch)
    users, items = (batch[k].numpy() for k in ("query_row", "candidate_row"))
    np.testing.assert_array_equal(selection.mask, first(items))
    assert not selection.mask.numpy().all()
    np.testing.assert_array_equal(selection.weight, batch["event_weight"])
    np.testing.assert_allclose(
        teacher.batch_scores(batch).scores(selection),
        vectors[0][users] @ vectors[1][items].T / TAU,
        rtol=1e-4,
        atol=1e-5,
    )


def test_in_batch_leaves_out_what_others_joined(world, teacher):
    batch = joined(world, Sampled(6), teacher, num_uniform_negatives=3)
    selection = InBatch().select(batch)
    assert selection.mask.shape == selection.shared.shape == [8 + 3]
    assert batch["candidate_row"].shape == [8 + 3 + 6]


def test_sampled_draws_shared_candidates(world, teacher, vectors):
    batch = joined(world, Sampled(15), teacher, num_uniform_negatives=4)
    selection = Sampled(15).select(batch)
    rows = batch["candidate_row"].numpy()
    drawn = rows[selection.shared]
    np.testing.assert_array_equal(selection.shared, 12 + np.arange(15))
    np.testing.assert_array_equal(selection.mask, first(drawn))
    assert drawn.min() >= 0
    assert drawn.max() < NUM_ITEMS
    users = batch["query_row"].numpy()
    assert len(users) == len(selection.query) == 8
    np.testing.assert_allclose(
        teacher.batch_scores(batch).scores(selection),
        vectors[0][users] @ vectors[1][drawn].T / TAU,
        rtol=1e-4,
        atol=1e-5,
    )
    # Their features were gathered as well.
    for name, table in world.candidate_tables.items():
        np.testing.assert_array_equal(batch["candidate"][name], table[rows])


def draws(sampler, teacher, seed):
    rows = {
        "query_row": tf.zeros([2], tf.int32),
        "candidate_row": tf.zeros([2], tf.int32),
    }
    batch = sampler.join(rows, tf.constant(seed, tf.int32), teacher)
    return np.concatenate(
        [batch["query_row"].numpy()[2:], batch["candidate_row"].numpy()[2:]]
    )


@pytest.mark.parametrize(
    "sampler", [Sampled(300), TeacherTopK(3, 50, 100)], ids=lambda x: x.name
)
def test_draws_depend_on_the_seed_alone(teacher, sampler):
    once = draws(sampler, teacher, [3, 7])
    np.testing.assert_array_equal(once, draws(sampler, teacher, [3, 7]))
    for other in ([3, 8], [4, 7]):
        assert not np.array_equal(once, draws(sampler, teacher, other))


def test_draws_are_uniform(teacher):
    counts = np.bincount(draws(Sampled(20_000), teacher, [1, 2]))
    assert len(counts) == NUM_ITEMS
    # 1,000 each with a standard deviation of 31.
    assert np.abs(counts - 1000).max() < 5 * 31
    batch = draws(TeacherTopK(1, 0, 24_000), teacher, [1, 2])[:24_000]
    users = np.bincount(batch, minlength=NUM_USERS + 1)
    assert users[0] == 0, "the unknown user is nobody's query"
    assert np.abs(users[1:] - 2000).max() < 5 * 43


@pytest.mark.parametrize("num_random", [0, 10])
@pytest.mark.parametrize("unseen_only", [False, True])
def test_top_k_against_brute_force(world, vectors, num_random, unseen_only):
    seen = world.seen() if unseen_only else None
    teacher = EmbeddingTeacher(*vectors, temperature=TAU, seen=seen)
    sampler = TeacherTopK(k=6, num_random=num_random, num_queries=30)
    batch = joined(world, sampler, teacher, num_uniform_negatives=3)
    selection = sampler.select(batch)
    users = batch["query_row"].numpy()[selection.query]
    items = batch["candidate_row"].numpy()
    lists = items[selection.lists]
    np.testing.assert_array_equal(selection.query, 8 + np.arange(30))
    np.testing.assert_array_equal(selection.weight, np.ones(30))
    for q, user in enumerate(users):
        gone = world.item_rows[world.user_rows == user] if unseen_only else ()
        best, scores = ranked(vectors, user, 6, gone)
        np.testing.assert_array_equal(lists[q], best)
        np.testing.assert_allclose(selection.list_scores[q], scores, rtol=1e-4)
    inputs = teacher.batch_scores(batch).scores(selection)
    assert inputs.shape == selection.mask.shape == [30, 6 + num_random]
    np.testing.assert_allclose(inputs[:, :6], selection.list_scores, rtol=1e-5)
    if not num_random:
        assert selection.shared is None
        assert np.all(selection.mask)
        return
    random = items[selection.shared]
    np.testing.assert_allclose(
        inputs[:, 6:],
        vectors[0][users] @ vectors[1][random].T / TAU,
        rtol=1e-4,
        atol=1e-5,
    )
    for q in range(30):
        fresh = first(random) & ~np.isin(random, lists[q])
        np.testing.assert_array_equal(selection.mask[q, :6], [True] * 6)
        np.testing.assert_array_equal(selection.mask[q, 6:], fresh)


@pytest.mark.parametrize(
    "make",
    [
        lambda seen: TeacherTopK(3, 8, 6, seen),
        lambda seen: RankSampled(2, 3, 5.0, 8, 6, seen),
    ],
)
def test_what_a_query_has_seen_is_no_random_candidate(world, teacher, make):
    rng = np.random.default_rng(1)
    taken = [np.flatnonzero(rng.random(NUM_ITEMS) < 0.4) for _ in range(13)]
    taken[5] = taken[5][:0]  # one who has seen nothing
    seen = tf.ragged.constant([list(x) for x in taken], dtype=tf.int32)
    sampler, blind = make(seen), make(None)
    assert sampler.name != blind.name
    masked = 0
    for step in range(4):
        batch = joined(world, sampler, teacher, seed=step)
        selection = sampler.select(batch)
        rows = batch["candidate_row"].numpy()[selection.shared.numpy()]
        users = batch["query_row"].numpy()[selection.query.numpy()]
        before = blind.select(joined(world, blind, teacher, seed=step))
        width = selection.num_listed()
        for user, mask, old in zip(
            users, selection.mask.numpy(), before.mask.numpy(), strict=True
        ):
            own = np.isin(rows, taken[user])
            np.testing.assert_array_equal(mask[width:], old[width:] & ~own)
            np.testing.assert_array_equal(mask[:width], old[:width])
            masked += int((old[width:] & own).sum())
    assert masked > 20


def test_joined_candidates_are_embedded_once(world, teacher):
    sampler = TeacherTopK(k=6, num_random=10, num_queries=30)
    batch = joined(world, sampler, teacher)
    added = batch["candidate_row"].numpy()[8:]
    assert len(added) == len(set(added))
    for name, table in world.query_tables.items():
        np.testing.assert_array_equal(
            batch["query"][name], table[batch["query_row"].numpy()]
        )


def test_places_that_a_short_list_lacks_are_masked(world, vectors):
    # All but two items are seen by everybody.
    everything = tf.RaggedTensor.from_tensor(
        tf.tile(tf.range(NUM_ITEMS - 2)[None], [NUM_USERS + 1, 1])
    )
    teacher = EmbeddingTeacher(*vectors, temperature=TAU, seen=everything)
    sampler = TeacherTopK(k=5, num_random=40, num_queries=4)
    batch = joined(world, sampler, teacher)
    selection = sampler.select(batch)
    np.testing.assert_array_equal(
        selection.mask[:, :5], [[True, True, False, False, False]] * 4
    )
    assert np.all(np.isneginf(selection.list_scores[:, 2:]))
    listed = batch["candidate_row"].numpy()[selection.lists]
    assert set(listed[:, :2].ravel()) == {NUM_ITEMS - 2, NUM_ITEMS - 1}


def test_a_teachers_lists_are_trusted_and_a_students_are_computed(
    world, vectors
):
    rng = np.random.default_rng(5)
    rows = rng.permuted(
        np.tile(np.arange(NUM_ITEMS), (NUM_USERS + 1, 1)), axis=1
    )[:, :4]
    list_scores = np.sort(rng.normal(size=rows.shape))[:, ::-1] + 100
    teacher = EmbeddingTeacher(
        *vectors, temperature=TAU, lists=(rows, list_scores)
    )
    sampler = TeacherTopK(k=3, num_random=5, num_queries=9)
    batch = joined(world, sampler, teacher)
    selection = sampler.select(batch)
    users = batch["query_row"].numpy()[8:]
    np.testing.assert_allclose(
        teacher.batch_scores(batch).scores(selection)[:, :3],
        list_scores[users, :3],
        rtol=1e-6,
    )
    model = world.model(temperature=0.25)
    outputs = model(batch)
    student = EmbeddingScores.of_student(outputs, 0.25).scores(selection)
    query = model.query_tower(
        {k: v[users] for k, v in world.query_tables.items()}
    )["embedding"].numpy()
    candidate = model.candidate_tower(world.candidate_tables)[
        "embedding"
    ].numpy()
    drawn = batch["candidate_row"].numpy()[selection.shared]
    for q, user in enumerate(users):
        at = np.concatenate([rows[user, :3], drawn])
        np.testing.assert_allclose(
            student[q], candidate[at] @ query[q] / 0.25, rtol=1e-4, atol=1e-5
        )


@pytest.mark.parametrize("side", ["query", "candidate"])
def test_features_of_some_rows_are_the_first_ones(world, side):
    batch = world.batch()
    everyone = FeaturePair(side).select(batch).rows.numpy()
    some = FeaturePair(side, num_rows=3).select(batch)
    np.testing.assert_array_equal(some.rows, everyone[:3])
    np.testing.assert_array_equal(some.mask, first(everyone[:3]))
    # More than there are is all there are.
    more = FeaturePair(side, num_rows=10_000).select(batch).rows
    np.testing.assert_array_equal(more, everyone)


def test_features_are_those_of_the_batch_without_what_others_joined(
    world, teacher
):
    # 8 events with 3 negatives; the teacher's lists add to both sides.
    batch = joined(
        world, TeacherTopK(4, 5, 6), teacher, num_uniform_negatives=3
    )
    for side, own in (("query", 8), ("candidate", 8 + 3)):
        rows = batch[f"{side}_row"].numpy()
        assert len(rows) > own
        found = FeaturePair(side).select(batch)
        np.testing.assert_array_equal(found.rows, rows[:own])
        np.testing.assert_array_equal(found.query, np.arange(own))


def test_batches_without_the_joined_rows_are_refused(world):
    batch = world.batch()
    for sampler in (Sampled(4), TeacherTopK(k=2)):
        with pytest.raises(UserError, match=r"join=distiller\.join"):
            sampler.select(batch)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Sampled(1), "`num_candidates` should be at least 2"),
        (lambda: TeacherTopK(0), "`k` and `num_queries` should be positive"),
        (lambda: TeacherTopK(3, -1), "not negative"),
        (lambda: TeacherTopK(3, 0, 0), "should be positive"),
        (lambda: FeaturePair("query", num_rows=1), "`num_rows` should be at"),
    ],
)
def test_numbers_out_of_range(make, message):
    with pytest.raises(UserError, match=message):
        make()


def test_the_least_numbers_are_allowed():
    Sampled(2)
    TeacherTopK(1, 0, 1)
    FeaturePair("query", num_rows=2)
    AllCandidates(1)


def test_defaults_are_what_the_docs_state():
    assert Sampled().num_candidates == 512
    assert AllCandidates().num_queries == 64
    assert TeacherTopK().name == "top_100_0_256"
    over = RankSampled()
    assert (over.num_interesting, over.k, over.rank_decay) == (40, 500, 10.0)
    assert (over.num_random, over.num_queries) == (40, 256)


def test_queries_and_candidates_are_not_drawn_in_step():
    # As many users as items: of one seed they would be equal numbers.
    rng = np.random.default_rng(0)
    queries, items = rng.normal(size=(2, 51, 3)).astype(np.float32)
    teacher = EmbeddingTeacher(queries, items[:50])
    sampler = TeacherTopK(1, num_random=300, num_queries=300)
    rows = {name: tf.zeros([0], tf.int32) for name in ROWS}
    batch = sampler.join(rows, tf.constant([3, 7]), teacher)
    shared = sampler.select(batch).shared
    users = batch["query_row"].numpy() - 1
    drawn = batch["candidate_row"].numpy()[shared.numpy()]
    # By chance, a 50th of them.
    assert (users == drawn).mean() < 0.1
