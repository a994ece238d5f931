from itertools import combinations

import numpy as np
import pytest
import scipy.sparse as sp

from kd_tfrs.evaluation.retrieval import list_metrics


def test_coverage_counts_distinct_items_of_the_first_k():
    ranked = np.array([[0, 1], [0, 2], [-1, -1]])
    assert list_metrics.coverage_at_k(ranked, 5, 1) == 1 / 5
    assert list_metrics.coverage_at_k(ranked, 5, 2) == 3 / 5


@pytest.mark.parametrize(
    ("counts", "gini"),
    [
        ([1, 1, 1, 1], 0),
        ([0, 0, 0, 4], 3 / 4),  # (n - 1) / n where one takes all
        # Half the mean absolute difference over the mean:
        # pairs (0,1) 1, (0,3) 3, (1,3) 2; 2 * 6 / 9 / (2 * 4 / 3).
        ([0, 1, 3], 0.5),
    ],
)
def test_gini_of_known_counts(counts, gini):
    items = np.repeat(np.arange(len(counts)), counts)
    found = list_metrics.gini_at_k(items[:, None], len(counts), 1)
    assert found == pytest.approx(gini)


def test_gini_without_recommendations_is_zero():
    assert list_metrics.gini_at_k(np.array([[-1]]), 3, 1) == 0


def test_mean_of_a_property_leaves_out_the_end_of_a_list():
    ranked = np.array([[0, 2], [1, -1], [-1, -1]])
    values = np.array([1.0, 5.0, 3.0])
    found = list_metrics.mean_at_k(values, ranked, 2)
    assert found.tolist() == [2.0, 5.0, 0.0]


def test_self_information_is_the_surprise_in_bits():
    # 6 events of 2 items, one added to each: shares 6/8 and 2/8.
    found = list_metrics.self_information(np.array([5, 1]))
    np.testing.assert_allclose(found, [-np.log2(6 / 8), 2.0])


@pytest.mark.parametrize("make", [np.asarray, sp.csr_matrix])
def test_diversity_is_the_mean_over_pairs(make):
    random = np.random.default_rng(0)
    vectors = random.random((9, 4)) * (random.random((9, 4)) > 0.3)
    vectors[0] = 0  # similar to nothing, not even to itself
    ranked = np.array([random.permutation(9)[:5] for _ in range(6)])
    ranked[1, 3:] = -1
    ranked[2, 1:] = -1
    ranked[3] = -1
    unit = list_metrics.unit_rows(make(vectors))
    found = list_metrics.diversity_at_k(unit, ranked, 4)
    expected = []
    for row in ranked:
        pairs = list(combinations([i for i in row[:4] if i >= 0], 2))
        lengths = np.maximum(1e-12, np.linalg.norm(vectors, axis=1))
        cosines = [
            vectors[i] @ vectors[j] / (lengths[i] * lengths[j])
            for i, j in pairs
        ]
        expected.append(np.mean(1 - np.array(cosines)) if pairs else 0)
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_equal_items_have_no_diversity_and_unrelated_items_have_all():
    same = np.ones((2, 3)) / np.sqrt(3)
    ranked = np.array([[0, 1]])
    assert list_metrics.diversity_at_k(same, ranked, 2) == pytest.approx(0)
    assert list_metrics.diversity_at_k(np.eye(2), ranked, 2) == 1


def test_diversity_does_not_depend_on_the_blocks(monkeypatch):
    random = np.random.default_rng(0)
    vectors = list_metrics.unit_rows(random.random((9, 4)))
    ranked = random.integers(0, 9, (50, 3))
    whole = list_metrics.diversity_at_k(vectors, ranked, 3)
    monkeypatch.setattr(list_metrics, "_BLOCK", 28)
    found = list_metrics.diversity_at_k(vectors, ranked, 3)
    np.testing.assert_allclose(found, whole)
    assert list_metrics.diversity_at_k(vectors, ranked[:0], 3).shape == (0,)


def test_a_sketch_keeps_the_diversity():
    random = np.random.default_rng(0)
    # Two kinds of items with users of their own: cosines of .2 and 0.
    taken = np.kron(np.eye(2), np.ones((20, 2000)))
    taken *= random.random(taken.shape) < 0.2
    vectors = list_metrics.unit_rows(sp.csr_matrix(taken))
    ranked = np.array([np.arange(20), np.arange(10, 30), np.arange(20, 40)])
    exact = list_metrics.diversity_at_k(vectors, ranked, 20)
    assert exact[0] == pytest.approx(0.8, abs=0.01)
    found = []
    for seed in range(30):
        sketch = list_metrics.sketch_columns(vectors, seed=seed)
        found.append(list_metrics.diversity_at_k(sketch, ranked, 20))
    # The promised standard deviation of a pair is sqrt(2 / 2048) = .031.
    assert np.abs(found - exact).max() < 0.05
    np.testing.assert_allclose(np.mean(found, axis=0), exact, atol=0.005)
