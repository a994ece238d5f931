"""Cleaning keeps valid events and counts the dropped ones by reason."""

import numpy as np
import pandas as pd
import pytest

from kd_tfrs.data import Column, Schema, clean
from kd_tfrs.errors import UserError

IDS = (Column("user_id", "user", "id"), Column("item_id", "item", "id"))
TIME = Column("timestamp", "event", "time")
LABEL = Column("rating", "event", "label")
WEIGHT = Column("weight", "event", "weight")


def frame(users, items, **columns):
    return pd.DataFrame({"user_id": users, "item_id": items, **columns})


def pairs(events):
    return list(zip(events["user_id"], events["item_id"], strict=True))


def test_each_reason_is_counted_once():
    raw = frame(
        ["a", None, "  ", "a", "a", "b", "b", "b", "b"],
        ["x", "x", "y", None, "x", "y", "z", "x", "w"],
        timestamp=[5, 1, 1, 1, 4, -1, 3, 3, 3],
        rating=[1, 1, 1, 1, 2, 3, np.inf, 4, 5],
        weight=[1, 1, 1, 1, 1, 1, 1, -1, 0],
    )
    before = raw.copy()
    got = clean(raw, None, None, Schema((*IDS, TIME, LABEL, WEIGHT)))
    report = got.report
    assert report.rows_read == 9
    assert report.missing_ids == 3
    assert (report.bad_time, report.bad_label, report.bad_weight) == (1, 1, 1)
    assert report.duplicates == 1
    assert (report.events, report.users, report.items) == (2, 2, 2)
    assert pairs(got.events) == [("a", "x"), ("b", "w")]
    assert got.events["rating"].tolist() == [1.0, 5.0]
    assert "user or item id missing: 3" in str(report)
    assert "too few" not in str(report)
    pd.testing.assert_frame_equal(raw, before)


def test_duplicates_keep_the_last_by_time_or_else_the_first():
    raw = frame([1, 1, 1], [7, 7, 7], timestamp=[3, 9, 5], rating=[1, 2, 3])
    timed = clean(raw, None, None, Schema((*IDS, TIME, LABEL)))
    assert timed.events["rating"].tolist() == [2.0]
    untimed = clean(raw, None, None, Schema((*IDS, LABEL)))
    assert untimed.events["rating"].tolist() == [1.0]


def test_the_last_word_counts_before_the_minimum_label():
    raw = frame([1, 1, 1], [7, 7, 8], timestamp=[1, 2, 3], rating=[5, 2, 4])
    got = clean(raw, None, None, Schema((*IDS, TIME, LABEL)), min_label=4)
    assert pairs(got.events) == [(1, 8)]
    assert got.report.below_min_label == 1


def test_k_core_repeats_until_stable():
    # Dropping item 9 leaves user 3 with one event, whose going leaves item 2
    # with one, and so on: only the square of users 1, 2 and items 0, 1 stays.
    raw = frame([1, 1, 2, 2, 2, 3, 3], [0, 1, 0, 1, 2, 2, 9])
    got = clean(
        raw, None, None, Schema(IDS), min_user_events=2, min_item_events=2
    )
    assert pairs(got.events) == [(1, 0), (1, 1), (2, 0), (2, 1)]
    assert got.report.rare == 3
    assert got.items["item_id"].tolist() == [0, 1]


@pytest.mark.parametrize(
    ("ids", "expected"),
    [
        ([3, 1, 2], [1, 2, 3]),
        ([3.0, np.nan, 2.0], [2, 3]),
        (np.array([3, 1], np.uint8), [1, 3]),
        (pd.Categorical([3, 1]), [1, 3]),
        (pd.array([3, None, 1], "Int64"), [1, 3]),
        (["3", "10", "2"], ["10", "2", "3"]),
        ([3, "10", "3"], ["10", "3"]),
        ([1.5, 2.0], ["1.5", "2.0"]),
        ([2**63, 1], ["1", str(2**63)]),
    ],
)
def test_ids_keep_their_kind(ids, expected):
    got = clean(frame(ids, 1), None, None, Schema(IDS))
    users = got.users["user_id"]
    assert users.tolist() == expected
    if isinstance(expected[0], int):
        assert users.dtype == got.events["user_id"].dtype == np.int64


