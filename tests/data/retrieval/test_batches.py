"""Batches: every event once an epoch, the same again when resumed."""

import numpy as np
import pytest
import tensorflow as tf

from kd_tfrs.data.retrieval.batches import (
    RetrievalBatches,
    gather_features,
    sampling_probability,
)
from kd_tfrs.errors import UserError

NUM_EVENTS, NUM_USERS, NUM_ITEMS = 60, 9, 15


def batches(batch_size=12, seed=4, **options):
    rng = np.random.default_rng(0)
    users = rng.integers(1, NUM_USERS + 1, NUM_EVENTS)
    items = rng.integers(0, NUM_ITEMS, NUM_EVENTS)
    options.setdefault("weights", np.arange(NUM_EVENTS))
    return RetrievalBatches(
        users,
        items,
        {"u": np.arange(NUM_USERS + 1) * 10},
        {"i": np.arange(NUM_ITEMS) * 10, "x": rng.normal(size=(NUM_ITEMS, 2))},
        np.bincount(items, minlength=NUM_ITEMS),
        batch_size=batch_size,
        seed=seed,
        **options,
    )


def read(dataset):
    return list(dataset.as_numpy_iterator())


def flat(batch):
    """Nested names joined by a slash."""
    named = {k: v for k, v in batch.items() if not isinstance(v, dict)}
    for side in batch.keys() - named.keys():
        named |= {f"{side}/{k}": v for k, v in batch[side].items()}
    return named


def check_equal(ones, others):
    assert len(ones) == len(others)
    for one, other in zip(ones, others, strict=True):
        one, other = flat(one), flat(other)
        assert one.keys() == other.keys()
        for key in one:
            np.testing.assert_array_equal(one[key], other[key])


def events(batches_read):
    """The events' numbers, identified by their weights."""
    return np.concatenate([b["event_weight"] for b in batches_read]).astype(int)


def test_every_epoch_is_a_permutation_of_its_own():
    data = batches()
    assert data.steps_per_epoch == 5
    read_all = read(data.dataset(3))
    assert len(read_all) == 15
    epochs = [events(read_all[i : i + 5]) for i in (0, 5, 10)]
    for epoch in epochs:
        assert sorted(epoch) == list(range(NUM_EVENTS))
    assert not np.array_equal(epochs[0], epochs[1])
    assert not np.array_equal(epochs[1], epochs[2])


def test_the_rest_of_an_epoch_is_left_out_by_chance():
    data = batches(batch_size=25)
    assert data.steps_per_epoch == 2
    read_all = read(data.dataset(8))
    epochs = [events(read_all[i : i + 2]) for i in range(0, 16, 2)]
    assert all(len(set(epoch)) == 50 for epoch in epochs)
    assert set(np.concatenate(epochs)) == set(range(NUM_EVENTS))


def test_a_batch_is_never_larger_than_the_data():
    data = batches(batch_size=1000)
    assert (data.batch_size, data.steps_per_epoch) == (NUM_EVENTS, 1)
    assert len(events(read(data.dataset(1)))) == NUM_EVENTS


def test_rows_weights_and_features_belong_together():
    data = batches(num_uniform_negatives=4)
    rng = np.random.default_rng(0)
    users = rng.integers(1, NUM_USERS + 1, NUM_EVENTS)
    items = rng.integers(0, NUM_ITEMS, NUM_EVENTS)
    counts = np.bincount(items, minlength=NUM_ITEMS)
    probability = sampling_probability(counts, 12, 4)
    for batch in read(data.dataset(1)):
        event = batch["event_weight"].astype(int)
        np.testing.assert_array_equal(batch["query_row"], users[event])
        np.testing.assert_array_equal(batch["candidate_row"][:12], items[event])
        np.testing.assert_array_equal(
            batch["query"]["u"], 10 * batch["query_row"]
        )
        np.testing.assert_array_equal(
            batch["candidate"]["i"], 10 * batch["candidate_row"]
        )
        assert batch["candidate"]["x"].shape == (16, 2)
        np.testing.assert_array_equal(
            batch["candidate_probability"], probability[batch["candidate_row"]]
        )


