"""Both stages against their products, written as loops."""

import numpy as np
import pytest
from list_checks import ListLossChecks, lists

from kd_tfrs.distillation.losses.easy_to_hard import EasyToHard
from kd_tfrs.distillation.losses.relaxed_ranking import RelaxedRanking
from kd_tfrs.errors import UserError


class TestEasyStage(ListLossChecks):
    def make(self, **options):
        return EasyToHard(10, **options)

    def changed(self):
        return EasyToHard(5, name="other")

    def reference(self, t, s, mask, listed):
        unlisted = [s[j] for j in range(listed, len(s)) if mask[j]]
        total = 0.0
        for k in range(listed):
            if mask[k]:
                rest = np.array([s[k], *unlisted])
                top = rest.max()
                total += top + np.log(np.exp(rest - top).sum()) - s[k]
        return total


class TestHardStage(ListLossChecks):
    """Of a list of 5: its first 2 in order, and its first one."""

    def make(self, **options):
        return EasyToHard(0, **options)

    def changed(self):
        return EasyToHard(5, name="other")

    def reference(self, t, s, mask, listed):
        total = 0.0
        for count in (2, 1):
            kept = [j for j in range(len(s)) if mask[j]]
            for k in range(count):
                if mask[k]:
                    rest = s[[j for j in kept if j >= k]]
                    top = rest.max()
                    total += top + np.log(np.exp(rest - top).sum()) - s[k]
        return total / 2


def test_the_stages_change_at_the_step():
    t, s = lists()
    loss = EasyToHard(10)
    for step, other in ((9, EasyToHard(20)), (10, EasyToHard(0))):
        np.testing.assert_array_equal(
            loss(t, s, listed=5, step=step), other(t, s, listed=5)
        )


def test_a_list_of_twenty_counts_ten_and_two():
    t, s = lists(listed=20)
    halves = [RelaxedRanking()(t, s, listed=k) for k in (10, 2)]
    np.testing.assert_allclose(
        EasyToHard(0)(t, s, listed=20), np.mean(halves), rtol=1e-6
    )


def test_the_first_stage_sees_no_order():
    t, s = lists()
    mixed = s[:, [4, 2, 0, 1, 3, 5, 6, 7, 8]]
    loss = EasyToHard(10)
    np.testing.assert_allclose(
        loss(t, mixed, listed=5), loss(t, s, listed=5), rtol=1e-6
    )


def test_a_list_without_unlisted_candidates_is_easy():
    t, s = lists(shared=0)
    assert EasyToHard(10)(t, s, listed=5) == 0.0


def test_a_negative_step_is_refused():
    with pytest.raises(UserError, match="hard_from_step"):
        EasyToHard(-1)
