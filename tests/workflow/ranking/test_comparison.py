"""A tiny comparison of rankers: budget, seeds, kills, teachers, compression."""

import dataclasses
import functools
import json
import shutil

import numpy as np
import pytest

from kd_tfrs.errors import UserError
from kd_tfrs.workflow.comparison.experiment import Plan
from kd_tfrs.workflow.comparison.experiment import compare as compare_task
from kd_tfrs.workflow.ranking import boosting
from kd_tfrs.workflow.ranking.comparison import RankingComparison
from kd_tfrs.workflow.ranking.learner import RankingLearner

METHOD = "binary_soft_targets"
NAMES = [METHOD, f"{METHOD} pruned", f"{METHOD} int8"]
PLAN = Plan([METHOD], trials=2, seeds=2, compress=True)
MEMBERS = ["teacher_dcn", "teacher_dnn"]
SEEDS = [3, 4]
compare = functools.partial(compare_task, RankingComparison)


@pytest.fixture(autouse=True, scope="module")
def few_rounds():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(boosting, "_ROUNDS", 10)
        yield


@pytest.fixture(scope="module")
def unbroken(tiny, tmp_path_factory):
    """A comparison that nothing happened to."""
    directory = tmp_path_factory.mktemp("ranking") / "run"
    said = []
    found = compare(tiny(), directory, PLAN, say=said.append)
    return directory, found, said


def without_gradients(*_):
    pass


def never(*_, **__):
    raise AssertionError("this should not be asked")


def rows_of(directory):
    """Everything that was tested, without clocks and commits."""
    found = {}
    for path in sorted((directory / "results").glob("*/*.json")):
        row = json.loads(path.read_text())
        row.pop("train_seconds")
        row.pop("commit")
        with np.load(path.with_suffix(".npz")) as arrays:
            values = {name: arrays[name].tolist() for name in arrays}
        found[f"{path.parent.name}/{path.stem}"] = row, values
    return found


def test_everybody_stands_in_the_table_with_all_seeds(unbroken):
    _, found, said = unbroken
    test = found["test"]
    assert found["seeds"] == SEEDS
    assert found["tested"] == ["auc", "gauc", "log_loss"]
    assert [one["method"] for one in test["members"]] == MEMBERS
    assert [one["method"] for one in test["baselines"]] == ["lightgbm"]
    assert [one["method"] for one in test["methods"]] == NAMES[:1]
    assert [one["method"] for one in test["compressed"]] == NAMES[1:]
    everybody = [test["teacher"], test["student"], *test["methods"]]
    everybody += [*test["members"], *test["baselines"], *test["compressed"]]
    for one in everybody:
        assert [row["seed"] for row in one["rows"]] == SEEDS, one["method"]
        assert one["parameters"] > 0
    trials = {r["method"]: r["trials"] for r in found["validation"]["methods"]}
    assert trials == {"student": 2, METHOD: 2}
    assert any(METHOD in line and "seed 4" in line for line in said)


def test_sizes_are_told(unbroken):
    test = unbroken[1]["test"]
    members = sum(one["parameters"] for one in test["members"])
    assert test["teacher"]["parameters"] == members
    student, (method,) = test["student"], test["methods"]
    assert student["parameters"] == method["parameters"] < members
    pruned, int8 = test["compressed"]
    assert pruned["nonzero_parameters"] < method["parameters"]
    assert int8["size_bytes"] > 0


def test_metrics_are_tested_over_seeds_and_users(unbroken):
    (method,) = unbroken[1]["test"]["methods"]
    for metric in ("auc", "gauc", "log_loss"):
        tests = method["tests"][metric]
        differences = {round(t["difference"], 9) for t in tests.values()}
        assert set(tests) == {"seeds", "users"}
        assert len(differences) == 1
        low, high = tests["users"]["interval"]
        assert low <= high
        assert 0 <= tests["users"]["p_value"] <= 1
        kinds = {unit: test["test"] for unit, test in tests.items()}
        assert kinds == {"seeds": "t", "users": "z"}
        assert method["verdict"][metric] in (
            "gain",
            "no gain",
            "worse",
            "unclear",
        )
    pairs = {
        (one["baseline"], one["challenger"])
        for one in unbroken[1]["test"]["other_tests"]
    }
    assert ("lightgbm", "teacher") in pairs
    assert (METHOD, NAMES[1]) in pairs


