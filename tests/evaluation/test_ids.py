import numpy as np
import pandas as pd
import pytest

from kd_tfrs.errors import UserError
from kd_tfrs.evaluation.ids import Exclusions, IdIndex, as_ids


@pytest.mark.parametrize(
    "values",
    [
        ["b", "a"],
        np.array(["b", "a"]),
        np.array([b"b", b"a"], dtype=object),
        np.array([b"b", b"a"]),
        pd.Series(["b", "a"]),
        pd.Series(["b", "a"], dtype="string"),
        pd.Series(["b", "a"], dtype="category"),
    ],
)
def test_text_of_any_container_becomes_python_strings(values):
    ids = as_ids(values)
    assert ids.dtype == object
    assert ids.tolist() == ["b", "a"]
    assert all(type(value) is str for value in ids)


@pytest.mark.parametrize(
    "values",
    [[2, 1], np.array([2, 1], np.int32), pd.Series([2, 1], dtype="Int64")],
)
def test_integers_of_any_container_become_int64(values):
    ids = as_ids(values)
    assert ids.dtype == np.int64
    assert ids.tolist() == [2, 1]


def test_non_ascii_bytes_are_decoded():
    assert as_ids(np.array(["ü".encode()], object)).tolist() == ["ü"]


@pytest.mark.parametrize(
    "values", [[1.0, 2.0], ["a", 1], ["a", None], [True, False]]
)
def test_other_kinds_are_refused(values):
    with pytest.raises(UserError, match="all integers or all text"):
        as_ids(np.array(values, object), "item_id")


def test_index_orders_integers_by_value_and_text_by_code_point():
    assert IdIndex([10, 9, 100]).ids.tolist() == [9, 10, 100]
    assert IdIndex(["9", "10", "B", "a"]).ids.tolist() == ["10", "9", "B", "a"]


def test_index_keeps_the_shape_and_marks_unknown_ids():
    index = IdIndex([30, 10, 20])
    assert index.positions([[10, 99], [30, 20]]).tolist() == [[0, -1], [2, 1]]
    assert index.order.tolist() == [1, 2, 0]


def test_index_refuses_duplicates_nothing_and_the_other_kind():
    with pytest.raises(UserError, match="distinct"):
        IdIndex([1, 1])
    with pytest.raises(UserError, match="at least one"):
        IdIndex([])
    with pytest.raises(UserError, match="of kind integer"):
        IdIndex([1]).positions(["1"])


def test_exclusions_of_lists_blocks_and_padding():
    exclude = Exclusions.of([[7], [], [8, 9]], 3)
    assert exclude.rows.tolist() == [0, 2, 2]
    lowest = np.iinfo(np.int64).min
    assert exclude.padded().tolist() == [
        [7, lowest],
        [lowest, lowest],
        [8, 9],
    ]
    assert exclude.block(1, 3).padded(-1).tolist() == [[-1, -1], [8, 9]]


def test_text_exclusions_are_padded_with_empty_text():
    assert Exclusions.of([["x"], []], 2).padded().tolist() == [["x"], [""]]


def test_no_exclusions_still_have_a_column():
    assert Exclusions.of(None, 2).padded().shape == (2, 1)
    assert Exclusions.of([[], []], 2).padded("").tolist() == [[""], [""]]


def test_exclusions_need_a_row_for_each_query():
    with pytest.raises(UserError, match="1 rows for 2 queries"):
        Exclusions.of([[1]], 2)
