"""The numbers of a comparison, against others computed by hand."""

import csv
import json
from types import SimpleNamespace

import numpy as np
import pytest
import scipy.stats

from kd_tfrs.workflow.comparison import report
from kd_tfrs.workflow.comparison.experiment import Plan
from kd_tfrs.workflow.comparison.findings import (
    Findings,
    Roles,
    read_results,
    verdict,
)
from kd_tfrs.workflow.comparison.overview import overview, overview_markdown
from kd_tfrs.workflow.retrieval.comparison import (
    TESTED,
    RetrievalComparison,
    paired_over_users,
)
from kd_tfrs.workflow.retrieval.config import Config

METRICS = dict.fromkeys(TESTED, False)
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


def summarise(rows, per_user, metrics=METRICS, roles=None):
    users = paired_over_users(per_user)
    return Findings(rows, metrics, roles or Roles(), users).summarise()


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
        assert tests["seeds"]["p_value"] == pytest.approx(expected, rel=1e-6)
        assert tests["seeds"]["pairs"] == len(SEEDS)
        assert {test["test"] for test in tests.values()} == {"t"}
        users = [
            np.mean([rows[1][n][s]["ndcg@20"] for s in SEEDS], axis=0)
            for n in (name, "student")
        ]
        expected = scipy.stats.ttest_rel(*users).pvalue
        assert tests["users"]["p_value"] == pytest.approx(expected, rel=1e-6)
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
            assert other["p_value"] == pytest.approx(test["p_value"])


def test_p_values_are_corrected_over_the_methods(found):
    for unit in ("seeds", "users"):
        tests = [m["tests"]["ndcg@20"][unit] for m in found["methods"]]
        tests.sort(key=lambda test: test["p_value"])
        largest = 0.0
        for left, test in zip((4, 3, 2, 1), tests, strict=True):
            largest = max(largest, min(1.0, left * test["p_value"]))
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


def test_a_lead_that_is_not_significant_has_no_share(rows):
    # The teacher's values are larger for one half of the users alone.
    noise = 1e-3 * (-1.0) ** np.arange(USERS)
    users = {
        seed: {"user": arrays["user"], **{m: arrays[m] + noise for m in TESTED}}
        for seed, arrays in rows[1]["student"].items()
    }
    table = [
        {**row, "metrics": {m: row["metrics"][m] + 1e-9 for m in TESTED}}
        for row in rows[0]["student"]
    ]
    found = summarise(
        {**rows[0], "teacher": table}, {**rows[1], "teacher": users}
    )
    assert found["teacher"]["tests"]["ndcg@20"]["users"]["p_value"] > 0.05
    assert found["teacher"]["has_lead"] == dict.fromkeys(TESTED, False)
    assert by_name(found)["good"]["gain_kept"] == dict.fromkeys(TESTED)


def test_the_teacher_keeps_its_lead_and_is_tested_by_itself(found):
    teacher = found["teacher"]
    assert teacher["gain_kept"]["ndcg@20"] == pytest.approx(1)
    assert teacher["has_lead"] == dict.fromkeys(TESTED, True)
    for test in teacher["tests"]["ndcg@20"].values():
        assert test["holm_p_value"] == test["p_value"]


def test_less_is_better_of_errors(rows):
    errors = {
        name: [
            {**row, "metrics": {m: -row["metrics"][m] for m in TESTED}}
            for row in of_model
        ]
        for name, of_model in rows[0].items()
    }
    users = {
        name: {
            seed: {"user": a["user"], **{m: -a[m] for m in TESTED}}
            for seed, a in seeds.items()
        }
        for name, seeds in rows[1].items()
    }
    found = summarise(errors, users, dict.fromkeys(TESTED, True))
    expected = summarise(*rows)
    for ours, theirs in zip(found["methods"], expected["methods"], strict=True):
        assert ours["method"] == theirs["method"]
        assert ours["verdict"] == theirs["verdict"]
        assert ours["gain_kept"] == pytest.approx(theirs["gain_kept"])
    tests = {"users": {"difference": -0.1, "holm_p_value": 0.01}}
    assert verdict(tests, is_error=True) == "gain"
    assert verdict(tests) == "worse"
    assert verdict({}) == "unclear"


