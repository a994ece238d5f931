"""Batches of impressions: each row once an epoch, reproducible epochs."""

import numpy as np
import pytest
import tensorflow as tf

from kd_tfrs.data.ranking.batches import RankingBatches
from kd_tfrs.data.ranking.priors import (
    balanced_class_weights,
    prior_logit_offset,
)
from kd_tfrs.errors import UserError

ROWS = 60
RNG = np.random.default_rng(0)
FEATURES = {
    "user": np.arange(ROWS, dtype=np.int32) * 10,
    "history": np.arange(ROWS * 3, dtype=np.int32).reshape(ROWS, 3),
    "price": RNG.normal(size=ROWS).astype(np.float32),
}
LABELS = {
    "click": (np.arange(ROWS) % 4 == 0).astype(np.float32),
    "like": (np.arange(ROWS) % 8 == 0).astype(np.float64),
}
WEIGHTS = RNG.uniform(1, 2, ROWS)
TEACHER = RNG.normal(size=(ROWS, 2)).astype(np.float32)


def batches(**options):
    options.setdefault("batch_size", 12)
    options.setdefault("seed", 4)
    options.setdefault("weights", WEIGHTS)
    return RankingBatches(FEATURES, LABELS, **options)


def read(dataset):
    return list(dataset.as_numpy_iterator())


def rows(read_all):
    return np.concatenate([batch["row"] for batch in read_all])


def check_equal(ones, others):
    assert len(ones) == len(others)
    for one, other in zip(ones, others, strict=True):
        tf.nest.map_structure(np.testing.assert_array_equal, one, other)


def test_every_epoch_is_a_permutation_of_its_own():
    data = batches()
    assert (data.steps_per_epoch, data.num_events) == (5, ROWS)
    assert (data.logit_offset, data.negative_rate) == (0.0, 1.0)
    read_all = read(data.dataset(3))
    epochs = [rows(read_all[i : i + 5]) for i in (0, 5, 10)]
    for epoch in epochs:
        assert sorted(epoch) == list(range(ROWS))
    assert not np.array_equal(epochs[0], epochs[1])
    assert not np.array_equal(epochs[1], epochs[2])


def test_a_batch_has_all_values_of_its_rows():
    extras = {"teacher": {"click": TEACHER}, "embedding": TEACHER * 2}
    data = batches(extras=extras)
    for batch in read(data.dataset(1)):
        row = batch["row"]
        assert set(batch) == {
            *("features", "labels", "weight", "row"),
            *("teacher", "embedding"),
        }
        for name, table in FEATURES.items():
            np.testing.assert_array_equal(batch["features"][name], table[row])
        for task, labels in LABELS.items():
            assert batch["labels"][task].dtype == np.float32
            np.testing.assert_array_equal(batch["labels"][task], labels[row])
        np.testing.assert_array_equal(batch["weight"], np.float32(WEIGHTS[row]))
        np.testing.assert_array_equal(batch["teacher"]["click"], TEACHER[row])
        np.testing.assert_array_equal(batch["embedding"], 2 * TEACHER[row])
        assert row.dtype == np.int32


def test_every_batch_has_the_same_structure():
    dataset = batches(batch_size=25, negative_rate=0.5).dataset(3)
    shapes = {
        str(tf.nest.map_structure(lambda v: (v.shape, v.dtype), batch))
        for batch in read(dataset)
    }
    assert len(shapes) == 1


def test_dropped_remainders_differ_between_epochs():
    data = batches(batch_size=25)
    assert data.steps_per_epoch == 2
    read_all = read(data.dataset(8))
    epochs = [rows(read_all[i : i + 2]) for i in range(0, 16, 2)]
    assert all(len(set(epoch)) == 50 for epoch in epochs)
    assert set(np.concatenate(epochs)) == set(range(ROWS))


def join(batch, seed):
    drawn = tf.random.stateless_uniform([3], seed, 0, ROWS, tf.int32)
    return {**batch, "drawn": drawn, "step": seed}


@pytest.mark.parametrize("rate", [1.0, 0.4])
def test_a_resumed_run_sees_the_same_batches(rate):
    data = batches(negative_rate=rate)
    whole = read(data.dataset(4, join=join))
    check_equal(whole, read(data.dataset(4, join=join)))
    steps = data.steps_per_epoch
    for epoch in (1, 3):
        # In another process there is another object.
        again = batches(negative_rate=rate)
        tf.keras.utils.set_random_seed(99)
        check_equal(
            whole[epoch * steps :], read(again.dataset(4, epoch, join=join))
        )
    assert read(data.dataset(4, 4)) == []
    assert len({tuple(batch["step"]) for batch in whole}) == len(whole)


def test_seeds_differ():
    ones, others = (read(batches(seed=s).dataset(1)) for s in (4, 5))
    assert not np.array_equal(rows(ones), rows(others))


