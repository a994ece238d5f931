"""Features, labels and histories, against brute force."""

import dataclasses
import time

import numpy as np
import pandas as pd
import pytest

from kd_tfrs.data import Column, Schema, clean
from kd_tfrs.data.ranking.examples import PARTS, Examples, build_examples
from kd_tfrs.data.ranking.splits import random_split
from kd_tfrs.data.splits import Split, by_time
from kd_tfrs.errors import UserError

SCHEMA = Schema(
    (
        Column("u", "user", "id"),
        Column("age", "user", "number"),
        Column("country", "user", "category"),
        Column("i", "item", "id"),
        Column("genres", "item", "categories"),
        Column("device", "event", "category"),
        Column("place", "event", "number", training_only=True),
        Column("shared", "event", "number"),
        Column("at", "event", "time"),
        Column("stars", "event", "label"),
        Column("w", "event", "weight"),
    )
)
DAY = 86_400


def world(seed=0, events=240, text_ids=False, repeats=True):
    """Few users, items and moments, so that ties and repeats abound."""
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "u": rng.integers(1, 9, events),
            "i": rng.integers(1, 15, events),
            "device": rng.choice(["tv", "web", ""], events),
            "place": rng.integers(1, 5, events),
            "shared": rng.integers(0, 2, events),
            "at": DAY + 3_600 * rng.integers(0, 60, events),
            "stars": rng.integers(1, 6, events),
            "w": rng.choice([0.5, 2.0], events),
        }
    )
    users = pd.DataFrame(
        {"u": range(1, 9), "age": range(20, 28), "country": list("abcdabcd")}
    )
    items = pd.DataFrame({"i": range(1, 15), "genres": ["x|y", "z"] * 7})
    if text_ids:
        for table in (frame, users):
            table["u"] = "user " + table["u"].astype(str)
        for table in (frame, items):
            table["i"] = "item " + table["i"].astype(str)
    return clean(
        frame, users, items, SCHEMA, name="world", keep_repeats=repeats
    )


def seen_by(part, split, online):
    """The events that features of a part may be computed from."""
    names = PARTS[: PARTS.index(part) + 1] if online else PARTS[:1]
    return pd.concat([getattr(split, name) for name in names])


def check_derived(row, event, events, length, history, in_history=None):
    """Checks one row against all events with a smaller time."""
    before = events[events["at"] < event["at"]]
    before = before.sort_values("at", kind="stable")
    of_user = before[before["u"] == event["u"]]
    of_item = before[before["i"] == event["i"]]
    assert row["user_events"] == len(of_user)
    assert row["item_events"] == len(of_item)
    np.testing.assert_allclose(row["user_mean_label"], of_user["stars"].mean())
    np.testing.assert_allclose(row["item_mean_label"], of_item["stars"].mean())
    if in_history is not None:
        of_user = of_user[in_history(of_user)]
    expected = of_user["i"].tolist()[::-1][:length]
    padding = [-1 if history.dtype == np.int64 else ""]
    assert history.tolist() == expected + padding * (length - len(expected))
    moment = pd.Timestamp(event["at"], unit="s")
    assert (row["hour"], row["weekday"]) == (moment.hour, moment.weekday())


@pytest.mark.parametrize("text_ids", [False, True])
@pytest.mark.parametrize("online", [False, True])
@pytest.mark.parametrize("cut", [by_time, random_split])
def test_features_depend_on_strictly_earlier_events_only(cut, online, text_ids):
    data = world(text_ids=text_ids)
    split = cut(data)
    parts = build_examples(data, split, ["liked", "rating"], 5, online=online)
    for part in PARTS:
        examples, frame = getattr(parts, part), getattr(split, part)
        events = seen_by(part, split, online)
        assert len(examples) == len(frame)
        for row in range(len(frame)):
            check_derived(
                examples.table.iloc[row],
                frame.iloc[row],
                events,
                5,
                examples.history[row],
            )


