"""Swaps and their change of NDCG, written as loops."""

import numpy as np
from list_checks import ListLossChecks, lists

from kd_tfrs.distillation.losses.lambda_distill import LambdaDistill


def dcg(gains, ranks):
    return sum(g / np.log2(1 + r) for g, r in zip(gains, ranks, strict=True))


class TestLambdaDistill(ListLossChecks):
    def make(self, **options):
        return LambdaDistill(**options)

    def reference(self, t, s, mask, listed):
        items = [k for k in range(listed) if mask[k]]
        if not items:
            return 0.0
        gains = [(listed - k) / listed for k in items]
        ranks = [1 + sum(s[j] > s[k] for j in items) for k in items]
        best = dcg(gains, range(1, len(items) + 1))
        now, total = dcg(gains, ranks), 0.0
        for a in range(len(items)):
            for b in range(a + 1, len(items)):
                swapped = list(ranks)
                swapped[a], swapped[b] = swapped[b], swapped[a]
                change = abs(dcg(gains, swapped) - now) / best
                gap = s[items[b]] - s[items[a]]
                total += change * np.logaddexp(0, gap)
        return total


def test_a_student_of_the_same_order_far_apart_has_nothing_to_learn():
    t = np.array([[300.0, 200.0, 100.0, 0.0]], np.float32)
    np.testing.assert_allclose(LambdaDistill()(t, t, listed=3), 0.0, atol=1e-6)


def test_two_items_by_hand():
    # Gains 1 and 1/2, discounts 1 and 1/log2(3); the student has them wrong.
    s = np.array([[0.0, 1.0]], np.float32)
    change = 0.5 * (1 - 1 / np.log2(3)) / (1 + 0.5 / np.log2(3))
    np.testing.assert_allclose(
        LambdaDistill()(s, s, listed=2),
        change * np.log1p(np.exp(1.0)),
        rtol=1e-6,
    )


def test_only_the_order_of_the_teacher_counts():
    t, s = lists()
    np.testing.assert_array_equal(
        LambdaDistill()(5 * t, s, listed=5), LambdaDistill()(t, s, listed=5)
    )