def test_negatives_are_sampled_anew_each_epoch_and_positives_stay():
    data = batches(negative_rate=0.4, batch_size=11)
    # 15 positives, and 18 of 45 negatives.
    assert (data.num_events, data.steps_per_epoch) == (33, 3)
    read_all = read(data.dataset(40))
    epochs = [rows(read_all[i : i + 3]) for i in range(0, 120, 3)]
    positives = set(np.flatnonzero(LABELS["click"]))
    for epoch in epochs:
        assert len(set(epoch)) == 33
        assert positives <= set(epoch)
    assert set(epochs[0]) != set(epochs[1])
    # Every negative 16 of 40 times, with a standard deviation of 3.1.
    counts = np.bincount(np.concatenate(epochs), minlength=ROWS)
    negatives = np.delete(counts, sorted(positives))
    assert np.abs(negatives - 16).max() < 5 * 3.1
    assert negatives.sum() == 40 * 18


def test_the_offset_is_of_the_actual_rate():
    data = batches(negative_rate=0.41)
    assert data.negative_rate == 18 / 45
    assert data.logit_offset == prior_logit_offset(18 / 45)
    like = batches(negative_rate=0.5, task="like")
    assert like.num_events == 8 + 26
    none = RankingBatches(FEATURES, {"click": np.ones(ROWS)}, negative_rate=0.5)
    assert (none.num_events, none.logit_offset) == (ROWS, 0.0)


def test_class_weights_are_in_the_weights():
    weights = balanced_class_weights(LABELS["click"])
    data = batches(class_weights=weights, negative_rate=0.4)
    factor = np.where(LABELS["click"] > 0, weights[1], weights[0])
    for batch in read(data.dataset(1)):
        np.testing.assert_allclose(
            batch["weight"], (WEIGHTS * factor)[batch["row"]], rtol=1e-6
        )
    expected = np.log(18 / 45) + np.log(weights[0] / weights[1])
    np.testing.assert_allclose(data.logit_offset, expected)


def test_a_model_of_the_sample_is_calibrated_by_the_offset():
    rng = np.random.default_rng(1)
    labels = {"click": (rng.random(40_000) < 0.03).astype(np.float32)}
    data = RankingBatches(
        {"x": np.zeros(40_000)},
        labels,
        negative_rate=0.1,
        class_weights={0: 1.0, 1: 2.0},
        batch_size=4096,
    )
    read_all = read(data.dataset(1))
    # The best constant of weighted log loss is the weighted mean.
    weight, label = (
        np.concatenate([get(batch) for batch in read_all])
        for get in (lambda b: b["weight"], lambda b: b["labels"]["click"])
    )
    learned = np.average(label, weights=weight)
    logit = np.log(learned / (1 - learned)) + data.logit_offset
    probability = 1 / (1 + np.exp(-logit))
    # The batches leave out a rest of the epoch.
    np.testing.assert_allclose(probability, labels["click"].mean(), rtol=0.05)


def test_in_order_has_every_row_once():
    data = batches(negative_rate=0.1, batch_size=7, extras={"t": TEACHER})
    read_all = read(data.in_order())
    np.testing.assert_array_equal(rows(read_all), np.arange(ROWS))
    assert len(read_all[-1]["row"]) == ROWS % 7
    np.testing.assert_array_equal(
        np.concatenate([batch["t"] for batch in read_all]), TEACHER
    )
    assert len(read(data.in_order(batch_size=ROWS))) == 1


def test_weights_are_one_by_default():
    batch = read(batches(weights=None).dataset(1))[0]
    np.testing.assert_array_equal(batch["weight"], np.ones(12, np.float32))


def test_a_batch_is_never_larger_than_an_epoch():
    data = batches(batch_size=1000, negative_rate=0.4)
    assert (data.batch_size, data.steps_per_epoch) == (33, 1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 0}, "positive `batch_size`"),
        ({"task": "buy"}, "'buy'"),
        ({"negative_rate": 0.0}, "`negative_rate`"),
        ({"class_weights": {0: 1.0}}, "`class_weights`"),
        ({"extras": {"row": TEACHER}}, "'row'"),
        ({"extras": {"t": {"u": TEACHER[1:]}}}, "same length"),
        ({"weights": np.ones(ROWS - 1)}, "same length"),
    ],
)
def test_invalid_arguments_raise(options, message):
    with pytest.raises(UserError, match=message):
        batches(**options)


def test_nothing_to_train_on():
    with pytest.raises(UserError, match="at least one example"):
        RankingBatches({"x": np.zeros(0)}, {"click": np.zeros(0)})
    with pytest.raises(UserError, match="labels"):
        RankingBatches({"x": np.zeros(1)}, {})


@pytest.mark.parametrize("name", ["dataset", "in_order"])
def test_no_tuner_keeps_an_iterator_alive(name):
    # See kd_tfrs/data/epochs.py: the thread of the tuner slows `fit` down.
    made = batches().dataset(1) if name == "dataset" else batches().in_order()
    assert made.options().autotune.enabled is False
