"""Against brute force: the rows of the drawn users, written one by one."""

from functools import partial

import numpy as np
import pytest

from kd_tfrs.errors import UserError
from kd_tfrs.evaluation.ranking import (
    bootstrap,
    paired_user_bootstrap,
    user_bootstrap,
)
from kd_tfrs.evaluation.ranking import metrics as ranking_metrics
from kd_tfrs.evaluation.ranking.bootstrap import _drawn_counts
from kd_tfrs.evaluation.ranking.calibration import (
    calibration_error,
    predicted_over_observed,
)
from kd_tfrs.evaluation.ranking.grouped_metrics import gauc, user_ndcg
from kd_tfrs.evaluation.ranking.metrics import auc
from kd_tfrs.evaluation.ranking.scored_rows import scored_rows
from kd_tfrs.evaluation.significance import bootstrap_interval

RESAMPLES = 40


def impressions(seed=0, users=6, rows=5):
    random = np.random.default_rng(seed)
    groups = np.repeat(np.arange(users), rows)
    labels = random.integers(0, 2, users * rows)
    scores = np.round(random.normal(labels, 1), 1)
    return labels, scores, groups, random.exponential(size=users * rows)


def interval(metric, labels, scores, groups, weights=None, **options):
    rows = scored_rows(labels, scores, weights, groups)
    return user_bootstrap(metric(rows), rows.num_users, **options)


def paired(metric, labels, a, b, groups, weights=None, **options):
    rows = [scored_rows(labels, scores, weights, groups) for scores in (a, b)]
    return paired_user_bootstrap(
        *map(metric, rows), rows[0].num_users, **options
    )


def pooled(metric, **options):
    """The statistic, and the metric of the rows, weights and groups."""
    return (
        partial(metric.statistic, **options),
        lambda y, s, w, g: metric(y, s, w, **options),
    )


def by_user(metric, **options):
    return (
        lambda rows: metric.per_user(rows, **options).statistic(),
        lambda y, s, w, g: metric(y, s, g, w, **options).value,
    )


CASES = {
    "auc": pooled(auc),
    "pr_auc": pooled(ranking_metrics.average_precision),
    "log_loss": pooled(ranking_metrics.log_loss),
    "rmse": pooled(ranking_metrics.rmse),
    "mae": pooled(ranking_metrics.mae),
    "accuracy": pooled(ranking_metrics.accuracy),
    "precision": pooled(ranking_metrics.precision, threshold=0.6),
    "recall": pooled(ranking_metrics.recall),
    "f1": pooled(ranking_metrics.f1),
    "ece": pooled(calibration_error, bins=4),
    "ece_equal_mass": pooled(calibration_error, bins=4, equal_mass=True),
    "predicted_over_observed": pooled(predicted_over_observed),
    "gauc": by_user(gauc),
    "ndcg": by_user(user_ndcg, k=3),
}


def brute_force(metric, labels, scores, groups, weights, seed=0):
    """The metric of the rows of each draw; a user drawn twice is two users."""
    values = []
    counts = np.concatenate(
        list(_drawn_counts(len(np.unique(groups)), RESAMPLES, seed))
    )
    for times in counts.astype(int):
        drawn = np.repeat(np.unique(groups), times)
        rows = [np.flatnonzero(groups == user) for user in drawn]
        owners = np.repeat(np.arange(len(rows)), [len(row) for row in rows])
        rows = np.concatenate(rows)
        values.append(metric(labels[rows], scores[rows], weights[rows], owners))
    return values


@pytest.mark.parametrize("name", CASES)
def test_the_interval_is_that_of_the_drawn_rows(name):
    labels, scores, groups, weights = impressions()
    statistic, metric = CASES[name]
    found = interval(
        statistic, labels, scores, groups, weights, num_resamples=RESAMPLES
    )
    values = brute_force(metric, labels, scores, groups, weights)
    assert None not in values
    low, high = np.quantile(values, [0.025, 0.975])
    expected = metric(labels, scores, weights, groups)
    assert found.value == pytest.approx(expected)
    assert (found.low, found.high) == pytest.approx((low, high))
    assert (found.num_users, found.num_resamples) == (6, RESAMPLES)
    assert found.undefined == 0


@pytest.mark.parametrize("name", ["auc", "log_loss", "gauc"])
def test_the_difference_is_that_of_the_same_drawn_rows(name):
    labels, a, groups, weights = impressions()
    b = a + np.random.default_rng(1).normal(size=len(a))
    statistic, metric = CASES[name]
    found = paired(
        statistic, labels, a, b, groups, weights, num_resamples=RESAMPLES
    )
    gains = np.subtract(
        brute_force(metric, labels, b, groups, weights),
        brute_force(metric, labels, a, groups, weights),
    )
    low, high = np.quantile(gains, [0.025, 0.975])
    difference = found.difference
    assert (difference.low, difference.high) == pytest.approx((low, high))
    assert difference.value == pytest.approx(found.value_b - found.value_a)
    rarer = min((gains <= 0).sum(), (gains >= 0).sum())
    expected = min(1, 2 * (rarer + 1) / (RESAMPLES + 1))
    assert found.p_value == pytest.approx(expected)