def test_the_folder_holds_what_is_promised(unbroken):
    directory, found, _ = unbroken
    text = (directory / "comparison.md").read_text()
    for words in ("lightgbm", *MEMBERS, *NAMES, "student alone", "## Tests"):
        assert f"| {words} " in text or words == "## Tests", words
    assert "## Tests" in text
    written = json.loads((directory / "comparison.json").read_text())
    assert written == json.loads(json.dumps(found))
    assert (directory / "comparison.png").read_bytes().startswith(b"\x89PNG")
    table = (directory / "comparison.csv").read_text()
    assert f"test,{NAMES[2]},3," in table
    best = (directory / "best" / f"{METHOD}.flags").read_text()
    assert f"--distillation_losses={METHOD}:" in best


def test_teachers_are_trained_once_a_seed_and_shared(unbroken):
    directory = unbroken[0]
    for seed in SEEDS:
        mine = directory / "teachers" / f"seed-{seed}" / "weights"
        assert {p.stem for p in mine.iterdir()} == set(MEMBERS)
    lent = list(directory.glob("trainings/binary*/*/weights/teacher_*.npz"))
    assert lent
    assert all(path.is_symlink() for path in lent)


def test_the_same_command_again_trains_nothing(
    unbroken, tiny, tmp_path, monkeypatch
):
    shutil.copytree(unbroken[0], tmp_path / "run", symlinks=True)
    monkeypatch.setattr(RankingLearner, "train", never)
    monkeypatch.setattr(boosting.BoostedTrees, "__init__", never)
    assert (
        compare(tiny(), tmp_path / "run", PLAN, say=without_gradients)
        == unbroken[1]
    )


@pytest.mark.slow
def test_a_kill_in_a_contender_changes_nothing(
    unbroken, tiny, tmp_path, monkeypatch
):
    directory, run = unbroken[0], tmp_path / "run"
    shutil.copytree(directory, run, symlinks=True)
    # As if it had been killed while the method's second trial trained.
    for name in NAMES:
        shutil.rmtree(run / "results" / name.replace(" ", "~"))
    shutil.rmtree(run / "trainings" / METHOD)
    (run / "trials" / METHOD / "trial-001.json").unlink()
    train = RankingLearner.train

    def killed(learner, stage, watch=None):
        def stop(metrics):
            watch(metrics)
            raise KeyboardInterrupt

        return train(learner, stage, stop)

    with monkeypatch.context() as patch:
        patch.setattr(RankingLearner, "train", killed)
        with pytest.raises(KeyboardInterrupt):
            compare(tiny(), run, PLAN, say=without_gradients)
    assert not (run / "trials" / METHOD / "trial-001.json").exists()
    compare(tiny(), run, PLAN, say=without_gradients)
    assert rows_of(run) == rows_of(directory)


def test_teachers_of_a_finished_run_are_taken(
    unbroken, tiny, tmp_path, monkeypatch
):
    train = RankingLearner.train

    def train_students(learner, stage, watch=None):
        assert stage == "student"
        return train(learner, stage, watch)

    monkeypatch.setattr(RankingLearner, "train", train_students)
    plan = Plan(["student"], seeds=1, teacher_dir=unbroken[0] / "teachers")
    other = compare(tiny(), tmp_path / "run", plan, say=without_gradients)
    mine, its = (x["test"]["teacher"]["rows"] for x in (other, unbroken[1]))
    assert mine[0]["metrics"] == its[0]["metrics"]


@pytest.mark.parametrize(
    ("methods", "words"),
    [
        (["soft_target"], ["--methods", "soft_target"]),
        ([], ["--methods", "none"]),
        (["hint@liked"], ["--methods", "hint", "@"]),
        ([f"{METHOD}@click"], [METHOD, "liked", "--teacher_networks"]),
        (["cross_task"], ["cross_task", "Add a task"]),
    ],
)
def test_a_mistake_is_told_before_anything_trains(
    methods, words, tiny, tmp_path, monkeypatch
):
    monkeypatch.setattr(RankingLearner, "train", never)
    with pytest.raises(UserError) as error:
        compare(tiny(), tmp_path / "run", Plan(methods), say=without_gradients)
    assert "\n" not in str(error.value)
    for word in words:
        assert word in str(error.value)


def test_once_tested_nobody_is_tuned_any_more(unbroken, tiny, tmp_path):
    shutil.copytree(unbroken[0], tmp_path / "run", symlinks=True)
    plan = dataclasses.replace(PLAN, trials=3)
    with pytest.raises(UserError, match=r"`--trials`.*Received: 3, was 2"):
        compare(tiny(), tmp_path / "run", plan, say=without_gradients)