@pytest.mark.parametrize(
    ("event_ids", "table_ids", "expected"),
    [
        ([1, 2], ["2", "1"], [1, 2]),
        ([1, 2], ["01", "2"], ["1", "2"]),
        (["1", "2"], [2, 1], ["1", "2"]),
        ([1, 2], [2.0, 1.0], [1, 2]),
    ],
)
def test_ids_are_one_kind_in_every_table(event_ids, table_ids, expected):
    items = pd.DataFrame({"item_id": table_ids, "title": ["p", "q"]})
    got = clean(frame([1, 1], event_ids), None, items, Schema(IDS))
    assert got.items["item_id"].tolist() == expected
    assert got.events["item_id"].tolist() == expected
    assert set(got.item_titles()) == set(expected)


def test_tables_hold_exactly_the_ids_with_events():
    schema = Schema(
        (
            *IDS,
            Column("age", "user", "number"),
            Column("city", "user", "category"),
            Column("genres", "item", "categories"),
        )
    )
    users = pd.DataFrame(
        {
            "user_id": [3, 1, 1, None],
            "age": ["30", "x", "10", "5"],
            "city": [None, 5, 6, 7],
        }
    )
    items = pd.DataFrame(
        {"item_id": [8, 9], "genres": [["a", "b"], ["c"]], "title": ["P", None]}
    )
    got = clean(frame([2, 1, 1], [8, 9, 8]), users, items, schema)
    assert got.users["user_id"].tolist() == [1, 2]
    assert got.users["city"].tolist() == ["5", ""]
    assert got.users["age"].isna().all()
    assert got.items["genres"].tolist() == ["a|b", "c"]
    assert got.item_titles() == {8: "P", 9: "9"}
    assert (got.report.users_added, got.report.users_dropped) == (1, 3)


def test_features_may_stand_in_the_events():
    schema = Schema((*IDS, Column("age", "user", "number")))
    raw = frame([1, 1, 2], [5, 6, 5], age=[30, 31, 40])
    got = clean(raw, None, None, schema)
    assert got.users.to_dict("list") == {"user_id": [1, 2], "age": [30, 40]}
    assert list(got.events.columns) == ["user_id", "item_id"]
    assert got.report.users_dropped == 0


@pytest.mark.parametrize(
    "times",
    [
        [1_600_000_000, 1_600_000_060],
        [1_600_000_000_000, 1_600_000_060_000],
        [1_600_000_000_000_000_000, 1_600_000_060_000_000_000],
        ["1600000000", "1600000060"],
        ["2020-09-13T12:26:40Z", "2020-09-13T14:27:40+02:00"],
        pd.to_datetime(["2020-09-13 12:26:40", "2020-09-13 12:27:40"]),
        pd.to_datetime([1_600_000_000, 1_600_000_060], unit="s", utc=True),
    ],
)
def test_times_become_seconds(times):
    raw = frame([1, 1], [1, 2], timestamp=times)
    seconds = clean(raw, None, None, Schema((*IDS, TIME))).events["timestamp"]
    assert seconds.tolist() == [1_600_000_000, 1_600_000_060]
    assert seconds.dtype == np.int64


def test_given_splits_are_cleaned_and_kept_apart():
    parts = {
        "train": frame([1, 1, 2], [5, 6, 5]),
        "validation": frame([1, 2], [7, None]),
        "test": frame([2, 1], [6, 5]),
    }
    got = clean(parts, None, None, Schema(IDS))
    assert {k: pairs(v) for k, v in got.given_splits.items()} == {
        "train": [(1, 5), (1, 6), (2, 5)],
        "validation": [(1, 7)],
        "test": [(2, 6)],
    }
    assert len(got.events) == 5
    assert list(got.events.columns) == ["user_id", "item_id"]


