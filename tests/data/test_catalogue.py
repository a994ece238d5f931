"""Rows for ids: ordered, without a word from held-out events."""

import numpy as np
import pandas as pd
import pytest

from kd_tfrs.data import Column, Schema, clean
from kd_tfrs.data.catalogue import Catalogue
from kd_tfrs.errors import UserError
from kd_tfrs.models import FeatureSet
from kd_tfrs.testing.retrieval import tiny_interactions

IDS = (Column("u", "user", "id"), Column("i", "item", "id"))


def ids_only(users=(7, 7, 5, 9, 9, 9), items=(30, 10, 10, 20, 30, 40)):
    events = pd.DataFrame({"u": users, "i": items})
    return clean(events, None, None, Schema(IDS))


def test_rows_ascend_with_the_ids_and_users_start_at_one():
    data = ids_only()
    catalogue = Catalogue.build(data, data.events)
    assert (catalogue.num_users, catalogue.num_items) == (3, 4)
    np.testing.assert_array_equal(catalogue.user_ids, [5, 7, 9])
    np.testing.assert_array_equal(catalogue.item_ids, [10, 20, 30, 40])
    np.testing.assert_array_equal(catalogue.user_rows([9, 5, 8]), [3, 1, 0])
    np.testing.assert_array_equal(catalogue.item_rows([40, 11, 10]), [3, -1, 0])
    assert catalogue.user_rows([9]).dtype == np.int32
    assert catalogue.item_rows([10]).dtype == np.int32


def test_strings_are_in_lexicographic_order():
    data = ids_only(["b", "a", "B"], ["10", "9", "x"])
    catalogue = Catalogue.build(data, data.events)
    assert catalogue.user_ids.tolist() == ["B", "a", "b"]
    assert catalogue.item_ids.tolist() == ["10", "9", "x"]
    # An id of another type is unknown.
    np.testing.assert_array_equal(catalogue.user_rows([1, 2]), [0, 0])


def test_events_are_counted_by_row():
    data = ids_only()
    catalogue = Catalogue.build(data, data.events)
    np.testing.assert_array_equal(catalogue.user_events, [0, 1, 2, 3])
    np.testing.assert_array_equal(catalogue.item_events, [2, 1, 2, 1])


def test_tables_of_ids_alone_do_not_tell_what_is_held_out():
    data = ids_only()
    train = data.events[data.events["u"] != 5]
    train = train[train["i"] != 40]
    catalogue = Catalogue.build(data, train)
    assert catalogue.user_ids.tolist() == [7, 9]
    assert catalogue.item_ids.tolist() == [10, 20, 30]
    np.testing.assert_array_equal(catalogue.user_rows([5]), [0])
    np.testing.assert_array_equal(catalogue.item_rows([40]), [-1])


def test_tables_with_features_are_complete_and_counted_in_training_only():
    data = tiny_interactions()
    held_out = data.items["item_id"].iloc[3]
    train = data.events[data.events["item_id"] != held_out]
    catalogue = Catalogue.build(data, train)
    assert catalogue.item_ids.tolist() == data.items["item_id"].tolist()
    assert catalogue.item_events[3] == 0
    assert catalogue.item_events.sum() == len(train)


def test_vocabularies_hold_no_held_out_id():
    data = tiny_interactions()
    gone = {"user_id": "u03", "item_id": "i05"}
    train = data.events
    for column, value in gone.items():
        train = train[train[column] != value]
    catalogue = Catalogue.build(data, train)
    for columns, table, counts, key in (
        (
            data.schema.user_features,
            catalogue.users,
            catalogue.user_events[1:],
            "user_id",
        ),
        (
            data.schema.item_features,
            catalogue.items,
            catalogue.item_events,
            "item_id",
        ),
    ):
        features = FeatureSet.adapt(columns, table[counts > 0])
        encoded = features.encode(table)[key]
        held_out = (table[key] == gone[key]).to_numpy()
        np.testing.assert_array_equal(encoded == 0, held_out)
        vocabulary = next(iter(features)).layer.get_vocabulary()
        assert gone[key] not in vocabulary


def test_ids_without_a_row_in_the_table_are_added():
    data = tiny_interactions()
    short = data.items.iloc[1:]
    object.__setattr__(data, "items", short)
    catalogue = Catalogue.build(data, data.events)
    assert catalogue.num_items == len(short) + 1
    assert catalogue.item_rows(["i00"])[0] == 0
    assert catalogue.items["title"].isna().tolist()[:2] == [True, False]


def test_the_callers_tables_stay_as_they_are():
    data = tiny_interactions()
    before = data.fingerprint()
    Catalogue.build(data, data.events.iloc[::-1])
    assert data.fingerprint() == before


def test_no_training_event_is_no_catalogue():
    data = ids_only()
    with pytest.raises(UserError, match="at least one training event"):
        Catalogue.build(data, data.events.iloc[:0])
