"""Task labels and further features of the user's own files."""

import json

import numpy as np
import pandas as pd
import pytest

from kd_tfrs.data import Column, Schema, load
from kd_tfrs.data.ranking import load_examples
from kd_tfrs.errors import UserError

QUIET = {"progress": False}


def clicks(count=60, seed=0):
    """A log of impressions; stars are there for clicked rows alone."""
    rng = np.random.default_rng(seed)
    click = rng.integers(0, 2, count)
    return pd.DataFrame(
        {
            "user_id": rng.integers(1, 9, count),
            "item_id": rng.integers(1, 6, count),
            "timestamp": 10**9 + np.arange(count),
            "click": click,
            "like": np.where(click, rng.integers(0, 2, count), np.nan),
            "rating": np.where(click, rng.integers(1, 6, count), np.nan),
            "device": rng.choice(["tv", "web"], count),
            "position": rng.integers(1, 4, count),
            "weight": rng.integers(1, 900, count),
            "noise": "x",
        }
    )


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "clicks.csv"
    clicks().to_csv(path, index=False)
    return path


def all_of(parts, task):
    return np.concatenate(
        [
            part.labels[task]
            for part in (parts.train, parts.validation, parts.test)
        ]
    )


def names(part):
    return [column.name for column in part.columns]


def test_tasks_are_read_and_are_no_features(path):
    tasks = ["click", "like", "rating", "liked"]
    parts = load_examples(path, tasks=tasks, read=QUIET)
    frame = clicks()
    for task in tasks[:3]:
        np.testing.assert_array_equal(all_of(parts, task), frame[task])
    # Without stars, "liked" is missing; no event was dropped.
    np.testing.assert_array_equal(
        all_of(parts, "liked"),
        np.where(frame["rating"].isna(), np.nan, frame["rating"] >= 4),
    )
    assert not {*tasks} & {*names(parts.train)}
    assert not {*tasks} & {*parts.train.table.columns}
    assert not {"noise", "device"} & {*parts.train.table.columns}
    assert parts.interactions.schema.label == "rating"


def test_a_column_called_rating_beside_another_label(path):
    parts = load_examples(
        path, tasks=["click", "rating"], read={**QUIET, "label": "click"}
    )
    np.testing.assert_array_equal(all_of(parts, "rating"), clicks()["rating"])
    np.testing.assert_array_equal(all_of(parts, "click"), clicks()["click"])


def test_one_label_by_two_names_is_refused(tmp_path):
    path = tmp_path / "a.csv"
    clicks().drop(columns="rating").to_csv(path, index=False)
    with pytest.raises(UserError, match="both the column 'click'"):
        load_examples(
            path, tasks=["click", "rating"], read={**QUIET, "label": "click"}
        )


def test_events_without_a_label_are_dropped_where_it_is_the_only_one(path):
    frame = clicks()
    parts = load_examples(path, tasks=["liked"], read=QUIET)
    assert len(all_of(parts, "liked")) == frame["rating"].notna().sum()


def test_event_columns_are_features(path):
    read = {
        **QUIET,
        "event_columns": ["device", "weight"],
        "training_only_columns": ["position"],
    }
    parts = load_examples(path, tasks=["click"], read=read)
    found = {c.name: c for c in parts.train.columns}
    assert found["device"].encoding.value == "category"
    assert found["position"].training_only
    assert [c.name for c in parts.train.columns if c.training_only] == [
        "position"
    ]
    assert "position" not in [c.name for c in parts.train.served_columns]
    assert (
        parts.train.table["device"].tolist()
        == (clicks()["device"].tolist()[: len(parts.train)])
    )
    # The listed column "weight" of a parcel is not the weight of an event.
    assert parts.interactions.schema.weight is None
    np.testing.assert_array_equal(parts.train.weights, 1)
    plain = load_examples(path, tasks=["click"], read=QUIET)
    assert plain.interactions.schema.weight == "weight"


def test_empty_options_leave_the_data_as_they_were(path):
    read = {**QUIET, "event_columns": (), "training_only_columns": ()}
    one, other = (
        load_examples(path, tasks=tasks, read=read)
        for tasks in (None, ["liked"])
    )
    wanted = load(path, keep_repeats=True, progress=False).fingerprint()
    assert one.interactions.fingerprint() == wanted
    assert other.interactions.fingerprint() == wanted


