"""The schema refuses what it would ignore, and reads back what it wrote."""

import pandas as pd
import pytest

from kd_tfrs.data import Column, Encoding, Owner, Schema
from kd_tfrs.errors import UserError

IDS = (Column("u", "user", "id"), Column("i", "item", "id"))


def test_full_schema_has_an_owner_for_each_column():
    schema = Schema(
        (
            *IDS,
            Column("age", Owner.USER, Encoding.BUCKETS, num_buckets=4),
            Column("genres", "item", "categories", separator=","),
            Column("hour", "event", "number"),
            Column("t", "event", "time"),
            Column("stars", "event", "label"),
            Column("w", "event", "weight"),
        )
    )
    assert (schema.user_id, schema.item_id) == ("u", "i")
    assert (schema.time, schema.label, schema.weight) == ("t", "stars", "w")
    assert [c.name for c in schema.user_features] == ["u", "age"]
    assert [c.name for c in schema.item_features] == ["i", "genres"]
    assert [c.name for c in schema.context_features] == ["hour"]
    assert Schema.from_json(schema.to_json()) == schema


def test_absent_event_columns_are_none():
    schema = Schema(IDS)
    assert (schema.time, schema.label, schema.weight) == (None, None, None)


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        (("", "user", "id"), {}, "non-empty"),
        (("x", "shop", "id"), {}, "user, item, event"),
        (("x", "user", "colour"), {}, "category"),
        (("x", "event", "id"), {}, "user or item"),
        (("x", "user", "label"), {}, "should be event"),
        (("x", "user", "buckets"), {}, "num_buckets"),
        (("x", "user", "buckets"), {"num_buckets": 1}, "at least 2"),
        (("x", "user", "number"), {"num_buckets": 8}, "buckets only"),
        (("x", "item", "text"), {"separator": ","}, "categories only"),
        (("x", "item", "category"), {"max_length": 3}, "Leave it out"),
        (("x", "item", "number"), {"max_tokens": 3}, "Leave it out"),
        (("x", "item", "text"), {"max_tokens": 0}, "at least 1"),
        (("x", "item", "text"), {"max_length": True}, "at least 1"),
        (("x", "item", "categories"), {"separator": ""}, "separator"),
        (("x", "item", "text"), {"hash_buckets": 9}, "id, category only"),
        (("x", "user", "number"), {"hash_buckets": 9}, "id, category only"),
        (("x", "item", "id"), {"hash_buckets": 1}, "at least 2"),
        (("x", "item", "id"), {"hash_buckets": True}, "at least 2"),
        (("x", "event", "category"), {"hash_buckets": 2.0}, "at least 2"),
        (
            ("x", "item", "category"),
            {"hash_buckets": 9, "max_tokens": 5},
            "leave max_tokens out",
        ),
        (("x", "event", "number"), {"training_only": 1}, "True or False"),
        (("x", "user", "id"), {"training_only": True}, "Leave it out"),
        (("x", "event", "label"), {"training_only": True}, "Leave it out"),
        (("x", "event", "time"), {"training_only": True}, "Leave it out"),
    ],
)
def test_bad_columns_are_refused(arguments, options, message):
    with pytest.raises(UserError, match=message) as caught:
        Column(*arguments, **options)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (IDS[:1], "id of the item"),
        ((*IDS, Column("v", "user", "id")), "exactly one id of the user"),
        ((*IDS, Column("u", "item", "text")), "'u' 2 times"),
        (
            (*IDS, Column("a", "event", "time"), Column("b", "event", "time")),
            "at most one time",
        ),
        (("u", "i"), "Column"),
    ],
)
def test_bad_schemas_are_refused(columns, message):
    with pytest.raises(UserError, match=message):
        Schema(columns)


def test_hashed_and_training_only_columns_are_restored():
    schema = Schema(
        (
            Column("u", "user", "id", hash_buckets=1000),
            Column("i", "item", "id"),
            Column("brand", "item", "category", hash_buckets=50),
            Column("dwell", "event", "number", training_only=True),
            Column("place", "event", "category", training_only=True),
            Column("genres", "item", "categories", separator=","),
        )
    )
    again = Schema.from_json(schema.to_json())
    assert again == schema
    assert [c.hash_buckets for c in again.columns[:3]] == [1000, None, 50]
    assert [c.name for c in again.columns if c.training_only] == [
        "dwell",
        "place",
    ]
    served = schema.served()
    assert [c.name for c in served.columns] == ["u", "i", "brand", "genres"]
    assert served.context_features == ()
    assert served.served() == served


def test_options_that_came_later_leave_older_schemas_as_they_were():
    # The fingerprint of the data in a run folder begins with this text.
    text = Schema(IDS).to_json()
    assert "hash_buckets" not in text
    assert "training_only" not in text
    assert text.startswith(
        '[{"name": "u", "owner": "user", "encoding": "id", "num_buckets": null'
    )


@pytest.mark.parametrize("text", ["{", "[1]", '[{"name": "u"}]'])
def test_json_that_is_no_schema_is_refused(text):
    with pytest.raises(UserError, match="to_json"):
        Schema.from_json(text)


def test_infer_guesses_encodings():
    events = pd.DataFrame(
        {
            "user_id": [1, 2],
            "item_id": ["a", "b"],
            "Rating": [1.0, 2.0],
            "timestamp": [1, 2],
            "device": ["tv", "web"],
        }
    )
    users = pd.DataFrame({"user_id": [1], "age": [20.5], "member": [True]})
    items = pd.DataFrame(
        {
            "item_id": [f"i{n}" for n in range(60)],
            "title": "Emma",
            "plot": [f"they meet in chapter {n}" for n in range(60)],
            "genres": "Drama|War",
            "tags": [["x", "y"]] * 60,
            "year": range(60),
            "stock": 3,
            "added": pd.Timestamp("2024-01-01"),
        }
    )
    schema = Schema.infer(events, users, items)
    kinds = {c.name: (c.owner.value, c.encoding.value) for c in schema.columns}
    assert kinds == {
        "user_id": ("user", "id"),
        "age": ("user", "number"),
        "member": ("user", "category"),
        "item_id": ("item", "id"),
        "title": ("item", "text"),
        "plot": ("item", "text"),
        "genres": ("item", "categories"),
        "tags": ("item", "categories"),
        "year": ("item", "number"),
        "stock": ("item", "category"),
        "added": ("item", "number"),
        "timestamp": ("event", "time"),
        "Rating": ("event", "label"),
        "device": ("event", "category"),
    }


def test_infer_takes_names_and_refuses_absent_ones():
    events = pd.DataFrame(
        {"person": [1], "thing": [2], "score": [3], "at": [4]}
    )
    schema = Schema.infer(
        events, user_id="person", item_id="thing", label="score", time="at"
    )
    assert (schema.label, schema.time) == ("score", "at")
    with pytest.raises(UserError, match="'user_id'"):
        Schema.infer(events)
    with pytest.raises(UserError, match="'gone'"):
        Schema.infer(events, user_id="person", item_id="thing", label="gone")
