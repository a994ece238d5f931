"""Encoded columns against values by hand, including missing values."""

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

from kd_tfrs.data import Column
from kd_tfrs.errors import UserError
from kd_tfrs.models import FeatureSet

HASHES = [210, 524, 159]


def one(encoding, train, values=None, owner="item", **options):
    """Adapts to `train`, encodes `values`."""
    column = Column("c", owner, encoding, **options)
    features = FeatureSet.adapt([column], pd.DataFrame({"c": train}))
    (feature,) = features
    table = pd.DataFrame({"c": train if values is None else values})
    return feature, features.encode(table)["c"]


@pytest.mark.parametrize(
    ("train", "values"),
    [
        (["b", "a", "b"], ["a", "b", "c", "", None]),
        ([20, 10, 20], [10, 20, 30, None, None]),
    ],
)
@pytest.mark.parametrize("encoding", ["id", "category"])
def test_known_values_have_numbers_and_zero_is_unknown(encoding, train, values):
    values = pd.Series(values, dtype=object if values[0] == "a" else "Int64")
    feature, encoded = one(encoding, train, values)
    assert encoded.dtype == np.int32
    assert feature.vocabulary_size == 3
    np.testing.assert_array_equal(encoded, [1, 2, 0, 0, 0])


def test_categories_are_cut_at_the_rarest_and_ids_never():
    train = ["a"] * 3 + ["b"] + ["c"] * 2
    feature, encoded = one("category", train, ["a", "b", "c"], max_tokens=2)
    assert feature.vocabulary_size == 3
    np.testing.assert_array_equal(encoded, [1, 0, 2])
    feature, encoded = one("id", [f"{i:05d}" for i in range(10_050)])
    assert feature.vocabulary_size == 10_051
    np.testing.assert_array_equal(encoded, np.arange(1, 10_051))


def test_unk_token_of_keras_is_unknown():
    _, encoded = one("category", ["a", "[UNK]", "b"])
    np.testing.assert_array_equal(encoded, [1, 0, 2])


def test_numbers_are_standardised_and_missing_is_the_mean():
    _, encoded = one(
        "number", [1.0, 3.0, np.nan], [1.0, 3.0, 5.0, np.nan, np.inf]
    )
    assert encoded.dtype == np.float32
    np.testing.assert_allclose(encoded, [-1, 1, 3, 0, 0], atol=1e-6)


def test_a_constant_number_has_no_scale():
    _, encoded = one("number", [4.0, 4.0], [4.0, 5.0])
    np.testing.assert_allclose(encoded, [0.0, 1.0])


def test_large_numbers_keep_their_differences():
    seconds = 1.6e9 + np.array([0.0, 100.0, 200.0])
    _, encoded = one("number", seconds)
    np.testing.assert_allclose(encoded, [-(1.5**0.5), 0, 1.5**0.5], rtol=1e-5)


def test_buckets_split_the_training_values_evenly():
    train = np.arange(100.0)
    feature, encoded = one(
        "buckets", train, [-5, 0, 30, 60, 99, 500, np.nan], num_buckets=4
    )
    assert feature.vocabulary_size == 5
    np.testing.assert_array_equal(encoded, [1, 1, 2, 3, 4, 4, 0])
    _, encoded = one("buckets", train, num_buckets=4)
    np.testing.assert_array_equal(np.bincount(encoded)[1:], [25] * 4)


def test_buckets_of_few_values_are_fewer():
    feature, encoded = one("buckets", [1, 1, 1, 1, 9], num_buckets=5)
    assert encoded.max() < feature.vocabulary_size < 6
    assert encoded[0] != encoded[-1]


def test_categories_are_padded_cut_and_stripped():
    feature, encoded = one(
        "categories",
        ["x| y", "y", ""],
        ["y|x", "x|new|y|y", "", None, "y||x", " | "],
        max_length=3,
    )
    assert feature.length == 3
    assert feature.vocabulary_size == 4
    x, y = encoded[0, 1], encoded[0, 0]
    assert {x, y} == {2, 3}
    np.testing.assert_array_equal(
        encoded,
        [[y, x, 0], [x, 1, y], [0, 0, 0], [0, 0, 0], [y, x, 0], [0, 0, 0]],
    )


def test_another_separator():
    _, encoded = one("categories", ["a;b", "a"], separator=";", max_length=2)
    assert encoded[0, 0] == encoded[1, 0] != encoded[0, 1] > 1


def test_text_is_lower_case_words():
    _, encoded = one(
        "text",
        ["The Red house", "red!"],
        ["RED house, the", "unheard", "", None],
        max_length=2,
    )
    assert encoded.shape == (4, 2)
    red = encoded[0, 0]
    assert red == 2, "the most frequent word comes first"
    assert encoded[1].tolist() == [1, 0]
    assert not encoded[2:].any()


def test_a_long_vocabulary_is_cut():
    for encoding in ("text", "categories"):
        feature, encoded = one(
            encoding, ["a", "a", "b", "b", "c"], max_tokens=2, max_length=1
        )
        assert feature.vocabulary_size == 4
        assert encoded[-1].tolist() == [1]


@pytest.mark.parametrize(
    ("encoding", "blank", "options"),
    [
        ("category", "", {}),
        ("categories", " | ", {}),
        ("text", "?!", {}),
        ("number", np.nan, {}),
        ("buckets", np.nan, {"num_buckets": 3}),
    ],
)
def test_a_column_without_a_value_is_left_out(encoding, blank, options):
    columns = [
        Column("i", "item", "id"),
        Column("c", "item", encoding, **options),
    ]
    table = pd.DataFrame({"i": ["a", "b"], "c": [blank, blank]})
    features = FeatureSet.adapt(columns, table)
    assert [f.name for f in features] == ["i"]
    assert list(features.encode(table)) == ["i"]
    with pytest.raises(UserError, match="at least one feature"):
        FeatureSet.adapt(columns[1:], table)


