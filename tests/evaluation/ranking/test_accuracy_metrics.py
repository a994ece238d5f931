"""Closed forms by hand; the whole protocol against ranx is a file of its own.

One user with 3 relevant items and the hits at ranks 2 and 4 of 5.
"""

import numpy as np
import pytest

from kd_tfrs.evaluation.retrieval import metrics

HITS = np.array([[False, True, False, True, False]])
RELEVANT = np.array([3])


@pytest.mark.parametrize(
    ("k", "recall", "precision"),
    [(1, 0, 0), (2, 1 / 3, 1 / 2), (4, 2 / 3, 2 / 4), (5, 2 / 3, 2 / 5)],
)
def test_recall_precision_f1_and_hit_rate(k, recall, precision):
    assert metrics.recall_at_k(HITS, RELEVANT, k) == pytest.approx(recall)
    assert metrics.precision_at_k(HITS, RELEVANT, k) == pytest.approx(precision)
    assert metrics.hit_rate_at_k(HITS, RELEVANT, k) == (recall > 0)
    both = precision + recall
    f1 = 2 * precision * recall / both if both else 0
    assert metrics.f1_at_k(HITS, RELEVANT, k) == pytest.approx(f1)


def test_ndcg_is_the_gain_over_the_ideal_gain():
    gain = 1 / np.log2(3) + 1 / np.log2(5)
    ideal = 1 / np.log2(2) + 1 / np.log2(3) + 1 / np.log2(4)
    found = metrics.ndcg_at_k(HITS, RELEVANT, 5)
    assert found == pytest.approx(gain / ideal)
    # At 2 only two of the three can be there: the ideal has two terms.
    gain, ideal = 1 / np.log2(3), 1 + 1 / np.log2(3)
    assert metrics.ndcg_at_k(HITS, RELEVANT, 2) == pytest.approx(gain / ideal)


def test_a_perfect_list_has_all_ones():
    hits, relevant = np.ones((1, 3), bool), np.array([3])
    assert metrics.ndcg_at_k(hits, relevant, 3) == pytest.approx(1)
    assert metrics.average_precision(hits, relevant) == 1
    assert metrics.reciprocal_rank(hits) == 1
    assert metrics.f1_at_k(hits, relevant, 3) == 1


def test_reciprocal_rank_and_average_precision():
    assert metrics.reciprocal_rank(HITS) == 1 / 2
    # Precision is 1/2 at rank 2 and 2/4 at rank 4; 3 items are relevant.
    found = metrics.average_precision(HITS, RELEVANT)
    assert found == pytest.approx((1 / 2 + 2 / 4) / 3)


def test_no_hit_is_zero_everywhere():
    hits, relevant = np.zeros((1, 5), bool), np.array([2])
    assert metrics.recall_at_k(hits, relevant, 5) == 0
    assert metrics.ndcg_at_k(hits, relevant, 5) == 0
    assert metrics.f1_at_k(hits, relevant, 5) == 0
    assert metrics.reciprocal_rank(hits) == 0
    assert metrics.average_precision(hits, relevant) == 0


def test_a_list_shorter_than_k_still_divides_by_k():
    hits = np.array([[True]])
    assert metrics.precision_at_k(hits, np.array([1]), 10) == 1 / 10
    assert metrics.ndcg_at_k(hits, np.array([1]), 10) == 1
