"""Each number of an evaluation is that of the metric it is named after."""

import json

import numpy as np
import pytest

from kd_tfrs.errors import UserError
from kd_tfrs.evaluation import stages_markdown
from kd_tfrs.evaluation.ranking import (
    RankingEvaluation,
    calibration,
    paired_user_bootstrap,
    user_bootstrap,
)
from kd_tfrs.evaluation.ranking import metrics as ranking_metrics
from kd_tfrs.evaluation.ranking.grouped_metrics import gauc, user_ndcg
from kd_tfrs.evaluation.ranking.scored_rows import scored_rows


def impressions(seed=0, size=300, users=40):
    random = np.random.default_rng(seed)
    groups = random.integers(0, users, size)
    labels = random.integers(0, 2, size)
    logits = np.round(random.normal(labels, 2), 1)
    return labels, logits, groups, random.exponential(size=size)


def expected_binary(labels, logits, groups, weights):
    """By the functions of arrays, one after the other."""
    rows = labels, logits, weights
    return {
        "auc": ranking_metrics.auc(*rows),
        "log_loss": ranking_metrics.log_loss(*rows),
        "accuracy": ranking_metrics.accuracy(*rows, threshold=0.4),
        "precision": ranking_metrics.precision(*rows, threshold=0.4),
        "recall": ranking_metrics.recall(*rows, threshold=0.4),
        "f1": ranking_metrics.f1(*rows, threshold=0.4),
        "pr_auc": ranking_metrics.average_precision(*rows),
        "ece": calibration.calibration_error(*rows, bins=7),
        "ece_equal_mass": calibration.calibration_error(
            *rows, bins=7, equal_mass=True
        ),
        "predicted_over_observed": calibration.predicted_over_observed(*rows),
        "gauc": gauc(labels, logits, groups, weights).value,
        "ndcg@3": user_ndcg(labels, logits, groups, weights, k=3).value,
    }


def test_binary_in_all_and_in_slices():
    labels, logits, groups, weights = impressions()
    masks = {"new_users": groups < 5, "tail": np.arange(300) % 3 == 0}
    evaluation = RankingEvaluation(
        labels, groups, weights, masks, ks=(3,), threshold=0.4, bins=7
    )
    result = evaluation.evaluate(logits)
    expected = expected_binary(labels, logits, groups, weights)
    for name, mask in masks.items():
        part = expected_binary(
            labels[mask], logits[mask], groups[mask], weights[mask]
        )
        expected |= {f"{key}[{name}]": value for key, value in part.items()}
    assert result.metrics == pytest.approx(expected)
    assert list(result.metrics)[: len(evaluation.names)] == list(
        evaluation.names
    )
    assert result.num_users == 40
    assert result.num_rows == {
        "": 300,
        "new_users": masks["new_users"].sum(),
        "tail": 100,
    }
    fast = evaluation.evaluate(logits, fast=True).metrics
    assert fast == {name: result.metrics[name] for name in evaluation.names}


def test_ratings():
    random = np.random.default_rng(0)
    labels, groups = random.integers(1, 6, 200), random.integers(0, 20, 200)
    ratings = random.normal(labels, 1)
    result = RankingEvaluation(labels, groups, kind="rating").evaluate(ratings)
    assert result.metrics == pytest.approx(
        {
            "rmse": ranking_metrics.rmse(labels, ratings),
            "mae": ranking_metrics.mae(labels, ratings),
            "ndcg@5": user_ndcg(labels, ratings, groups, k=5).value,
            "ndcg@10": user_ndcg(labels, ratings, groups, k=10).value,
        }
    )


def test_values_of_the_users_who_have_one():
    labels, scores = [1, 0, 0, 1, 0, 1], [2, 1, 3, 1, 0, 0]
    groups = ["b", "b", "a", "c", "c", "d"]
    result = RankingEvaluation(labels, groups, ks=(1,)).evaluate(scores)
    assert result.users["gauc"].tolist() == ["b", "c"]
    assert result.per_user["gauc"].tolist() == [1, 1]
    assert result.users["ndcg@1"].tolist() == ["b", "c", "d"]
    assert result.left_out == {"gauc": 2, "ndcg@1": 1}
    # Another model is measured on the same users.
    other = RankingEvaluation(labels, groups, ks=(1,)).evaluate([0] * 6)
    assert other.users["gauc"].tolist() == ["b", "c"]