def test_resamples_of_one_class_are_left_out_and_counted():
    # Two users, one of each class: both are drawn half of the time.
    labels, scores, groups = [1, 0], [2.0, 1.0], ["a", "b"]
    found = interval(
        auc.statistic, labels, scores, groups, num_resamples=RESAMPLES
    )
    values = brute_force(
        CASES["auc"][1],
        np.array(labels),
        np.array(scores),
        np.array(groups),
        np.ones(2),
    )
    assert found.undefined == values.count(None) > 0
    assert (found.value, found.low, found.high) == (1, 1, 1)


def test_what_is_undefined_stays_so():
    found = interval(
        auc.statistic, [1, 1], [2.0, 1.0], ["a", "b"], num_resamples=9
    )
    assert found.value is found.low is found.high is None
    assert found.undefined == 9
    assert str(found) == "undefined over 2 users"
    pair = paired(auc.statistic, [1], [2.0], [1.0], ["a"], num_resamples=9)
    assert pair.p_value is pair.difference.value is None
    assert str(pair) == "undefined over 1 users"
    empty = interval(auc.statistic, [], [], [], num_resamples=3)
    assert (empty.value, empty.num_users) == (None, 0)


def test_a_user_of_weight_zero_is_not_drawn():
    labels, scores, groups, weights = impressions()
    fewer = groups < 5
    expected = interval(
        auc.statistic,
        labels[fewer],
        scores[fewer],
        groups[fewer],
        weights[fewer],
    )
    found = interval(auc.statistic, labels, scores, groups, weights * fewer)
    assert found == expected


def test_one_row_a_user_is_the_bootstrap_of_a_mean():
    random = np.random.default_rng(0)
    labels, scores = random.normal(size=(2, 300))
    found = interval(
        ranking_metrics.mae.statistic,
        labels,
        scores,
        range(300),
        num_resamples=4000,
    )
    low, high = bootstrap_interval(np.abs(labels - scores), resamples=4000)
    assert (found.low, found.high) == pytest.approx((low, high), abs=0.005)


def test_rows_of_one_user_are_no_more_than_one_row():
    # Ten copies of each row say nothing new: the interval stays.
    labels, scores, groups, _ = impressions(users=40, rows=1)
    once, often = (
        interval(
            auc.statistic,
            np.repeat(labels, times),
            np.repeat(scores, times),
            np.repeat(groups, times),
            num_resamples=100,
        )
        for times in (1, 10)
    )
    assert (often.low, often.high) == pytest.approx((once.low, once.high))


def test_equal_models_do_not_differ_and_a_better_one_does():
    labels, scores, groups, weights = impressions(users=50)
    same = paired(auc.statistic, labels, scores, scores, groups, weights)
    assert same.p_value == 1
    assert (same.difference.low, same.difference.high) == (0, 0)
    better = paired(
        auc.statistic, labels, scores, labels, groups, num_resamples=199
    )
    assert better.p_value == pytest.approx(2 / 200)
    assert better.difference.low > 0
    assert "-> 1.0000, difference +0." in str(better)
    assert str(better).endswith("over 50 users; p = 0.01 (bootstrap)")


def test_draws_do_not_depend_on_the_size_of_the_blocks(monkeypatch):
    expected = np.concatenate(list(_drawn_counts(7, 10, seed=3)))
    assert (expected.sum(axis=1) == 7).all()
    monkeypatch.setattr(bootstrap, "_BLOCK", 20)
    blocks = list(_drawn_counts(7, 10, seed=3))
    assert [len(block) for block in blocks] == [2] * 5
    np.testing.assert_array_equal(np.concatenate(blocks), expected)


def test_a_wider_level_is_a_wider_interval():
    rows = impressions()
    narrow, wide = (
        interval(auc.statistic, *rows, level=level) for level in (0.5, 0.99)
    )
    assert wide.low < narrow.low < narrow.high < wide.high


def test_mistakes_raise():
    rows = impressions()
    with pytest.raises(UserError, match="num_resamples"):
        interval(auc.statistic, *rows, num_resamples=0)
    with pytest.raises(UserError, match="`level` = 95"):
        interval(auc.statistic, *rows, level=95)
    with pytest.raises(
        UserError, match=r"`scores` should have the shape \[30\]"
    ):
        paired(auc.statistic, rows[0], rows[1], [1.0], rows[2])
