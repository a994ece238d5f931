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


def test_the_second_stage_is_relaxed_ranking():
    t, s = lists()
    loss = EasyToHard(10)
    for step in (10, 11):
        np.testing.assert_array_equal(
            loss(t, s, listed=5, step=step),
            RelaxedRanking()(t, s, listed=5),
        )
    assert float(loss(t, s, listed=5, step=9)) < float(
        loss(t, s, listed=5, step=10)
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