def test_columns_of_a_table_that_was_not_given_are_left_out():
    columns = [Column("i", "item", "id"), Column("year", "item", "number")]
    table = pd.DataFrame({"i": [1, 2]})
    assert [f.name for f in FeatureSet.adapt(columns, table)] == ["i"]


def test_vocabularies_are_of_the_training_rows():
    columns = [Column("i", "item", "id"), Column("c", "item", "number")]
    train = pd.DataFrame({"i": ["a", "b"], "c": [0.0, 2.0]})
    table = pd.concat([train, pd.DataFrame({"i": ["z"], "c": [1e6]})])
    encoded = FeatureSet.adapt(columns, train).encode(table)
    np.testing.assert_array_equal(encoded["i"], [1, 2, 0])
    np.testing.assert_allclose(encoded["c"][:2], [-1, 1])


def test_the_row_of_the_unknown_comes_first():
    columns = [
        Column("u", "user", "id"),
        Column("tags", "user", "categories", max_length=2),
        Column("age", "user", "number"),
    ]
    table = pd.DataFrame({"u": [7, 5], "tags": ["a", "a|b"], "age": [30, 50]})
    features = FeatureSet.adapt(columns, table)
    plain = features.encode(table)
    encoded = features.encode(table, unknown_first=True)
    for name, values in encoded.items():
        assert not values[0].any()
        np.testing.assert_array_equal(values[1:], plain[name])


def test_inputs_have_the_shape_of_what_is_encoded():
    feature, _ = one("categories", ["a|b"], max_length=5)
    assert tuple(feature.input().shape) == (None, 5)
    assert feature.input().dtype == tf.int32
    feature, _ = one("number", [1.0, 2.0])
    assert tuple(feature.input().shape) == (None,)
    assert feature.input().dtype == tf.float32


@pytest.mark.parametrize("encoding", ["id", "category"])
def test_unknown_hashed_values_have_a_bucket_and_missing_has_its_own(
    encoding,
):
    values = [f"v{i}" for i in range(400)]
    feature, encoded = one(
        encoding, ["a", "b"], [*values, "", None], hash_buckets=50
    )
    assert feature.vocabulary_size == 51
    assert encoded.dtype == np.int32
    np.testing.assert_array_equal(encoded[400:], [0, 0])
    assert set(encoded[:400]) == set(range(1, 51))
    # 8 a bucket with a standard deviation of 2.8.
    assert np.bincount(encoded[:400])[1:].max() < 8 + 5 * 2.8


def test_hashes_are_the_same_everywhere():
    _, encoded = one("id", ["x"], ["196", "242", "Amélie"], hash_buckets=1000)
    # Written down once: FarmHash64 of the text modulo 1,000, plus 1. A change
    # would give every exported model the embeddings of others.
    np.testing.assert_array_equal(encoded, HASHES)
    _, of_numbers = one("id", [1], [196, 242], hash_buckets=1000)
    np.testing.assert_array_equal(of_numbers, HASHES[:2])
    strings = tf.constant(["196", "242", "Amélie"])
    np.testing.assert_array_equal(
        tf.strings.to_hash_bucket_fast(strings, 1000) + 1, HASHES
    )


def test_a_hashed_column_without_a_value_is_left_out():
    column = Column("c", "item", "category", hash_buckets=9)
    ids = Column("i", "item", "id")
    table = pd.DataFrame({"i": ["a"], "c": [""]})
    assert [f.name for f in FeatureSet.adapt([ids, column], table)] == ["i"]


@pytest.mark.parametrize(
    ("ids", "nothing"), [([[5, 7, -1], [9, -1, -1]], -1), (None, "")]
)
@pytest.mark.parametrize("buckets", [None, 40])
def test_arrays_of_ids_are_encoded_with_padding_as_zero(ids, nothing, buckets):
    if ids is None:
        ids = [["a", "b", ""], ["c", "", ""]]
    ids = np.array(ids, dtype=np.int64 if nothing == -1 else object)
    train = [5, 7] if nothing == -1 else ["a", "b"]
    feature, _ = one("id", train, hash_buckets=buckets)
    encoded = feature.encode_ids(ids)
    assert (encoded.dtype, encoded.shape) == (np.int32, (2, 3))
    assert not encoded[ids == nothing].any()
    known = encoded[ids != nothing]
    if buckets is None:
        np.testing.assert_array_equal(known, [1, 2, 0])
    else:
        assert known.min() >= 1
    assert feature.encode_ids(np.zeros((0, 3), ids.dtype)).shape == (0, 3)


@pytest.mark.parametrize(
    ("encoding", "options"),
    [
        ("category", {}),
        ("category", {"hash_buckets": 7}),
        ("categories", {"max_length": 2}),
        ("text", {"max_length": 2}),
    ],
)
def test_pandas_categories_are_encoded_as_their_text(encoding, options):
    text = pd.Series(["b|a", "a", "", "b|a", None, "c d"], dtype=object)
    column = Column("c", "item", encoding, **options)
    plain, stored = (
        FeatureSet.adapt([column], pd.DataFrame({"c": values}))
        for values in (text, text.astype("category"))
    )
    for features in (plain, stored):
        for values in (text, text.astype("category")):
            np.testing.assert_array_equal(
                features.encode(pd.DataFrame({"c": values}))["c"],
                plain.encode(pd.DataFrame({"c": text}))["c"],
            )
