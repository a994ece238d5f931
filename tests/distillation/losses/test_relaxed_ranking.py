"""Relaxed ranking against the product of the paper, and by hand."""

import itertools
import math

import numpy as np
from list_checks import ListLossChecks, lists, slope

from kd_tfrs.distillation.losses.relaxed_ranking import RelaxedRanking


class TestRelaxedRanking(ListLossChecks):
    def make(self, **options):
        return RelaxedRanking(**options)

    def reference(self, t, s, mask, listed):
        """-log prod_k exp(s_k) / (sum_{j>=k} exp(s_j) + sum_l exp(s_l))."""
        order = [k for k in range(listed) if mask[k]]
        unlisted = [j for j in range(listed, len(s)) if mask[j]]
        total = 0.0
        for place, k in enumerate(order):
            rest = s[order[place:] + unlisted]
            # Shifted by the largest, so that the reference survives 1e4.
            top = rest.max()
            total += top + np.log(np.exp(rest - top).sum()) - s[k]
        return total


def test_equal_scores_are_a_product_of_chances():
    # Of 3 + 2 candidates the first is drawn, then of 4, then of 3.
    value = RelaxedRanking()(np.zeros((2, 5)), np.zeros((2, 5)), listed=3)
    np.testing.assert_allclose(value, math.log(5 * 4 * 3), rtol=1e-6)


def test_the_orders_of_a_list_alone_have_a_total_probability_of_one():
    s = lists(queries=1, listed=4, shared=0)[1]
    loss = RelaxedRanking()
    chances = [
        math.exp(-float(loss(s, s[:, list(order)], listed=4)))
        for order in itertools.permutations(range(4))
    ]
    np.testing.assert_allclose(sum(chances), 1.0, rtol=1e-5)


def test_a_student_of_the_same_order_far_apart_has_nothing_to_learn():
    t = np.array([[300.0, 200.0, 100.0, 0.0, 0.0]], np.float32)
    value, gradient = slope(RelaxedRanking(), t, t, listed=3)
    np.testing.assert_allclose(value, 0.0, atol=1e-6)
    np.testing.assert_allclose(gradient, 0.0, atol=1e-6)


def test_unlisted_candidates_have_no_order():
    t, s = lists()
    mixed = s[:, [0, 1, 2, 3, 4, 8, 6, 5, 7]]
    loss = RelaxedRanking()
    np.testing.assert_allclose(
        loss(t, mixed, listed=5), loss(t, s, listed=5), rtol=1e-6
    )


def test_only_the_teachers_order_counts():
    t, s = lists()
    loss = RelaxedRanking()
    np.testing.assert_array_equal(
        loss(7 * t - 3, s, listed=5), loss(t, s, listed=5)
    )


def test_a_constant_changes_nothing():
    t, s = lists()
    loss = RelaxedRanking()
    np.testing.assert_allclose(
        loss(t, s + 9, listed=5), loss(t, s, listed=5), rtol=1e-5
    )