@pytest.mark.parametrize("online", [False, True])
def test_no_later_event_changes_a_row(online):
    data = world(seed=1)
    split = by_time(data)
    rng = np.random.default_rng(3)
    parts = build_examples(data, split, ["liked"], 6, online=online)
    moment = split.validation["at"].median()
    forged = {}
    for name in PARTS:
        frame = getattr(split, name).copy()
        late = (frame["at"] >= moment).to_numpy()
        frame.loc[late, "stars"] = rng.integers(1, 6, late.sum())
        frame.loc[late, "i"] = rng.integers(1, 15, late.sum())
        forged[name] = frame
    again = build_examples(data, Split(**forged), ["liked"], 6, online=online)
    for name in PARTS:
        one, other = getattr(parts, name), getattr(again, name)
        early = (getattr(split, name)["at"] < moment).to_numpy()
        pd.testing.assert_frame_equal(
            one.take(early).table, other.take(early).table
        )
        np.testing.assert_array_equal(one.history[early], other.history[early])
        # What happened at the moment itself shows in no feature but its own.
        at = (getattr(split, name)["at"] == moment).to_numpy()
        for column in ("user_events", "user_mean_label"):
            np.testing.assert_array_equal(
                one.table[column][at], other.table[column][at]
            )
        np.testing.assert_array_equal(one.history[at], other.history[at])


@pytest.mark.parametrize("online", [False, True])
def test_training_rows_do_not_depend_on_held_out_events(online):
    data = world(seed=2)
    split = random_split(data)
    parts = build_examples(data, split, ["liked"], 4, online=online)
    forged = dataclasses.replace(
        split,
        validation=split.validation.assign(stars=5.0, i=1),
        test=split.test.assign(stars=5.0, i=1, u=1),
    )
    again = build_examples(data, forged, ["liked"], 4, online=online)
    pd.testing.assert_frame_equal(parts.train.table, again.train.table)
    np.testing.assert_array_equal(parts.train.history, again.train.history)
    if not online:
        # Nor does a validation row on test events.
        third = dataclasses.replace(split, test=forged.test)
        third = build_examples(data, third, ["liked"], 4)
        pd.testing.assert_frame_equal(
            parts.validation.table, third.validation.table
        )


def test_columns_are_joined_and_labelled():
    data = world()
    split = by_time(data)
    parts = build_examples(data, split, ["liked", "rating", "shared"], 3)
    train, frame = parts.train, split.train
    users = data.users.set_index("u").loc[frame["u"]]
    items = data.items.set_index("i").loc[frame["i"]]
    for name, values in (
        ("u", frame["u"]),
        ("i", frame["i"]),
        ("age", users["age"]),
        ("country", users["country"]),
        ("genres", items["genres"]),
        ("device", frame["device"]),
        ("place", frame["place"]),
        ("at", frame["at"]),
    ):
        assert train.table[name].tolist() == values.tolist()
    stars = frame["stars"].to_numpy()
    np.testing.assert_array_equal(train.labels["liked"], stars >= 4)
    np.testing.assert_array_equal(train.labels["rating"], stars)
    np.testing.assert_array_equal(train.labels["shared"], frame["shared"])
    assert {v.dtype for v in train.labels.values()} == {np.dtype("float32")}
    np.testing.assert_array_equal(train.weights, np.float32(frame["w"]))
    np.testing.assert_array_equal(train.groups, frame["u"])
    np.testing.assert_array_equal(train.items, frame["i"])
    names = [column.name for column in train.columns]
    assert names == [
        *("u", "age", "country", "i", "genres", "device", "place"),
        *("user_events", "user_mean_label", "item_events", "item_mean_label"),
        *("hour", "weekday"),
    ]
    assert set(names) | {"at"} == set(train.table.columns)
    served = [column.name for column in train.served_columns]
    assert served == [name for name in names if name != "place"]
    owners = {c.name: c.owner.value for c in train.columns}
    assert owners["user_mean_label"] == "user"
    assert owners["item_events"] == "item"
    assert owners["hour"] == "event"
    assert "world" in str(parts)


def test_features_are_the_selected_ones():
    data = world()
    parts = build_examples(
        data,
        by_time(data),
        ["rating"],
        0,
        derived=["hour", "user_events"],
        leave_out=["shared", "device", "u"],
        liked_from=2,
    )
    names = [column.name for column in parts.test.columns]
    assert names[-2:] == ["user_events", "hour"]
    assert not {"shared", "device", "u", "weekday"} & set(names)
    assert parts.test.history is None
    assert parts.test.groups is not None


