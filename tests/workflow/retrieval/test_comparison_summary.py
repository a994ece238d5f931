"""The numbers of a comparison, against others computed by hand."""

import csv
import json
from types import SimpleNamespace

import numpy as np
import pytest
import scipy.stats

from kd_tfrs.workflow.retrieval import comparison_report
from kd_tfrs.workflow.retrieval.comparison_overview import (
    overview,
    overview_markdown,
)
from kd_tfrs.workflow.retrieval.comparison_summary import (
    TESTED,
    collect,
    summarise,
)
from kd_tfrs.workflow.retrieval.config import Config

SEEDS = (0, 1, 2, 3)
USERS = 60
# What is added to the student alone's values of every user, and the seconds.
METHODS = {
    "teacher": (0.20, 90),
    "student": (0.0, 10),
    "good": (0.10, 40),
    "same": (0.0, 20),
    "bad": (-0.10, 30),
    "lucky": (0.0, 50),
}


@pytest.fixture(scope="module")
def rows():
    """Per-user values with a little noise, and the rows that follow."""
    random = np.random.default_rng(0)
    base = random.random((len(SEEDS), USERS))
    rows, per_user = {}, {}
    for name, (shift, seconds) in METHODS.items():
        for place, seed in enumerate(SEEDS):
            values = base[place] + shift
            if name != "student":
                values = values + random.normal(0, 0.01, USERS)
            if name == "lucky":
                # Better by far, but with every second seed alone.
                values = values + 0.15 * (seed % 2)
            per_user.setdefault(name, {})[seed] = {
                "user": np.arange(USERS),
                **dict.fromkeys(TESTED, values),
            }
            rows.setdefault(name, []).append(
                {
                    "method": name,
                    "seed": seed,
                    "metrics": {m: float(values.mean()) for m in TESTED},
                    "validation": {},
                    "train_seconds": seconds + seed,
                    "epochs": seconds,
                    "best_epoch": 3,
                    "changed_flags": {},
                    "commit": "abc",
                }
            )
    return rows, per_user


@pytest.fixture(scope="module")
def found(rows):
    return summarise(*rows)


def by_name(found):
    return {method["method"]: method for method in found["methods"]}


def values_of(rows, name):
    return [row["metrics"]["ndcg@20"] for row in rows[0][name]]


def test_means_and_deviations_are_over_seeds(rows, found):
    for name, method in (
        *by_name(found).items(),
        ("student", found["student"]),
    ):
        values = values_of(rows, name)
        spread = method["metrics"]["ndcg@20"]
        assert spread["mean"] == pytest.approx(sum(values) / 4)
        squares = sum((v - sum(values) / 4) ** 2 for v in values)
        assert spread["deviation"] == pytest.approx((squares / 3) ** 0.5)


def test_tests_are_paired_over_seeds_and_over_users(rows, found):
    for name, method in by_name(found).items():
        tests = method["tests"]["ndcg@20"]
        expected = scipy.stats.ttest_rel(
            values_of(rows, name), values_of(rows, "student")
        ).pvalue
        assert tests["seeds"]["t_p_value"] == pytest.approx(expected, rel=1e-6)
        assert tests["seeds"]["pairs"] == len(SEEDS)
        users = [
            np.mean([rows[1][n][s]["ndcg@20"] for s in SEEDS], axis=0)
            for n in (name, "student")
        ]
        expected = scipy.stats.ttest_rel(*users).pvalue
        assert tests["users"]["t_p_value"] == pytest.approx(expected, rel=1e-6)
        assert tests["users"]["pairs"] == USERS


def test_users_are_paired_by_who_they_are(rows):
    # Another split asks other users in another order.
    shuffled = {}
    for name, seeds in rows[1].items():
        for seed, values in seeds.items():
            order = np.random.default_rng(seed).permutation(USERS)
            shuffled.setdefault(name, {})[seed] = {
                key: array[order] for key, array in values.items()
            }
    ours = by_name(summarise(rows[0], shuffled))
    for name, method in by_name(summarise(*rows)).items():
        for metric in TESTED:
            test = method["tests"][metric]["users"]
            other = ours[name]["tests"][metric]["users"]
            assert other["t_p_value"] == pytest.approx(test["t_p_value"])


