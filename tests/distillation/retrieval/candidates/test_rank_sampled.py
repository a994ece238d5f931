"""The draw by rank, against its distribution and brute force."""

import numpy as np
import pytest
import tensorflow as tf

from kd_tfrs.distillation.retrieval import EmbeddingTeacher
from kd_tfrs.distillation.retrieval.candidates.rank_sampled import RankSampled
from kd_tfrs.errors import UserError
from kd_tfrs.testing.retrieval import tiny_world

NUM_USERS, NUM_ITEMS, TAU = 12, 40, 0.5


@pytest.fixture(scope="module")
def world():
    return tiny_world(NUM_USERS, NUM_ITEMS)


@pytest.fixture(scope="module")
def vectors():
    rng = np.random.default_rng(3)
    return (
        rng.normal(size=(NUM_USERS + 1, 5)).astype(np.float32),
        rng.normal(size=(NUM_ITEMS, 5)).astype(np.float32),
    )


@pytest.fixture(scope="module")
def teacher(vectors):
    return EmbeddingTeacher(*vectors, temperature=TAU)


def selected(world, sampler, teacher):
    batch = world.batch(
        lambda rows, seed: sampler.join(rows, seed, teacher),
        num_uniform_negatives=3,
    )
    return batch, sampler.select(batch)


def test_lists_are_some_of_the_best_in_the_teachers_order(
    world, vectors, teacher
):
    sampler = RankSampled(6, k=15, rank_decay=5.0, num_random=9, num_queries=7)
    batch, selection = selected(world, sampler, teacher)
    users = batch["query_row"].numpy()[selection.query]
    items = batch["candidate_row"].numpy()
    lists, random = items[selection.lists], items[selection.shared]
    assert selection.lists.shape == [7, 6]
    assert selection.mask.shape == [7, 15]
    np.testing.assert_array_equal(selection.weight, np.ones(7))
    left_out = 0
    for q, user in enumerate(users):
        scores = vectors[1] @ vectors[0][user] / TAU
        best = list(np.argsort(-scores, kind="stable")[:15])
        ranks = [best.index(item) for item in lists[q]]
        assert ranks == sorted(set(ranks))
        np.testing.assert_allclose(
            selection.list_scores[q], scores[lists[q]], rtol=1e-4
        )
        # Drawn or not, one of the best is not uninteresting.
        fresh = [
            item not in best and item not in random[:j]
            for j, item in enumerate(random)
        ]
        left_out += sum(item in best for item in random)
        np.testing.assert_array_equal(selection.mask[q, 6:], fresh)
        assert np.all(selection.mask[q, :6])
    assert left_out > 0
    inputs = teacher.batch_scores(batch).scores(selection)
    np.testing.assert_allclose(
        inputs[:, 6:], vectors[0][users] @ vectors[1][random].T / TAU, atol=1e-4
    )


def test_shapes_are_static(world, teacher):
    sampler = RankSampled(6, k=15, num_random=9, num_queries=7)
    dataset = world.batches().dataset(
        1, join=lambda rows, seed: sampler.join(rows, seed, teacher)
    )
    spec = dataset.element_spec[sampler.name]
    assert spec["lists"].shape == spec["list_scores"].shape == [7, 6]
    assert spec["shared"].shape == [9]
    assert spec["mask"].shape == [7, 15]


def chosen(sampler, queries, seed=5):
    rows = tf.tile(tf.range(sampler.k)[None], [queries, 1])
    scores = -tf.cast(rows, tf.float32)
    return sampler.choose(rows, scores, tf.constant([seed, 1]))[0].numpy()


def test_one_is_drawn_with_the_weight_of_its_rank():
    sampler = RankSampled(1, k=8, rank_decay=3.0)
    drawn = chosen(sampler, 20_000)[:, 0]
    weights = np.exp(-np.arange(1, 9) / 3.0)
    weights /= weights.sum()
    shares = np.bincount(drawn, minlength=8) / 20_000
    # The standard deviation of a share is at most .0035.
    np.testing.assert_allclose(shares, weights, atol=4 * 0.0035)


def test_two_are_drawn_without_replacement():
    # Chance of the pair {i, j}: w_i w_j / (1 - w_i) + w_j w_i / (1 - w_j).
    weights = np.exp(-np.arange(1, 5) / 2.0)
    weights /= weights.sum()
    pairs = chosen(RankSampled(2, k=4, rank_decay=2.0), 20_000)
    assert np.all(pairs[:, 0] < pairs[:, 1])
    for i in range(4):
        for j in range(i + 1, 4):
            a, b = weights[i], weights[j]
            share = np.mean((pairs == [i, j]).all(axis=1))
            wanted = a * b / (1 - a) + a * b / (1 - b)
            np.testing.assert_allclose(share, wanted, atol=4 * 0.0035)


def test_a_steep_decay_takes_the_best_and_a_flat_one_any():
    steep = chosen(RankSampled(5, k=30, rank_decay=1e-3), 50)
    np.testing.assert_array_equal(steep, np.tile(np.arange(5), (50, 1)))
    flat = chosen(RankSampled(5, k=30, rank_decay=1e6), 6000)
    # 1,000 each, with a standard deviation of 29.
    assert np.abs(np.bincount(flat.ravel()) - 1000).max() < 5 * 29


def test_draws_depend_on_the_seed_alone():
    sampler = RankSampled(5, k=30)
    np.testing.assert_array_equal(chosen(sampler, 9), chosen(sampler, 9))
    assert not np.array_equal(chosen(sampler, 9), chosen(sampler, 9, seed=6))


def test_short_lists_give_what_they_have(world, vectors):
    everything = tf.RaggedTensor.from_tensor(
        tf.tile(tf.range(NUM_ITEMS - 3)[None], [NUM_USERS + 1, 1])
    )
    teacher = EmbeddingTeacher(*vectors, temperature=TAU, seen=everything)
    sampler = RankSampled(5, k=12, num_random=0, num_queries=6)
    batch, selection = selected(world, sampler, teacher)
    assert selection.shared is None
    np.testing.assert_array_equal(
        selection.mask, [[True, True, True, False, False]] * 6
    )
    listed = batch["candidate_row"].numpy()[selection.lists[:, :3]]
    for row in listed:
        assert set(row) == set(range(NUM_ITEMS - 3, NUM_ITEMS))


def test_samplers_of_other_numbers_have_other_names():
    names = {
        RankSampled().name,
        RankSampled(39).name,
        RankSampled(k=99).name,
        RankSampled(rank_decay=11.0).name,
        RankSampled(num_random=0).name,
        RankSampled(num_queries=9).name,
    }
    assert len(names) == 6
    assert RankSampled().name == RankSampled().name


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_interesting": 0}, "`num_interesting` should be at least 1"),
        ({"num_interesting": 501}, "at most `k`"),
        ({"rank_decay": 0.0}, "`rank_decay` should be positive"),
        ({"rank_decay": float("nan")}, "`rank_decay` should be positive"),
        ({"num_random": -1}, "not negative"),
        ({"num_queries": 0}, "should be positive"),
    ],
)
def test_numbers_out_of_range(options, message):
    with pytest.raises(UserError, match=message):
        RankSampled(**options)
