"""Counts, means and histories, against a loop over the events."""

import numpy as np
import pytest

from kd_tfrs.data.ranking.event_history import SortedEvents


def drawn(seed, events=120, queries=80, kind=np.int64):
    """Events and queries with many equal times and few keys."""
    rng = np.random.default_rng(seed)
    keys = rng.integers(0, 6, events)
    times = rng.integers(0, 25, events).astype(kind) / kind(1)
    query_keys = rng.integers(0, 8, queries)
    query_times = rng.integers(-2, 28, queries).astype(kind)
    return keys, times.astype(kind), query_keys, query_times


def earlier(keys, times, key, time):
    """Numbers of the earlier events, oldest first, ties by row."""
    rows = [i for i in range(len(keys)) if keys[i] == key and times[i] < time]
    return sorted(rows, key=lambda i: (times[i], i))


@pytest.mark.parametrize("kind", [np.int64, np.float64])
@pytest.mark.parametrize("seed", range(3))
def test_counts_means_and_newest_are_those_of_a_loop(seed, kind):
    keys, times, query_keys, query_times = drawn(seed, kind=kind)
    values = np.random.default_rng(9).normal(size=len(keys))
    ids = np.arange(1000, 1000 + len(keys))
    window = SortedEvents(keys, times).before(query_keys, query_times)
    counts, means = window.counts(), window.means(values)
    newest = window.newest(ids, 4)
    queries = zip(query_keys, query_times, strict=True)
    for row, (key, time) in enumerate(queries):
        before = earlier(keys, times, key, time)
        assert counts[row] == len(before)
        if before:
            np.testing.assert_allclose(means[row], values[before].mean())
        else:
            assert np.isnan(means[row])
        expected = ids[before[::-1][:4]].tolist()
        assert newest[row].tolist() == expected + [-1] * (4 - len(expected))


def test_text_is_padded_with_empty_strings():
    index = SortedEvents(np.array([0, 0, 1]), np.array([1, 2, 3]))
    ids = np.array(["a", "b", "c"], dtype=object)
    window = index.before(np.array([0, 1, 1]), np.array([9, 3, 4]))
    assert window.newest(ids, 3).tolist() == [
        ["b", "a", ""],
        ["", "", ""],
        ["c", "", ""],
    ]


def test_events_of_one_time_are_not_before_each_other():
    index = SortedEvents(np.zeros(3, int), np.array([5, 5, 5]))
    np.testing.assert_array_equal(
        index.before(np.zeros(3, int), np.array([5, 6, 4])).counts(), [0, 3, 0]
    )


def test_infinity_is_after_everything():
    keys, times, *_ = drawn(0)
    counts = (
        SortedEvents(keys, times)
        .before(np.arange(6), np.full(6, np.inf))
        .counts()
    )
    np.testing.assert_array_equal(counts, np.bincount(keys, minlength=6))


def test_without_events():
    nothing = np.array([], int)
    window = SortedEvents(nothing, nothing).before(
        np.array([0, 3]), np.array([1, 2])
    )
    np.testing.assert_array_equal(window.counts(), [0, 0])
    assert np.isnan(window.means(np.array([]))).all()
    assert window.newest(nothing, 2).tolist() == [[-1, -1], [-1, -1]]