def test_p_values_are_corrected_over_the_methods(found):
    for unit in ("seeds", "users"):
        tests = [m["tests"]["ndcg@20"][unit] for m in found["methods"]]
        tests.sort(key=lambda test: test["t_p_value"])
        largest = 0.0
        for left, test in zip((4, 3, 2, 1), tests, strict=True):
            largest = max(largest, min(1.0, left * test["t_p_value"]))
            assert test["holm_p_value"] == pytest.approx(largest)


def test_verdicts_need_both_tests(found):
    verdicts = {
        name: method["verdict"]["ndcg@20"]
        for name, method in by_name(found).items()
    }
    assert verdicts == {
        "good": "gain",
        "same": "no gain",
        "bad": "worse",
        "lucky": "unclear",
    }
    assert [m["method"] for m in found["methods"]] == [
        "good",
        "lucky",
        "same",
        "bad",
    ]


def test_one_seed_has_its_users_alone(rows):
    first = {name: found[:1] for name, found in rows[0].items()}
    users = {name: {0: seeds[0]} for name, seeds in rows[1].items()}
    found = by_name(summarise(first, users))
    assert set(found["good"]["tests"]["ndcg@20"]) == {"users"}
    assert found["good"]["verdict"]["ndcg@20"] == "gain"
    assert found["good"]["metrics"]["ndcg@20"]["deviation"] == 0


def test_gain_kept_is_of_the_teachers_lead(rows, found):
    teacher, alone, good = (
        np.mean(values_of(rows, n)) for n in ("teacher", "student", "good")
    )
    share = by_name(found)["good"]["gain_kept"]["ndcg@20"]
    assert share == pytest.approx((good - alone) / (teacher - alone))
    assert share == pytest.approx(0.5, abs=0.02)


def test_a_teacher_that_leads_nowhere_has_no_gain_to_keep(rows):
    swapped = {**rows[0], "teacher": rows[0]["student"]}
    found = by_name(summarise(swapped, rows[1]))
    assert found["good"]["gain_kept"]["ndcg@20"] is None


def test_cost_is_a_rank_and_means(found):
    methods = by_name(found)
    ranks = {name: method["cost_rank"] for name, method in methods.items()}
    assert ranks == {"same": 1, "bad": 2, "good": 3, "lucky": 4}
    assert methods["good"]["train_seconds"] == pytest.approx(41.5)
    assert methods["good"]["epochs"] == 40


def test_a_method_that_missed_a_seed_is_compared_on_the_others(rows):
    fewer = {**rows[0], "good": rows[0]["good"][:3]}
    users = {**rows[1], "good": {s: rows[1]["good"][s] for s in SEEDS[:3]}}
    good = by_name(summarise(fewer, users))["good"]
    assert good["tests"]["ndcg@20"]["seeds"]["pairs"] == 3
    teacher, alone, mine = (
        np.mean(values_of(rows, n)[:3]) for n in ("teacher", "student", "good")
    )
    assert good["gain_kept"]["ndcg@20"] == pytest.approx(
        (mine - alone) / (teacher - alone)
    )


class FakeRun(SimpleNamespace):
    """As much of a run folder as a report needs."""

    def path(self, *parts):
        path = self.directory.joinpath(*parts)
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def write_text(self, name, text):
        self.path(name).write_text(text)

    def write_json(self, name, value):
        self.write_text(name, json.dumps(value, allow_nan=False))

    def read_json(self, name):
        if name == "environment.json":
            return {"commit": "abc", "processor": "a processor"}
        return None


@pytest.fixture
def folder(rows, tmp_path):
    """The rows as a run folder has them."""
    run = FakeRun(directory=tmp_path, config=Config())
    for name, kept in rows[0].items():
        for row in kept:
            path = run.path("results", name, f"seed-{row['seed']}.json")
            changed = {"student_learning_rate": 0.5, "seed": row["seed"]}
            if name in ("teacher", "student"):
                changed["distilled_learning_rate"] = 0.7  # of no concern
            row = {**row, "flags": {**Config().flat(), **changed}}
            row.pop("changed_flags")
            path.write_text(json.dumps(row))
            np.savez(path.with_suffix(".npz"), **rows[1][name][row["seed"]])
    return run