def join(rows, seed):
    drawn = tf.random.stateless_uniform([3], seed, 0, NUM_ITEMS, tf.int32)
    return {
        **rows,
        "candidate_row": tf.concat([rows["candidate_row"], drawn], 0),
        "extra": {"seed": seed},
    }


def test_a_resumed_run_sees_what_an_unbroken_one_sees():
    data = batches(num_uniform_negatives=5)
    whole = read(data.dataset(4, join=join))
    check_equal(whole, read(data.dataset(4, join=join)))
    for epoch in (1, 3):
        # In another process there is another object.
        again = batches(num_uniform_negatives=5)
        check_equal(
            whole[epoch * 5 :], read(again.dataset(4, epoch, join=join))
        )
    assert read(data.dataset(4, 4)) == []


def test_nothing_depends_on_tensorflows_global_seed():
    data = batches(num_uniform_negatives=5)
    ones = read(data.dataset(1))
    tf.keras.utils.set_random_seed(99)
    check_equal(ones, read(data.dataset(1)))


def test_seeds_differ():
    ones, others = (
        read(batches(seed=s, num_uniform_negatives=8).dataset(1))
        for s in (4, 5)
    )
    assert not np.array_equal(events(ones), events(others))
    assert not np.array_equal(
        ones[0]["candidate_row"][12:], others[0]["candidate_row"][12:]
    )


def test_negatives_are_uniform_items_anew_each_step():
    data = batches(num_uniform_negatives=1500)
    drawn = [b["candidate_row"][12:] for b in read(data.dataset(2))]
    assert not any(np.array_equal(drawn[0], other) for other in drawn[1:])
    counts = np.bincount(np.concatenate(drawn), minlength=NUM_ITEMS)
    assert len(counts) == NUM_ITEMS
    # 1,000 each with a standard deviation of 31.
    assert np.abs(counts - 1000).max() < 5 * 31


def test_what_is_joined_gets_features_and_a_seed_of_its_own():
    read_all = read(batches().dataset(2, join=join))
    for batch in read_all:
        assert batch["candidate_row"].shape == (15,)
        assert batch["candidate_probability"].shape == (12,)
        np.testing.assert_array_equal(
            batch["candidate"]["i"], 10 * batch["candidate_row"]
        )
    seeds = {tuple(batch["extra"]["seed"]) for batch in read_all}
    assert len(seeds) == 10


def test_no_tuner_keeps_an_iterator_alive():
    # See kd_tfrs/data/epochs.py: the thread of the tuner slows `fit` down.
    assert batches().dataset(1).options().autotune.enabled is False


def test_weights_are_one_by_default():
    batch = read(batches(weights=None).dataset(1))[0]
    np.testing.assert_array_equal(batch["event_weight"], np.ones(12))


@pytest.mark.parametrize("negatives", [0, 30])
def test_sampling_probability(negatives):
    counts = np.array([6, 0, 3, 1])
    # Expected number of places in a batch of 20: in-batch and uniform.
    expected = 20 * counts / 10 + negatives / 4
    probability = sampling_probability(counts, 20, negatives)
    assert probability.dtype == np.float32
    np.testing.assert_allclose(
        probability, expected / expected.max(), rtol=1e-6
    )
    rng = np.random.default_rng(1)
    drawn = np.concatenate(
        [
            rng.choice(4, (2000, 20), p=counts / 10).ravel(),
            rng.integers(0, 4, 2000 * negatives),
        ]
    )
    seen = np.bincount(drawn, minlength=4) / 2000
    np.testing.assert_allclose(seen, expected, atol=0.2)


def test_gather_features():
    tables = {"a": np.arange(4), "b": np.eye(4)}
    gathered = gather_features(tables, tf.constant([2, 0]))
    np.testing.assert_array_equal(gathered["a"], [2, 0])
    np.testing.assert_array_equal(gathered["b"], np.eye(4)[[2, 0]])


def test_invalid_arguments_raise():
    nothing = np.array([], int)
    with pytest.raises(UserError, match="at least one event"):
        RetrievalBatches(nothing, nothing, {}, {}, np.ones(2))
    with pytest.raises(UserError, match="`batch_size` should be positive"):
        batches(batch_size=0)
    with pytest.raises(UserError, match="not negative"):
        batches(num_uniform_negatives=-1)
