"""No event is in two splits, and none of the future is in training."""

import numpy as np
import pandas as pd
import pytest

from kd_tfrs.data import Column, Schema, Split, clean, split
from kd_tfrs.data.splits import by_ratio, by_time, given, leave_one_out
from kd_tfrs.errors import UserError

IDS = (Column("user_id", "user", "id"), Column("item_id", "item", "id"))
TIMED = Schema((*IDS, Column("t", "event", "time")))


def make(schema=TIMED, num=400, seed=0, **options):
    rng = np.random.default_rng(seed)
    events = pd.DataFrame(
        {
            "user_id": rng.integers(0, 30, num),
            "item_id": rng.integers(0, 50, num),
            "t": rng.integers(1, 100, num),
        }
    )
    return clean(events, None, None, schema, **options)


def pairs(events):
    return set(zip(events["user_id"], events["item_id"], strict=True))


def check_partition(data, parts):
    """Every event is in exactly one split."""
    sets = [pairs(parts.train), pairs(parts.validation), pairs(parts.test)]
    assert sum(map(len, sets)) == len(data.events)
    assert set.union(*sets) == pairs(data.events)


ALL = {
    "last": lambda data: leave_one_out(data),
    "random": lambda data: leave_one_out(data, seed=1),
    "time": by_time,
    "ratio": by_ratio,
    "auto": split,
}


@pytest.mark.parametrize("method", ALL)
def test_every_event_is_in_exactly_one_split(method):
    data = make()
    before = data.fingerprint()
    parts = ALL[method](data)
    check_partition(data, parts)
    assert data.fingerprint() == before
    for frame in (parts.train, parts.validation, parts.test):
        assert list(frame.columns) == list(data.events.columns)
        assert list(frame.index) == list(range(len(frame)))


def test_leave_one_out_takes_the_last_and_the_one_before():
    events = pd.DataFrame(
        {
            "user_id": [1, 1, 1, 1, 2, 2, 3, 3, 3],
            "item_id": [5, 6, 7, 8, 5, 6, 7, 8, 9],
            # User 3's events are of one time: the later row is the later one.
            "t": [40, 10, 30, 20, 1, 2, 6, 6, 6],
        }
    )
    parts = leave_one_out(clean(events, None, None, TIMED))
    assert pairs(parts.test) == {(1, 5), (3, 9)}
    assert pairs(parts.validation) == {(1, 7), (3, 8)}
    assert pairs(parts.train) == {(1, 6), (1, 8), (2, 5), (2, 6), (3, 7)}


def test_leave_one_out_keeps_each_users_future_out():
    parts = leave_one_out(make())
    train = parts.train.groupby("user_id")["t"].max()
    validation = parts.validation.set_index("user_id")["t"]
    test = parts.test.set_index("user_id")["t"]
    assert validation.index.is_unique
    assert test.index.is_unique
    assert (train[validation.index] <= validation).all()
    assert (validation[test.index] <= test).all()


def test_random_leave_one_out_depends_on_the_seed_only():
    data = make()
    one, again, other = (leave_one_out(data, seed) for seed in (1, 1, 2))
    assert pairs(one.test) == pairs(again.test)
    assert pairs(one.test) != pairs(other.test)
    assert pairs(one.test) != pairs(leave_one_out(data).test)


@pytest.mark.parametrize("seed", range(5))
def test_by_time_is_strict_even_with_ties(seed):
    parts = by_time(make(seed=seed), validation=0.2, test=0.1)
    assert parts.train["t"].max() < parts.validation["t"].min()
    assert parts.validation["t"].max() < parts.test["t"].min()


def test_by_time_gives_the_shares_without_ties():
    events = pd.DataFrame(
        {"user_id": 1, "item_id": range(200), "t": range(1, 201)}
    )
    data = clean(events, None, None, TIMED)
    parts = by_time(data, validation=0.05, test=0.2)
    assert len(parts.train) == 150
    assert (len(parts.validation), len(parts.test)) == (10, 40)


def test_by_ratio_takes_a_share_of_each_user():
    events = pd.DataFrame(
        {
            "user_id": np.repeat([1, 2, 3], [20, 4, 1]),
            "item_id": np.arange(25),
        }
    )
    data = clean(events, None, None, Schema(IDS))
    parts = by_ratio(data, validation=0.25, test=0.1)
    held = [
        frame["user_id"].value_counts().to_dict()
        for frame in (parts.train, parts.validation, parts.test)
    ]
    assert held == [{1: 13, 2: 3, 3: 1}, {1: 5, 2: 1}, {1: 2}]


def test_by_ratio_always_leaves_a_training_event():
    parts = by_ratio(make(num=100), validation=0.49, test=0.5)
    held = set(parts.validation["user_id"]) | set(parts.test["user_id"])
    assert held <= set(parts.train["user_id"])


def test_given_splits_are_used_as_they_are():
    raw = make().events
    data = clean(
        {"train": raw[:200], "validation": raw[200:250], "test": raw[250:]},
        None,
        None,
        TIMED,
    )
    parts = split(data)
    pd.testing.assert_frame_equal(parts.train, raw[:200].reset_index(drop=True))
    pd.testing.assert_frame_equal(parts.test, raw[250:].reset_index(drop=True))
    check_partition(data, parts)


def test_missing_validation_is_held_out_from_training_not_from_test():
    raw = make().events
    data = clean({"train": raw[:300], "test": raw[300:]}, None, None, TIMED)
    parts = given(data, seed=4)
    assert pairs(parts.test) == pairs(raw[300:])
    assert 0 < len(parts.validation) < 60
    check_partition(data, parts)


def test_auto_goes_by_what_the_data_has():
    timed = make()
    assert pairs(split(timed).test) == pairs(leave_one_out(timed).test)
    untimed = make(Schema(IDS))
    assert pairs(split(untimed, seed=3).test) == pairs(
        by_ratio(untimed, seed=3).test
    )
    assert pairs(split(untimed, "leave_one_out", seed=3).test) == pairs(
        leave_one_out(untimed, seed=3).test
    )
    assert pairs(split(untimed).test) == pairs(by_ratio(untimed).test)


def test_a_split_tells_its_sizes():
    frame = make().events
    text = str(Split(frame[:3], frame[:2], frame[:1]))
    assert text == "3 events to train, 2 to validate, 1 to test"


SAME_TIME = pd.DataFrame({"user_id": 1, "item_id": range(9), "t": 5})
PAIR = pd.DataFrame({"user_id": [1, 1], "item_id": [1, 2], "t": [1, 2]})


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: split(make(), "halves"), "leave_one_out, time, ratio"),
        (lambda: split(make(Schema(IDS)), "time"), "time column"),
        (lambda: leave_one_out(make(Schema(IDS))), "give a seed"),
        (lambda: split(make(), "given"), "no given splits"),
        (lambda: by_time(make(), validation=0.0), "`validation`"),
        (lambda: by_ratio(make(), test=1.5), "`test`"),
        (lambda: by_ratio(make(), 0.5, 0.5), "less than 1"),
        (
            lambda: by_time(clean(SAME_TIME, None, None, TIMED)),
            "the same time",
        ),
        (
            lambda: leave_one_out(clean(PAIR, None, None, TIMED)),
            "fewer than 3",
        ),
        (lambda: by_ratio(clean(PAIR, None, None, TIMED)), "too few"),
    ],
)
def test_invalid_arguments_raise(call, message):
    with pytest.raises(UserError, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)