def test_rows_come_back_as_they_were_written(rows, folder):
    read, per_user = collect(folder.directory, Config().flat())
    for name, kept in rows[0].items():
        assert [r["metrics"] for r in read[name]] == [
            r["metrics"] for r in kept
        ]
        for row in read[name]:
            changed = {"student_learning_rate": 0.5}
            if name not in ("teacher", "student"):
                changed["distillation_losses"] = ["auto"]
            assert row["changed_flags"] == changed
            assert "flags" not in row
        for seed in SEEDS:
            np.testing.assert_array_equal(
                per_user[name][seed]["ndcg@20"], rows[1][name][seed]["ndcg@20"]
            )


def test_tables_say_what_was_found(folder, found):
    comparison_report.write(folder, seeds=4, trials=6)
    text = (folder.directory / "comparison.md").read_text()
    lines = {
        line.split("|")[1].strip(): [c.strip() for c in line.split("|")[2:-1]]
        for line in text.splitlines()
        if line.startswith("|")
    }
    assert list(lines) == [
        "method",
        ":--",
        "teacher",
        "student alone",
        "good",
        "lucky",
        "same",
        "bad",
    ]
    good = by_name(found)["good"]
    spread = good["metrics"]["ndcg@20"]
    assert lines["good"][0] == (
        f"{spread['mean']:.4f} ({spread['deviation']:.4f})"
    )
    assert lines["good"][1] == f"{100 * good['gain_kept']['ndcg@20']:.0f} %"
    assert lines["good"][4] == "gain"
    assert lines["bad"][4] == "worse"
    assert lines["same"][4] == "no gain"
    assert lines["good"][-3:] == ["40", "42", "3"]
    assert "6 trials each on validation events of seed 0" in text
    assert (folder.directory / "comparison.png").stat().st_size > 1000
    flags = (folder.directory / "best" / "good.flags").read_text()
    assert flags.splitlines() == [
        "--student_learning_rate=0.5",
        "--distillation_losses=auto",
    ]
    with (folder.directory / "comparison.csv").open() as file:
        table = list(csv.DictReader(file))
    assert len(table) == len(METHODS) * len(SEEDS)
    assert {row["events"] for row in table} == {"test"}
    for row in table:
        assert row["commit"] == "abc"
        assert float(row["ndcg@20"]) > 0


def test_metrics_among_sampled_negatives_have_a_table(folder, rows):
    found = comparison_report.write(folder, seeds=4, trials=6)
    assert "seeded negatives" not in comparison_report.markdown(found)
    found["flags"] = {"eval_sampled_negatives": 499}
    for row in (
        found["test"]["teacher"],
        found["test"]["student"],
        *found["test"]["methods"],
    ):
        row["metrics"]["sampled_hit_rate@5"] = {"mean": 0.5, "deviation": 0.01}
    text = comparison_report.markdown(found)
    assert "among 499 seeded negatives" in text
    assert "| method | hit_rate@5 |" in text
    assert "| student alone | 0.5000 (0.0100) |" in text


def test_an_overview_ranks_methods_over_data_sets(folder):
    one = comparison_report.write(folder, seeds=4, trials=6)
    screened = {
        "test": None,
        "monitor": "ndcg@20",
        "validation": {
            "methods": [
                {"method": "good", "value": 0.1},
                {"method": "student", "value": 0.2},
                {"method": "same", "value": 0.3},
                {"method": "only here", "value": 0.4},
            ]
        },
    }
    table = overview({"one": one, "two": screened})
    assert table["events"] == {"one": "test", "two": "validation"}
    ranks = {m["method"]: m["mean_rank"] for m in table["methods"]}
    assert ranks == {
        "same": 2.5,
        "good": 2.0,
        "lucky": 2.0,
        "bad": 4.0,
        "only here": 1.0,
    }
    assert [m["method"] for m in table["methods"][:2]] == ["good", "same"]
    text = overview_markdown(table)
    assert "| good | +" in text
    assert "gain | -50.0 % | 2.0 |" in text
    assert "| only here | - | +100.0 % | 1.0 |" in text