@pytest.mark.parametrize(
    ("raw", "schema", "options", "message"),
    [
        (frame([1], [1]), Schema((*IDS, TIME)), {}, "'timestamp'"),
        (
            frame([1, 1], [1, 2], rating=["good", "bad"]),
            Schema((*IDS, LABEL)),
            {},
            "'rating'.*'good' in data row 1",
        ),
        (
            frame([1, 1], [1, 2], timestamp=["soon", "late"]),
            Schema((*IDS, TIME)),
            {},
            "should hold times",
        ),
        (frame([None, " "], [1, 2]), Schema(IDS), {}, "id missing: 2"),
        (frame([], []), Schema(IDS), {}, "0 rows read"),
        (frame([1], [1]), Schema(IDS), {"min_label": 3}, "label column"),
        (frame([1], [1]), Schema(IDS), {"min_user_events": -1}, "negative"),
        (frame([1], [1]), Schema(IDS), {"min_item_events": 2}, "too few"),
        ([1, 2], Schema(IDS), {}, "DataFrame"),
        (
            frame([1], [1]).set_axis(["user_id", "user_id"], axis=1),
            Schema(IDS),
            {},
            "more than once",
        ),
        ({"test": frame([1], [1])}, Schema(IDS), {}, "train"),
        (
            frame([1], [1]),
            Schema((*IDS, Column("age", "user", "number"))),
            {},
            "'age'",
        ),
    ],
)
def test_invalid_arguments_raise(raw, schema, options, message):
    with pytest.raises(UserError, match=message) as caught:
        clean(raw, None, None, schema, name="shop", **options)
    assert "\n" not in str(caught.value)


def test_a_few_odd_cells_are_dropped_not_refused():
    raw = frame([1, 1, 1], [1, 2, 3], rating=["4", "n/a", "5"])
    got = clean(raw, None, None, Schema((*IDS, LABEL)))
    assert got.events["rating"].tolist() == [4.0, 5.0]
    assert got.report.bad_label == 1


def test_fingerprint_follows_contents_and_schema():
    raw = frame([1, 2], ["ab", "c"], timestamp=[1, 2])
    plain = clean(raw, None, None, Schema(IDS)).fingerprint()
    assert plain == clean(raw, None, None, Schema(IDS), name="x").fingerprint()
    assert len(plain) == 64
    others = [
        clean(raw, None, None, Schema((*IDS, TIME))),
        clean(raw[::-1], None, None, Schema(IDS)),
        clean(frame([1, 2], ["a", "bc"]), None, None, Schema(IDS)),
        clean(frame(["1", "2"], ["ab", "c"]), None, None, Schema(IDS)),
        clean({"train": raw[:1], "test": raw[1:]}, None, None, Schema(IDS)),
    ]
    prints = {other.fingerprint() for other in others}
    assert len(prints | {plain}) == 6


def test_fingerprint_is_the_same_everywhere():
    # Written down once: a new pandas must not make old runs look foreign.
    raw = frame([1, 2], ["ab", "ü"], timestamp=[1, 2])
    assert (
        clean(raw, None, None, Schema((*IDS, TIME)))
        .fingerprint()
        .startswith("5d98a7f8")
    )


def test_keep_repeats_keeps_repeated_pairs_of_a_log():
    raw = frame(["a", "a", "a"], ["x", "x", "y"], timestamp=[1, 2, 3])
    schema = Schema((*IDS, TIME))
    assert len(clean(raw, None, None, schema).events) == 2
    log = clean(raw, None, None, schema, keep_repeats=True)
    assert pairs(log.events) == [("a", "x"), ("a", "x"), ("a", "y")]
    assert (log.report.duplicates, log.report.events) == (0, 3)
    assert len(log.items) == 2
