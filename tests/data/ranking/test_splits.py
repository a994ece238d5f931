"""Splits at random and by GroupLens's files: each event once."""

import numpy as np
import pandas as pd
import pytest

from kd_tfrs.data import Column, Schema, clean
from kd_tfrs.data.ranking.splits import (
    fold_split,
    random_split,
    split_for_ranking,
)
from kd_tfrs.errors import UserError

SCHEMA = Schema(
    (
        Column("user_id", "user", "id"),
        Column("item_id", "item", "id"),
        Column("rating", "event", "label"),
        Column("timestamp", "event", "time"),
    )
)


def ratings(count=100, timed=True):
    rng = np.random.default_rng(0)
    pairs = rng.choice(20 * 30, count, replace=False)
    frame = pd.DataFrame(
        {
            "user_id": pairs // 30 + 1,
            "item_id": pairs % 30 + 1,
            "rating": rng.integers(1, 6, count),
            "timestamp": rng.permutation(count) + 10**9,
        }
    )
    columns = SCHEMA.columns if timed else SCHEMA.columns[:3]
    return clean(frame, None, None, Schema(columns), name="ratings")


def parts_of(split):
    return [split.train, split.validation, split.test]


def check_each_once(split, data):
    together = pd.concat(parts_of(split))
    assert len(together) == len(data.events)
    keys = ["user_id", "item_id"]
    assert not together.duplicated(keys).any()
    for part in parts_of(split):
        merged = part.merge(data.events, on=keys, suffixes=("", "_own"))
        np.testing.assert_array_equal(merged["rating"], merged["rating_own"])


def test_a_fifth_at_random_to_test_and_a_tenth_of_the_rest_to_validate():
    data = ratings()
    split = random_split(data, seed=1)
    assert [len(part) for part in parts_of(split)] == [72, 8, 20]
    check_each_once(split, data)
    again, other = (random_split(data, seed=seed) for seed in (1, 2))
    pd.testing.assert_frame_equal(split.test, again.test)
    pd.testing.assert_frame_equal(split.validation, again.validation)
    assert not split.test.equals(other.test)


def test_fold_split_tests_the_pairs_of_the_file(tmp_path):
    data = ratings()
    rows = np.arange(3, 100, 5)
    path = tmp_path / "u3.test"
    test_events = data.events.iloc[rows]
    test_events.to_csv(path, sep="\t", header=False, index=False)
    split = fold_split(data, path, seed=2)
    assert [len(part) for part in parts_of(split)] == [72, 8, 20]
    pd.testing.assert_frame_equal(
        split.test, test_events.reset_index(drop=True)
    )
    check_each_once(split, data)
    named = split_for_ranking(data, "u3", folder=tmp_path, seed=2)
    pd.testing.assert_frame_equal(named.validation, split.validation)


def test_a_file_of_other_data_is_refused(tmp_path):
    path = tmp_path / "u1.test"
    path.write_text("1\t9999\t3\t1000000000\n")
    with pytest.raises(UserError, match=r"u1\.test`, line 1.*9999"):
        fold_split(ratings(), path)
    with pytest.raises(UserError, match="no such file"):
        split_for_ranking(ratings(), "u2", folder=tmp_path)


def test_auto_chooses_the_method_by_the_data():
    data = ratings()
    split = split_for_ranking(data)
    assert split.train["timestamp"].max() < split.validation["timestamp"].min()
    assert split.validation["timestamp"].max() < split.test["timestamp"].min()
    split = split_for_ranking(data, validation=0.2, test=0.3)
    assert [len(part) for part in parts_of(split)] == [50, 20, 30]
    untimed = ratings(timed=False)
    pd.testing.assert_frame_equal(
        split_for_ranking(untimed, seed=3).test,
        random_split(untimed, seed=3).test,
    )


@pytest.mark.parametrize("method", ["random", "ratio", "leave_one_out", "time"])
def test_every_method_takes_each_event_once(method):
    data = ratings()
    check_each_once(split_for_ranking(data, method), data)


@pytest.mark.parametrize(
    ("method", "options", "message"),
    [
        ("fortnight", {}, "`split` should be one of"),
        ("random", {"test": 1.0}, "`test`"),
        ("random", {"validation": 0.0}, "`validation`"),
        ("random", {"test": 0.001}, "leave events"),
        ("leave_one_out", {"test": 0.1}, "left out with split"),
        ("given", {"validation": 0.1}, "left out with split"),
        ("u1", {"test": 0.1}, "left out with split"),
        ("given", {}, "no given splits"),
    ],
)
def test_invalid_arguments_raise(method, options, message):
    with pytest.raises(UserError, match=message):
        split_for_ranking(ratings(), method, **options)
