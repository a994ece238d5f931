"""Tests between rankers, checked against the evaluation of one seed."""

import numpy as np
import pytest

from kd_tfrs.evaluation.ranking import RankingEvaluation
from kd_tfrs.workflow.ranking.comparison_tests import (
    UserDraws,
    paired_over_users,
)

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
    found = draws.test(same, same, 0.0)
    assert (found["test"], found["p_value"]) == ("z", 1.0)
    nameless = {k: v for k, v in rows(0).items() if k != "user"}
    assert not UserDraws({0: nameless}, KINDS, DRAWS).is_possible
    assert not UserDraws({0: rows(0)}, KINDS, 0).is_possible


def test_a_pair_is_tested_on_its_common_seeds():
    split = {0: rows(0), 1: rows(1)}
    draws = UserDraws(split, KINDS, DRAWS)
    logits = {
        "a": {0: {"liked": scores(1)}, 1: {"liked": scores(2)}},
        "b": {1: {"liked": scores(3)}},
    }
    tasks = {"auc": ("liked", "auc")}
    test = paired_over_users(draws, tasks, logits)
    expected = draws.test(
        draws.values("liked", "auc", {1: scores(2)}),
        draws.values("liked", "auc", {1: scores(3)}),
        0.2,
    )
    assert test("a", "b", "auc", (1,), 0.2) == expected
    none = paired_over_users(UserDraws(split, KINDS, 0), tasks, {})
    assert none("a", "b", "auc", (1,), 0.2) is None
