"""Pairs of equally popular items: groups, chances and values."""

import numpy as np
import pytest
from list_checks import NONE, ListLossChecks, lists

from kd_tfrs.distillation.losses.unbiased import (
    UnbiasedPairs,
    popularity_groups,
)
from kd_tfrs.errors import UserError

# Of 12 catalogue rows.
GROUPS = np.array([4, 0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 4])
ROWS = np.arange(1, 10, dtype=np.int32)


class TestUnbiasedPairs(ListLossChecks):
    """With two candidates a group: only one pair can be drawn."""

    rows = ROWS

    def make(self, **options):
        return UnbiasedPairs(GROUPS, pairs_per_group=64, **options)

    def changed(self):
        return UnbiasedPairs(GROUPS // 2, 3, 2.5, name="other")

    def reference(self, t, s, mask, listed):
        values = []
        for group in range(5):
            members = [j for j, row in enumerate(ROWS) if GROUPS[row] == group]
            if len(members) == 2 and mask[members].all():
                i, j = sorted(members, key=lambda k: -t[k])
                values.append(np.logaddexp(0, s[j] - s[i]))
        return np.mean(values) if values else 0.0

    def test_candidates_without_lists_are_refused(self):
        t, s = lists()
        value = self.make()(t, s, rows=ROWS)
        np.testing.assert_allclose(value, self.expected(t, s), rtol=1e-5)

    def test_rows_of_each_query(self):
        t, s = lists()
        np.testing.assert_array_equal(
            self.make()(t, s, rows=np.tile(ROWS, (6, 1))),
            self.make()(t, s, rows=ROWS),
        )


def test_the_chances_of_a_pair():
    # One group of three, ranked 2, 0, 1 by the teacher; mu = 1.
    t = np.tile(np.float32([[2.0, 1.0, 3.0]]), (6000, 1))
    s = np.tile(np.float32([[0.3, 0.0, 1.0]]), (6000, 1))
    rows = UnbiasedPairs(np.zeros(3, int), 1, rank_decay=1.0, reduction=NONE)(
        t, s, rows=np.arange(3)
    ).numpy()
    p = np.exp(-np.arange(3.0))
    p /= p.sum()
    order = [2, 0, 1]
    for i in range(3):
        for j in range(i + 1, 3):
            value = np.logaddexp(0, s[0][order[j]] - s[0][order[i]])
            share = np.isclose(rows, value, rtol=1e-5).mean()
            np.testing.assert_allclose(share, 2 * p[i] * p[j], atol=5 * 0.0065)
    # Else the same item came twice.
    twice = np.sum(p**2)
    np.testing.assert_allclose((rows == 0).mean(), twice, atol=5 * 0.0065)


def test_groups_never_meet():
    # A popular item far below an unpopular one, against the teacher.
    t = np.float32([[9.0, 8.0, 1.0, 0.0]])
    s = np.float32([[-50.0, -60.0, 50.0, 40.0]])
    loss = UnbiasedPairs([0, 0, 1, 1], 64)
    assert float(loss(t, s, rows=np.arange(4))) < 1e-3


def test_draws_depend_on_the_step_alone():
    t, s = lists(queries=50)
    loss = UnbiasedPairs(np.zeros(12, int), 1)
    values = [float(loss(t, s, rows=ROWS, step=x)) for x in (3, 3, 4)]
    assert values[0] == values[1] != values[2]


@pytest.mark.parametrize("num_groups", [1, 2, 5])
def test_groups_have_about_the_same_events(num_groups):
    events = (1000 / np.arange(1, 301)).astype(int)
    events = np.random.default_rng(0).permutation(events)
    groups = popularity_groups(events, num_groups)
    assert groups.dtype == np.int32
    sums = np.bincount(groups, weights=events, minlength=num_groups)
    # No sum can be nearer than the largest item.
    assert np.abs(sums - events.sum() / num_groups).max() <= events.max()
    for g in range(num_groups - 1):
        assert events[groups == g].min() >= events[groups == g + 1].max()


def test_groups_of_nothing():
    np.testing.assert_array_equal(popularity_groups(np.zeros(3), 2), 0)
    with pytest.raises(UserError, match="should not exceed"):
        popularity_groups(np.ones(3), 4)


def test_rows_have_to_be_known():
    with pytest.raises(UserError, match="catalogue rows"):
        UnbiasedPairs(GROUPS)(*lists())


@pytest.mark.parametrize(
    "options",
    [
        {"groups": [0.5, 1.0]},
        {"groups": [-1, 0]},
        {"groups": []},
        {"pairs_per_group": 0},
        {"rank_decay": 0.0},
    ],
)
def test_arguments_out_of_range(options):
    with pytest.raises(UserError, match=next(iter(options))):
        UnbiasedPairs(**{"groups": GROUPS, **options})


def test_items_without_events_are_in_the_last_group():
    # Middles 3/2, 7/2 and 4 of 4 events, in halves: 0, 1, and the end.
    assert popularity_groups(np.array([3, 0, 1]), 2).tolist() == [0, 1, 1]


def test_every_item_may_be_a_group_of_its_own():
    # Equal popularity: the middles 1/2, 3/2 and 5/2 of 3 events.
    assert popularity_groups(np.ones(3), 3).tolist() == [0, 1, 2]
    with pytest.raises(UserError, match="`num_groups` = 4 of 3 items"):
        popularity_groups(np.ones(3), 4)
