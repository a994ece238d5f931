"""Per user: the same as the metric of each user alone, and scikit-learn."""

import numpy as np
import pytest

from kd_tfrs.errors import UserError
from kd_tfrs.evaluation.ranking import metrics as ranking_metrics
from kd_tfrs.evaluation.ranking.grouped_metrics import gauc, user_ndcg
from kd_tfrs.evaluation.ranking.scored_rows import scored_rows


def impressions(seed, size=400, users=30):
    """Grades 0 to 4 with tied scores; users in no order."""
    random = np.random.default_rng(seed)
    groups = random.integers(0, users, size)
    labels = random.integers(0, 5, size)
    scores = np.round(random.normal(labels, 2))
    return labels, scores, groups, random.exponential(size=size)


def test_gauc_by_hand():
    # a: one pair, right. b: two negatives and a positive, one right and one
    # tied. c has one class.
    labels = [1, 0, 0, 0, 1, 1]
    scores = [2, 1, 0, 1, 1, 5]
    groups = list("aabbbc")
    found = gauc(labels, scores, groups)
    assert found.value == pytest.approx((2 * 1 + 3 * 0.75) / 5)
    assert (found.num_users, found.left_out) == (2, 1)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("seed", range(4))
def test_gauc_is_the_mean_of_the_auc_of_each_user(seed, weighted):
    labels, scores, groups, weights = impressions(seed)
    labels = (labels > 2).astype(int)
    weights = weights if weighted else np.ones(len(labels))
    values, shares = [], []
    for user in np.unique(groups):
        rows = groups == user
        value = ranking_metrics.auc(labels[rows], scores[rows], weights[rows])
        if value is not None:
            values.append(value)
            shares.append(weights[rows].sum())
    found = gauc(labels, scores, groups, weights)
    assert found.value == pytest.approx(np.average(values, weights=shares))
    assert found.num_users == len(values)
    rows = scored_rows(labels, scores, weights, groups)
    np.testing.assert_allclose(gauc.per_user(rows).values, values)


def test_a_user_without_a_row_in_a_slice_is_not_left_out_of_it():
    rows = scored_rows([1, 0, 1, 0], [2, 1, 1, 0], groups=list("abcc"))
    inside = rows.take(np.array([0, 2, 3]))
    # b has no row, a has one class, and c has a pair in the right order.
    found = gauc.per_user(inside)
    assert (found.values.tolist(), found.places.tolist()) == ([1.0], [2])
    assert found.left_out == 1


def test_gauc_of_one_user_is_auc():
    labels, scores, groups, weights = impressions(0)
    labels = labels > 2
    found = gauc(labels, scores, np.zeros_like(groups), weights)
    expected = ranking_metrics.auc(labels, scores, weights)
    assert found.value == pytest.approx(expected)


def test_gauc_is_blind_to_what_differs_between_users():
    labels, scores, groups, weights = impressions(1)
    labels = labels > 2
    expected = gauc(labels, scores, groups, weights)
    assert gauc(labels, scores + 100 * groups, groups, weights) == expected
    named = gauc(labels, scores, groups.astype(str), weights)
    assert named == pytest.approx(expected)


def test_one_class_everywhere_is_none_and_counted():
    assert gauc([1, 1, 0], [1, 2, 3], ["a", "a", "b"]) == (None, 0, 2)
    assert gauc([], [], []) == (None, 0, 0)
    # Rows of weight 0 make no class, and a user of such rows no user.
    found = gauc([1, 0, 0], [1, 2, 3], list("aab"), [1, 0, 0])
    assert found == (None, 0, 1)


@pytest.mark.parametrize("k", [1, 3, 10, 100])
@pytest.mark.parametrize("gain", ["linear", "exponential"])
def test_ndcg_agrees_with_scikit_learn(k, gain):
    ndcg_score = pytest.importorskip("sklearn.metrics").ndcg_score
    labels, scores, groups, _ = impressions(2)
    gains = labels if gain == "linear" else 2.0**labels - 1
    expected = []
    for user in np.unique(groups):
        rows = groups == user
        assert len(np.unique(scores[rows])) < rows.sum()
        if gains[rows].any():
            expected.append(ndcg_score([gains[rows]], [scores[rows]], k=k))
    found = user_ndcg(labels, scores, groups, k=k, gain=gain)
    assert found.value == pytest.approx(np.mean(expected))
    rows = scored_rows(labels, scores, groups=groups)
    np.testing.assert_allclose(
        user_ndcg.per_user(rows, k, gain).values, expected
    )


def test_ndcg_by_hand():
    # In the order of scores the grades are 0, 2, 1: gains 0, 3, 1.
    found = user_ndcg([2, 1, 0], [2, 1, 3], ["u"] * 3, k=2)
    ideal = 3 + 1 / np.log2(3)
    assert found.value == pytest.approx(3 / np.log2(3) / ideal)
    # Tied: each rank has the mean of both gains.
    found = user_ndcg([1, 0], [0, 0], ["u"] * 2, k=1)
    assert found.value == 0.5


def test_ties_do_not_depend_on_the_order_of_rows():
    labels, _, groups, weights = impressions(3)
    order = np.argsort(-labels, kind="stable")
    constant = np.zeros(len(labels))
    expected = user_ndcg(labels, constant, groups, weights, k=5)
    sorted_rows = user_ndcg(
        labels[order], constant, groups[order], weights[order], k=5
    )
    assert sorted_rows.value == pytest.approx(expected.value)
    assert sorted_rows.value < 0.9


def test_a_perfect_list_is_one_exactly():
    labels, _, groups, _ = impressions(4, size=5000, users=1000)
    rows = scored_rows(labels, labels, groups=groups)
    assert (user_ndcg.per_user(rows, 10).values == 1).all()


def test_a_user_counts_with_the_mean_weight_of_their_rows():
    labels, scores = [1, 0, 1, 0, 0], [2, 1, 0, 1, 1]
    groups, weights = list("aabbb"), [3, 1, 1, 1, 1]
    # a is perfect and counts 2, b is [0, 0, 1] and counts 1.
    found = user_ndcg(labels, scores, groups, weights, k=3)
    assert found.value == pytest.approx((2 * 1 + 1 / np.log2(4)) / 3)


def test_users_without_a_grade_are_left_out_and_counted():
    found = user_ndcg([1, 0, 0], [1, 2, 3], list("aab"), k=1)
    assert found == (0.0, 1, 1)
    assert user_ndcg([0], [1], ["a"], k=1) == (None, 0, 1)
    assert user_ndcg([], [], [], k=1) == (None, 0, 0)


def test_mistakes_raise():
    with pytest.raises(
        UserError, match=r"`groups` should have the shape \[2\]"
    ):
        gauc([1, 0], [1, 2], ["a"])
    with pytest.raises(UserError, match="integers or all text"):
        gauc([1, 0], [1, 2], [0.5, 1.5])
    with pytest.raises(UserError, match="0 or 1"):
        gauc([1, 3], [1, 2], ["a", "a"])
    with pytest.raises(UserError, match="positive integer"):
        user_ndcg([1, 0], [1, 2], ["a", "a"], k=0)
    with pytest.raises(UserError, match="from 0 to 64"):
        user_ndcg([-1, 0], [1, 2], ["a", "a"], k=1)
    with pytest.raises(UserError, match="gain='linear'"):
        user_ndcg([1000, 0], [1, 2], ["a", "a"], k=1)
    with pytest.raises(UserError, match="Received: 'square'"):
        user_ndcg([1, 0], [1, 2], ["a", "a"], k=1, gain="square")
