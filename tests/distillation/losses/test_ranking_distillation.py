"""Ranking distillation against Tang and Wang's weights, written as loops."""

import numpy as np
import pytest
from list_checks import ListLossChecks, lists

from kd_tfrs.distillation.losses.ranking_distillation import RankingDistillation
from kd_tfrs.errors import UserError

N = 50


def reference(s, mask, listed, decay=1.0, mu=0.1, warm=False, renormalize=True):
    unlisted = [s[j] for j in range(listed, len(s)) if mask[j]]
    position, hybrid = np.zeros(listed), np.zeros(listed)
    for r in range(1, listed + 1):
        if mask[r - 1]:
            position[r - 1] = np.exp(-r / decay)
    if not position.any():
        return 0.0
    position /= position.sum()
    for r in range(1, listed + 1):
        above = sum(c > s[r - 1] for c in unlisted)
        share = above / len(unlisted) if unlisted else 0.0
        rank = np.floor(np.float32(share) * (N - 1)) + 1
        hybrid[r - 1] = position[r - 1] * np.tanh(max(mu * (rank - r), 0))
    if renormalize and hybrid.any():
        hybrid /= hybrid.sum()
    weights = position if warm else hybrid
    return sum(
        w * np.logaddexp(0, -x)
        for w, x in zip(weights, s[:listed], strict=True)
    )


class TestHybridWeights(ListLossChecks):
    def make(self, **options):
        return RankingDistillation(N, warm_up_steps=0, **options)

    def changed(self):
        return RankingDistillation(
            N + 9, 2.5, 0.03, 7, renormalize=False, name="other"
        )

    def reference(self, t, s, mask, listed):
        return reference(s, mask, listed)


class TestWarmUp(TestHybridWeights):
    def make(self, **options):
        return RankingDistillation(N, rank_decay=3.0, **options)

    def reference(self, t, s, mask, listed):
        return reference(s, mask, listed, decay=3.0, warm=True)


class TestWithoutNormalization(TestHybridWeights):
    def make(self, **options):
        return RankingDistillation(
            N, 2.0, 0.02, warm_up_steps=0, renormalize=False, **options
        )

    def reference(self, t, s, mask, listed):
        return reference(s, mask, listed, 2.0, 0.02, renormalize=False)


def test_ranks_count_from_the_step_after_the_warm_up():
    t, s = lists()
    loss = RankingDistillation(N, warm_up_steps=3)
    static = RankingDistillation(N, warm_up_steps=99)
    hybrid = RankingDistillation(N, warm_up_steps=0)
    for step in range(6):
        twin = static if step < 3 else hybrid
        np.testing.assert_array_equal(
            loss(t, s, step=step, listed=5),
            twin(t, s, step=step, listed=5),
        )
    assert float(static(t, s, listed=5)) != float(hybrid(t, s, listed=5))


def test_by_hand():
    # Item 1 stands above the unlisted: rank 1, no discrepancy. Item 2 below
    # both: rank 1 + 50 - 1, so that it takes all of the weight.
    s = np.array([[2.0, -1.0, 0.0, 1.0]], np.float32)
    value = RankingDistillation(N, warm_up_steps=0)(s, s, listed=2)
    np.testing.assert_allclose(value, np.log1p(np.exp(1.0)), rtol=1e-6)


def test_what_the_student_ranks_as_high_has_nothing_to_learn():
    s = np.array([[3.0, 2.0, 1.0, 0.0, -1.0]], np.float32)
    assert RankingDistillation(N, warm_up_steps=0)(s, s, listed=3) == 0.0


def test_lists_without_unlisted_candidates_raise_an_error():
    t, s = lists(shared=0)
    with pytest.raises(UserError, match="random candidates beside the lists"):
        RankingDistillation(N)(t, s, listed=5)


@pytest.mark.parametrize(
    "options",
    [
        {"num_candidates": 0},
        {"rank_decay": 0.0},
        {"sharpness": -1.0},
        {"warm_up_steps": -1},
    ],
)
def test_numbers_out_of_range(options):
    with pytest.raises(UserError, match=next(iter(options))):
        RankingDistillation(**{"num_candidates": N, **options})