def test_columns_of_users_and_items_may_be_for_teachers_alone(tmp_path):
    clicks().to_csv(tmp_path / "events.csv", index=False)
    items = pd.DataFrame({"item_id": range(1, 6), "sold": [5.5, 1, 2, 3, 4]})
    items.to_csv(tmp_path / "items.csv", index=False)
    read = {**QUIET, "training_only_columns": ["sold"]}
    parts = load_examples(tmp_path, tasks=["click"], read=read)
    column = next(c for c in parts.train.columns if c.name == "sold")
    assert (column.owner.value, column.training_only) == ("item", True)


def test_a_label_that_the_first_line_of_json_lacks(tmp_path):
    path = tmp_path / "a.jsonl"
    rows = clicks()[["user_id", "item_id", "timestamp", "click", "like"]]
    rows.loc[0, "like"] = np.nan
    lines = [
        json.dumps({k: v for k, v in row.items() if v == v})
        for row in rows.to_dict("records")
    ]
    assert "like" not in lines[0]
    path.write_text("\n".join(lines))
    parts = load_examples(path, tasks=["click", "like"], read=QUIET)
    np.testing.assert_array_equal(all_of(parts, "like"), rows["like"])


def test_a_schema_names_all_but_the_labels(path):
    schema = Schema(
        (
            Column("user_id", "user", "id"),
            Column("item_id", "item", "id"),
            Column("timestamp", "event", "time"),
            Column("rating", "event", "label"),
        )
    )
    read = {**QUIET, "schema": schema}
    parts = load_examples(path, tasks=["like", "rating"], read=read)
    np.testing.assert_array_equal(all_of(parts, "like"), clicks()["like"])
    with pytest.raises(UserError, match="`event_columns` should be left out"):
        load_examples(path, read={**read, "event_columns": ["device"]})


@pytest.mark.parametrize(
    ("tasks", "read", "message"),
    [
        (["bought"], {}, r"`tasks`.*clicks\.csv.*'bought'.*'device'"),
        (["click"], {"event_columns": ["moon"]}, "`event_columns`.*'moon'"),
        (
            ["click"],
            {"training_only_columns": ["moon"]},
            "`training_only_columns`.*'moon'",
        ),
        (["click"], {"event_columns": ["click"]}, "the label of a task"),
        (
            ["click", "like"],
            {"training_only_columns": ["like"]},
            "`training_only_columns`.*the label of a task",
        ),
        (["click"], {"event_columns": ["timestamp"]}, "read as the time"),
        (["liked"], {"event_columns": ["rating"]}, "read as the label"),
        (["click"], {"event_columns": "device"}, r"list of .*\['device'\]"),
        (["device"], {}, "Labels 'device' should be numbers"),
        ("click", {}, r"list of different names.*'click'"),
    ],
)
def test_invalid_arguments_raise(path, tasks, read, message):
    with pytest.raises(UserError, match=message) as caught:
        load_examples(path, tasks=tasks, read={**QUIET, **read})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("bad", ["yes", "inf"])
@pytest.mark.parametrize("column", ["like", "rating"])
def test_cleaning_does_not_hide_odd_labels(tmp_path, column, bad):
    frame = clicks().astype({column: object})
    frame.loc[7, column] = bad
    path = tmp_path / "a.csv"
    frame.to_csv(path, index=False)
    with pytest.raises(UserError, match=rf"Labels '{column}'.*in event 8"):
        load_examples(path, tasks=["like", "click"], read=QUIET)


def test_a_column_cannot_stand_in_two_tables(tmp_path):
    clicks().to_csv(tmp_path / "events.csv", index=False)
    users = pd.DataFrame({"user_id": range(1, 9), "device": "tv"})
    users.to_csv(tmp_path / "users.csv", index=False)
    with pytest.raises(UserError, match="in the table of users or items"):
        load(tmp_path, event_columns=["device"], progress=False)


def test_named_data_sets_have_columns_of_their_own():
    with pytest.raises(UserError, match="`tasks` should be left out"):
        load("synthetic", tasks=["click"])
