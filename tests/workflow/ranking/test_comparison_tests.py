"""Tests between rankers, checked against the evaluation of one seed."""

import numpy as np
import pytest

from kd_tfrs.evaluation.ranking import RankingEvaluation
from kd_tfrs.workflow.ranking.comparison_summary import sign_of
from kd_tfrs.workflow.ranking.comparison_tests import UserDraws, over_seeds
from kd_tfrs.workflow.retrieval.comparison_summary import gain_kept, verdict

DRAWS = 50
KINDS = {"liked": "binary", "rating": "rating"}


def rows(seed, users=12, count=200):
    rng = np.random.default_rng(seed)
    return {
        "user": rng.integers(users, size=count).astype(np.int32),
        "weight": np.ones(count, np.float32),
        "label_liked": rng.integers(2, size=count).astype(np.float32),
        "label_rating": rng.integers(1, 6, size=count).astype(np.float32),
    }


def scores(seed, count=200):
    return np.random.default_rng(100 + seed).normal(size=count)


@pytest.mark.parametrize(
    ("task", "metric"),
    [("liked", "auc"), ("liked", "gauc"), ("rating", "rmse")],
)
def test_one_seed_is_what_the_evaluation_finds(task, metric):
    mine, a, b = rows(0), scores(1), scores(2)
    draws = UserDraws({0: mine}, KINDS, DRAWS)
    expected = RankingEvaluation(
        mine[f"label_{task}"], mine["user"], kind=KINDS[task], ks=()
    ).compare(metric, a, b, num_resamples=DRAWS)
    found = draws.test(
        draws.values(task, metric, {0: a}),
        draws.values(task, metric, {0: b}),
        expected.difference.value,
    )
    ends = [expected.difference.low, expected.difference.high]
    assert found["interval"] == pytest.approx(ends)
    assert found["pairs"] == len(np.unique(mine["user"]))


def test_a_draw_is_the_mean_over_seeds_of_the_same_users():
    split = {0: rows(0), 1: rows(1)}
    both = UserDraws(split, KINDS, DRAWS)
    logits = {0: scores(3), 1: scores(4)}
    alone = [
        both.values("liked", "log_loss", {seed: z})
        for seed, z in logits.items()
    ]
    found = both.values("liked", "log_loss", logits)
    np.testing.assert_allclose(found, np.mean(alone, axis=0))


def test_rows_without_label_or_weight_are_left_out():
    mine, z = rows(0), scores(5)
    fewer = {name: values[50:] for name, values in mine.items()}
    masked = {name: values.copy() for name, values in mine.items()}
    masked["label_liked"][:25] = np.nan
    masked["weight"][25:50] = 0.0
    values = [
        UserDraws({0: x}, KINDS, DRAWS).values("liked", "auc", {0: logits})
        for x, logits in ((fewer, z[50:]), (masked, z))
    ]
    np.testing.assert_allclose(*values)


def test_no_difference_is_no_finding_and_no_users_are_no_test():
    draws = UserDraws({0: rows(0)}, KINDS, DRAWS)
    same = draws.values("liked", "auc", {0: scores(1)})
    assert draws.test(same, same, 0.0)["t_p_value"] == 1.0
    nameless = {k: v for k, v in rows(0).items() if k != "user"}
    assert not UserDraws({0: nameless}, KINDS, DRAWS).is_possible
    assert not UserDraws({0: rows(0)}, KINDS, 0).is_possible
    found = over_seeds([0.1, 0.2, 0.3], [0.2, 0.31, 0.39])
    assert (found["pairs"], found["t_p_value"] < 0.05) == (3, True)


def test_less_is_better_of_errors():
    assert [sign_of(m) for m in ("auc", "rmse", "like/log_loss")] == [1, -1, -1]
    values = {"teacher": 0.8, "student": 1.0, "m": 0.9}
    table = {
        n: [{"seed": 0, "metrics": {"rmse": v}}] for n, v in values.items()
    }
    assert gain_kept(table, "m", "rmse", -1.0) == pytest.approx(0.5)
    assert gain_kept(table, "m", "rmse") is None
    tests = {"users": {"difference": -0.1, "holm_p_value": 0.01}}
    assert verdict(tests, -1.0) == "gain"
    assert verdict(tests) == "worse"
    assert verdict({}) == "unclear"