def test_rows_of_weight_zero_are_left_out():
    labels, logits, groups, weights = impressions()
    weights = weights * (groups != 7)
    masks = {"tail": np.arange(300) % 2 == 0}
    kept = weights > 0
    expected = RankingEvaluation(
        labels[kept], groups[kept], weights[kept], {"tail": masks["tail"][kept]}
    ).evaluate(logits[kept])
    found = RankingEvaluation(labels, groups, weights, masks).evaluate(logits)
    assert found.metrics == expected.metrics
    assert found.num_rows == expected.num_rows
    assert found.num_users == expected.num_users == 39


def test_without_groups_nothing_is_per_user():
    labels, logits, _, _ = impressions()
    evaluation = RankingEvaluation(labels)
    result = evaluation.evaluate(logits)
    assert "gauc" not in result.metrics
    assert result.num_users is None
    assert result.metrics["auc"] == ranking_metrics.auc(labels, logits)
    with pytest.raises(UserError, match="no `groups`"):
        evaluation.interval("auc", logits)


def test_degenerate_rows_are_none_and_go_into_json_and_tables():
    nothing = {"head": np.zeros(2, bool)}
    evaluation = RankingEvaluation([1, 1], ["a", "b"], slices=nothing)
    metrics = evaluation.evaluate([1.0, 2.0]).metrics
    assert metrics["auc"] is metrics["gauc"] is metrics["pr_auc"] is None
    assert all(v is None for k, v in metrics.items() if k.endswith("[head]"))
    assert "NaN" not in json.dumps(metrics)
    table = stages_markdown(
        [{"stage": "teacher", "metrics": metrics}], metrics=["auc", "log_loss"]
    )
    assert "log_loss" in table
    empty = RankingEvaluation([], []).evaluate([])
    assert set(empty.metrics.values()) == {None}
    assert empty.num_users == 0


def test_intervals_are_those_of_the_bootstrap():
    labels, logits, groups, weights = impressions()
    mask = groups < 20
    evaluation = RankingEvaluation(labels, groups, weights, {"new": mask})
    rows = scored_rows(labels, logits, weights, groups)
    auc = ranking_metrics.auc.statistic
    expected = user_bootstrap(auc(rows), rows.num_users, seed=3)
    assert evaluation.interval("auc", logits, seed=3) == expected
    expected = user_bootstrap(auc(rows), rows.num_users)
    assert evaluation.interval("auc", logits) == expected
    found = evaluation.interval("gauc", logits, num_resamples=50)
    assert found.low < found.value < found.high
    # In a slice all users are drawn: who is not in it adds nothing.
    inside = evaluation.interval("auc[new]", logits, num_resamples=50)
    expected = ranking_metrics.auc(labels[mask], logits[mask], weights[mask])
    assert inside.value == pytest.approx(expected)
    assert inside.num_users == 40
    noisy = logits + np.random.default_rng(0).normal(size=300)
    before = auc(scored_rows(labels, noisy, weights, groups))
    expected = paired_user_bootstrap(before, auc(rows), rows.num_users)
    assert evaluation.compare("auc", noisy, logits) == expected


def test_mistakes_raise():
    labels, logits, groups, _ = impressions()
    with pytest.raises(UserError, match="0 or 1"):
        RankingEvaluation(labels + 1, groups)
    with pytest.raises(UserError, match="Received: 'click'"):
        RankingEvaluation(labels, groups, kind="click")
    with pytest.raises(UserError, match="grades"):
        RankingEvaluation(labels - 3, groups, kind="rating")
    # Without NDCG they need not be grades.
    RankingEvaluation(labels - 3, groups, kind="rating", ks=())
    with pytest.raises(UserError, match="positive integer"):
        RankingEvaluation(labels, groups, bins=0)
    with pytest.raises(UserError, match="`threshold` = 2"):
        RankingEvaluation(labels, groups, threshold=2)
    with pytest.raises(UserError, match="boolean masks"):
        RankingEvaluation(labels, groups, slices={"new": labels})
    with pytest.raises(UserError, match="'short'"):
        RankingEvaluation(labels, groups, slices={"short": [True]})
    evaluation = RankingEvaluation(labels, groups)
    with pytest.raises(UserError, match=r"shape \[300\]"):
        evaluation.evaluate(logits[:-1])
    with pytest.raises(UserError, match="diverged"):
        evaluation.evaluate(logits * np.nan)
    for name in ("recall@10", "auc[new]", "auc[]"):
        with pytest.raises(UserError, match="`name` should be one of"):
            evaluation.interval(name, logits)