def test_history_has_the_positive_events_of_its_task():
    data = world()
    split = by_time(data)
    parts = build_examples(
        data, split, ["rating"], 4, history_task="liked", liked_from=3
    )
    for row in range(len(split.train)):
        check_derived(
            parts.train.table.iloc[row],
            split.train.iloc[row],
            split.train,
            4,
            parts.train.history[row],
            in_history=lambda events: events["stars"] >= 3,
        )


def test_data_without_time_or_weights_have_no_history():
    frame = world().events[["u", "i", "stars"]]
    schema = Schema(
        (
            Column("u", "user", "id"),
            Column("i", "item", "id"),
            Column("stars", "event", "label"),
        )
    )
    data = clean(frame, None, None, schema)
    parts = build_examples(data, random_split(data), ["liked"])
    assert parts.train.history is None
    assert [c.name for c in parts.train.columns] == ["u", "i"]
    np.testing.assert_array_equal(parts.test.weights, 1)
    for options, message in (
        ({"history_length": 3}, "`history_length`"),
        ({"derived": ["hour"]}, "`derived`"),
        ({"history_task": "liked"}, "without histories"),
    ):
        with pytest.raises(UserError, match=message):
            build_examples(data, random_split(data), ["liked"], **options)


def test_the_datas_own_columns_are_not_derived():
    columns = tuple(
        dataclasses.replace(c, name="hour") if c.name == "device" else c
        for c in SCHEMA.columns
    )
    data = world()
    data = dataclasses.replace(
        data,
        schema=Schema(columns),
        events=data.events.rename(columns={"device": "hour"}),
    )
    parts = build_examples(data, by_time(data), ["liked"])
    assert parts.train.table["hour"].isin(["tv", "web", ""]).all()
    assert [c.name for c in parts.train.columns].count("hour") == 1


def test_text_is_stored_once_and_can_be_filled():
    parts = build_examples(world(), by_time(world()), ["liked"])
    for name in ("country", "genres", "device"):
        values = parts.train.table[name]
        assert isinstance(values.dtype, pd.CategoricalDtype)
        assert values.fillna("").notna().all()
    joined = pd.concat([parts.train.table, parts.test.table])
    assert isinstance(joined["genres"].dtype, pd.CategoricalDtype)


def test_take_selects_rows():
    parts = build_examples(world(), by_time(world()), ["liked"], 4)
    rows = np.array([7, 2, 2])
    some = parts.train.take(rows)
    assert len(some) == 3
    assert some.columns == parts.train.columns
    pd.testing.assert_frame_equal(
        some.table, parts.train.table.iloc[rows].reset_index(drop=True)
    )
    for name in ("weights", "groups", "items", "history"):
        np.testing.assert_array_equal(
            getattr(some, name), getattr(parts.train, name)[rows]
        )
    np.testing.assert_array_equal(
        some.labels["liked"], parts.train.labels["liked"][rows]
    )
    assert len(parts.train.take(parts.train.labels["liked"] > 0)) == int(
        parts.train.labels["liked"].sum()
    )
    assert len(parts.train.take(slice(3, 5))) == 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tasks": []}, "one task at least"),
        ({"tasks": "liked"}, "list of different names"),
        ({"tasks": ["liked", "liked"]}, "different names"),
        ({"tasks": ["bought"]}, "'bought'"),
        ({"tasks": ["device"]}, "should be numbers"),
        ({"tasks": ["u"]}, "column of the events"),
        ({"history_length": -1}, "at least 0"),
        ({"leave_out": ["nothing"]}, "'nothing'"),
        ({"derived": ["moon"]}, "'moon'"),
        ({"history_task": "bought"}, "'bought'"),
    ],
)
def test_invalid_arguments_raise(options, message):
    data = world(events=60)
    options = {"tasks": ["liked"], **options}
    with pytest.raises(UserError, match=message):
        build_examples(data, by_time(data), **options)


def test_lengths_must_agree():
    table = pd.DataFrame({"a": [1, 2]})
    with pytest.raises(UserError, match="same length"):
        Examples(table, (), {"x": np.zeros(3)}, np.ones(2))


def test_a_hundred_thousand_events_take_seconds():
    data = world(events=100_000)
    start = time.perf_counter()
    parts = build_examples(data, by_time(data), ["liked", "rating"], 50)
    assert time.perf_counter() - start < 10
    assert parts.train.history.shape[1] == 50
