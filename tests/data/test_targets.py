"""Labels by task: which column, what is missing, what is refused."""

import numpy as np
import pandas as pd
import pytest

from kd_tfrs.data import Column, Schema, clean
from kd_tfrs.data.ranking.batches import RankingBatches
from kd_tfrs.data.ranking.examples import build_examples
from kd_tfrs.data.ranking.priors import balanced_class_weights
from kd_tfrs.data.splits import Split, by_time
from kd_tfrs.data.targets import check_tasks, task_labels
from kd_tfrs.errors import UserError

NAN = np.nan
SCHEMA = Schema(
    (
        Column("u", "user", "id"),
        Column("i", "item", "id"),
        Column("shared", "event", "category"),
        Column("at", "event", "time"),
        Column("stars", "event", "label"),
    )
)


def frame(**columns):
    """Events of one user, an hour apart, each of another item."""
    count = len(next(iter(columns.values())))
    events = {
        "u": [1] * count,
        "i": range(10, 10 + count),
        "shared": [0] * count,
        "at": 86_400 + 3_600 * np.arange(count),
        "stars": [3.0] * count,
    }
    return pd.DataFrame({**events, **columns})


def test_a_column_of_the_tasks_name_is_the_task():
    events = pd.DataFrame({"stars": [1.0, 5.0], "rating": [0.5, 0.25]})
    np.testing.assert_array_equal(
        task_labels(events, SCHEMA, "rating"), np.float32([0.5, 0.25])
    )
    np.testing.assert_array_equal(
        task_labels(events[["stars"]], SCHEMA, "rating"), [1.0, 5.0]
    )
    np.testing.assert_array_equal(task_labels(events, SCHEMA, "liked"), [0, 1])


@pytest.mark.parametrize(
    ("columns", "tasks", "message"),
    [
        (["stars"], ["rating", "stars"], "'rating' and 'stars'.*'stars'"),
        (["stars"], ["stars", "liked", "rating"], "both the column 'stars'"),
        (["stars", "u"], ["u"], "no id or time"),
    ],
)
def test_ambiguous_tasks_are_refused(columns, tasks, message):
    with pytest.raises(UserError, match=message) as caught:
        check_tasks(columns, SCHEMA, tasks)
    assert "\n" not in str(caught.value)


def test_a_time_called_rating_is_not_the_label():
    ids, label = SCHEMA.columns[:2], SCHEMA.columns[4]
    schema = Schema((*ids, Column("rating", "event", "time"), label))
    with pytest.raises(UserError, match="Received: 'rating'"):
        check_tasks(["u", "i", "rating", "stars"], schema, ["rating"])


def test_different_labels_go_together():
    check_tasks(["stars", "rating"], SCHEMA, ["stars", "rating", "liked"])
    check_tasks(["stars"], SCHEMA, ["rating", "liked"])


@pytest.mark.parametrize(
    ("cells", "wanted"),
    [
        ([1.0, None, 0.0], [1, NAN, 0]),
        (["1", "", " "], [1, NAN, NAN]),
        ([True, None, False], [1, NAN, 0]),
        ([True, False, True], [1, 0, 1]),
        (pd.array([2, None, 3], "Int64"), [2, NAN, 3]),
    ],
)
def test_missing_cells_are_nan(cells, wanted):
    labels = task_labels(pd.DataFrame({"like": cells}), SCHEMA, "like")
    assert labels.dtype == np.float32
    np.testing.assert_array_equal(labels, np.float32(wanted))


@pytest.mark.parametrize(
    "cells", [[1.0, np.inf], ["1", "yes"], ["1", "nan?"], [0.0, 1e300]]
)
def test_text_and_infinities_are_refused(cells):
    with pytest.raises(UserError, match=r"numbers, or empty.*in event 2"):
        task_labels(pd.DataFrame({"like": cells}), SCHEMA, "like")


def test_whether_a_missing_rating_is_liked_is_missing():
    events = pd.DataFrame({"stars": [5.0, NAN, 1.0]})
    np.testing.assert_array_equal(
        task_labels(events, SCHEMA, "liked"), np.float32([1, NAN, 0])
    )


def test_keep_unlabelled_keeps_events_without_a_label():
    events = frame(stars=[4.0, NAN, np.inf, 2.0])
    kept = clean(events, None, None, SCHEMA, keep_unlabelled=True)
    np.testing.assert_array_equal(kept.events["stars"], [4.0, NAN, 2.0])
    assert kept.report.bad_label == 1
    dropped = clean(events, None, None, SCHEMA)
    assert dropped.events["stars"].tolist() == [4.0, 2.0]
    assert dropped.report.bad_label == 2


def test_missing_labels_are_in_no_history_and_no_mean():
    """One user: stars 4, none, 2, 5; the mean before each by hand."""
    events = frame(
        stars=[4.0, NAN, 2.0, 5.0, 1.0], shared=["1", "", "0", "1", "1"]
    )
    data = clean(events, None, None, SCHEMA, keep_unlabelled=True)
    parts = Split(
        data.events.iloc[:4], data.events.iloc[4:], data.events.iloc[4:]
    )
    built = build_examples(
        data, parts, ["shared", "liked"], 3, history_task="shared", online=True
    )
    table = built.train.table
    np.testing.assert_array_equal(table["user_events"], [0, 1, 2, 3])
    np.testing.assert_array_equal(table["user_mean_label"], [NAN, 4, 4, 3])
    # Item 11 was shown; whether it was shared is missing.
    assert built.train.history.tolist() == [
        [-1, -1, -1],
        [10, -1, -1],
        [10, -1, -1],
        [10, -1, -1],
    ]
    np.testing.assert_array_equal(
        built.train.labels["liked"], np.float32([1, NAN, 0, 1])
    )
    assert "shared 0.667 of 3" in str(built)


@pytest.mark.parametrize(
    ("shared", "message"),
    [
        ([""] * 10, "should have labels. Received: 10 events without one"),
        ([""] * 8 + ["1", "0"], "no training label, and 2 others"),
    ],
)
def test_a_task_needs_labels_to_train_on(shared, message):
    data = clean(frame(shared=shared), None, None, SCHEMA)
    with pytest.raises(UserError, match=message) as caught:
        build_examples(data, by_time(data), ["liked", "shared"])
    assert "'shared'" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_rows_without_a_label_have_no_class():
    labels = np.float32([1, 0, 0, 0, 0, NAN, NAN, NAN])
    # Of the five that have one, four are negative: 5 / (2 * 4) and 5 / 2.
    weights = balanced_class_weights(labels)
    assert weights == {0: 5 / 8, 1: 5 / 2}
    batches = RankingBatches(
        {"x": np.arange(8)},
        {"like": labels, "click": np.ones(8)},
        batch_size=8,
        negative_rate=0.5,
        class_weights=weights,
    )
    # One positive, two of four negatives, and the three that are neither.
    assert batches.num_events == 6
    assert batches.negative_rate == 0.5
    batch = next(iter(batches.dataset(1)))
    rows, weight = batch["row"].numpy(), batch["weight"].numpy()
    assert {0, 5, 6, 7} <= {*rows.tolist()}
    np.testing.assert_allclose(weight[rows >= 5], 1.0)
    np.testing.assert_allclose(weight[rows == 0], 5 / 2)
