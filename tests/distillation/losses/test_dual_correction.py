"""Dual correction against ranks and products written as loops."""

import numpy as np
import pytest
from list_checks import NONE, ListLossChecks, lists

from kd_tfrs.distillation.losses.dual_correction import DualCorrection
from kd_tfrs.errors import UserError

N = 60


def ranks(s, mask, listed):
    """The student's rank minus the teacher's, counted from 0."""
    unlisted = [s[j] for j in range(listed, len(s)) if mask[j]]
    gaps = np.zeros(listed)
    for k in range(listed):
        inside = sum(mask[j] and s[j] > s[k] for j in range(listed))
        above = sum(c > s[k] for c in unlisted)
        outside = above / len(unlisted) * (N - listed) if unlisted else 0.0
        gaps[k] = inside + outside - k
    return gaps


class TestDualCorrection(ListLossChecks):
    """With sets as large as the list: nothing is left to chance."""

    def make(self, **options):
        return DualCorrection(N, num_corrected=5, **options)

    def changed(self):
        return DualCorrection(N + 1, 2, 0.7, name="other")

    def reference(self, t, s, mask, listed):
        gaps = ranks(s, mask, listed)
        under = [k for k in range(listed) if mask[k] and gaps[k] > 0]
        candidates = [k for k in range(listed) if mask[k] and gaps[k] < 0]
        total = 0.0
        for place, k in enumerate(under):
            rest = s[under[place:] + candidates]
            top = rest.max()
            total += top + np.log(np.exp(rest - top).sum()) - s[k]
        return total


def test_a_student_of_the_teachers_order_has_nothing_to_correct():
    s = np.array([[3.0, 2.0, 1.0, 0.0, -1.0]], np.float32)
    assert DualCorrection(N)(s, s, listed=3) == 0.0


def test_the_draw_follows_the_discrepancy():
    # The student has the order 2, 3, 1 (and no unlisted candidate above):
    # item 1 fell by 2 ranks, items 2 and 3 rose by 1 each. One of the two is
    # drawn as over-estimated, with equal chances.
    s = np.tile(np.float32([[0.0, 2.0, 1.0, -9.0]]), (4000, 1))
    rows = DualCorrection(N, num_corrected=1, reduction=NONE)(
        s, s, listed=3
    ).numpy()
    above = np.logaddexp(0, [2.0, 1.0])
    hits = np.isclose(rows[:, None], above, atol=1e-5)
    assert hits.any(axis=1).all()
    np.testing.assert_allclose(hits.mean(axis=0), 0.5, atol=5 * 0.008)


def test_larger_discrepancies_are_drawn_more_often():
    # Items 1 and 2 are under-estimated by 3 and 1; weights tanh(eps * gap).
    s = np.tile(np.float32([[0.0, 0.5, 3.0, 2.0, -9.0]]), (4000, 1))
    rows = DualCorrection(N, 1, sharpness=0.5, reduction=NONE)(
        s, s, listed=4
    ).numpy()
    # Items 3 and 4 rose by 2 each.
    gaps = ranks(s[0], np.ones(5, bool), 4)
    np.testing.assert_array_equal(gaps, [3, 1, -2, -2])
    weights = np.tanh(0.5 * np.array([3, 1]))
    first = np.isclose(rows[:, None], np.logaddexp(0, [3.0, 2.0])).any(axis=1)
    np.testing.assert_allclose(
        first.mean(), weights[0] / weights.sum(), atol=5 * 0.008
    )


def test_draws_depend_on_the_step_alone():
    t, s = lists(queries=50)
    loss = DualCorrection(N, num_corrected=1)
    values = [float(loss(t, s, listed=5, step=x)) for x in (3, 3, 4)]
    assert values[0] == values[1] != values[2]


def test_the_order_of_the_list_is_enough():
    t, s = lists(shared=0)
    assert np.isfinite(DualCorrection(N)(t, s, listed=5))


@pytest.mark.parametrize(
    "options",
    [{"num_candidates": 0}, {"num_corrected": 0}, {"sharpness": 0.0}],
)
def test_numbers_out_of_range(options):
    with pytest.raises(UserError, match=next(iter(options))):
        DualCorrection(**{"num_candidates": N, **options})