def test_roles_are_no_methods(rows):
    roles = Roles(members=("bad",), baselines=("same",), compressed=(" int8",))
    renamed = {
        ("good int8" if name == "lucky" else name): values
        for name, values in rows[0].items()
    }
    users = {**rows[1], "good int8": rows[1]["lucky"]}
    for name, of_model in renamed.items():
        renamed[name] = [{**row, "method": name} for row in of_model]
    found = summarise(renamed, users, METRICS, roles)
    names = {
        role: [model["method"] for model in found[role]]
        for role in ("members", "baselines", "methods", "compressed")
    }
    assert names == {
        "members": ["bad"],
        "baselines": ["same"],
        "methods": ["good"],
        "compressed": ["good int8"],
    }
    for role in names:
        for test in found[role][0]["tests"]["ndcg@20"].values():
            assert test["holm_p_value"] == test["p_value"]
    pairs = {(t["baseline"], t["challenger"]) for t in found["other_tests"]}
    assert pairs == {
        ("same", "teacher"),
        ("same", "student"),
        ("good", "good int8"),
    }


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


def write(run):
    plan = Plan(["rrd"], trials=6, seeds=4)
    return RetrievalComparison(run, plan, print).report()


def test_rows_come_back_as_they_were_written(rows, folder):
    read, per_user = read_results(folder.directory, Config().flat(), Roles())
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
    write(folder)
    text = (folder.directory / "comparison.md").read_text()
    quality, tests = text.split("## Tests")
    lines = {
        line.split("|")[1].strip(): [c.strip() for c in line.split("|")[2:-1]]
        for line in quality.splitlines()
        if line.startswith("|")
    }
    assert list(lines) == [
        "model",
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
    assert lines["good"][2] == f"{100 * good['gain_kept']['ndcg@20']:.0f} %"
    verdicts = {"good": "gain", "bad": "worse", "same": "no gain"}
    assert {name: lines[name][3] for name in verdicts} == verdicts
    assert lines["good"][-3:] == ["40", "42", "3"]
    assert "6 trials each on validation data of seed 0" in text
    row = good["tests"]["recall@50"]
    p_values = [f"{row[u]['holm_p_value']:.2g}" for u in ("seeds", "users")]
    (line,) = (x for x in tests.splitlines() if "| good | recall@50 |" in x)
    assert [c.strip() for c in line.split("|")[5:7]] == p_values
    assert "over users: paired t-test" in tests
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


def test_metrics_among_sampled_negatives_have_columns(folder, rows):
    found = write(folder)
    assert "sampled negatives" not in report.markdown(found)
    found["further"] = {
        "note": "sampled_: among 499 sampled negatives.",
        "metrics": ["sampled_hit_rate@5"],
    }
    for row in (
        found["test"]["teacher"],
        found["test"]["student"],
        *found["test"]["methods"],
    ):
        row["metrics"]["sampled_hit_rate@5"] = {"mean": 0.5, "deviation": 0.01}
    lines = report.markdown(found).splitlines()
    assert any("among 499 sampled negatives" in line for line in lines)
    assert any("| recall@50 | sampled_hit_rate@5 | gain" in x for x in lines)
    (alone,) = (line for line in lines if line.startswith("| student alone |"))
    assert " | 0.5000 (0.0100) | - | " in alone


def test_tables_say_where_the_teacher_has_no_lead(folder):
    found = write(folder)
    found["test"]["teacher"]["has_lead"] = dict.fromkeys(TESTED, False)
    for model in (found["test"]["teacher"], *found["test"]["methods"]):
        model["gain_kept"] = dict.fromkeys(TESTED)
    lines = report.markdown(found).splitlines()
    for name in ("teacher", "good", "bad"):
        of_model = [line for line in lines if line.startswith(f"| {name} |")]
        assert len(of_model) == 1 + len(TESTED)
        assert all("| n.s. |" in line for line in of_model)
    (alone,) = (line for line in lines if line.startswith("| student alone |"))
    assert "n.s." not in alone
    assert "kept n.s., gain" in overview_markdown(overview({"one": found}))


def test_an_overview_ranks_methods_over_data_sets(folder):
    one = write(folder)
    screened = {
        "test": None,
        "monitor": "ndcg@20",
        "validation": {
            "methods": [
                {"method": "only here", "value": 0.4},
                {"method": "same", "value": 0.3},
                {"method": "student", "value": 0.2},
                {"method": "good", "value": 0.1},
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
