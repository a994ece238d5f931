"""A tiny comparison from end to end: budget, seeds, kills, no peeking."""

import dataclasses
import functools
import json
import shutil

import numpy as np
import pytest

from kd_tfrs.errors import UserError
from kd_tfrs.workflow.comparison.experiment import Plan
from kd_tfrs.workflow.comparison.experiment import compare as compare_task
from kd_tfrs.workflow.comparison.overview import compare_data_sets
from kd_tfrs.workflow.retrieval import comparison, measure
from kd_tfrs.workflow.retrieval.comparison import (
    RetrievalComparison,
    retrieval_teachers,
)
from kd_tfrs.workflow.retrieval.config import Config
from kd_tfrs.workflow.retrieval.learner import Learner
from kd_tfrs.workflow.run import Run

METHOD = "soft_targets"
PLAN = Plan([METHOD], trials=2, seeds=2)
compare = functools.partial(compare_task, RetrievalComparison)


@pytest.fixture(scope="module")
def config(tiny):
    small = {
        "num_events": 800,
        "teacher_features": "ids",
        "student_features": "ids",
        "student_epochs": 2,
        "distilled_epochs": 2,
    }
    return Config.from_flat({**tiny, **small})


@pytest.fixture(scope="module")
def unbroken(config, tmp_path_factory):
    """A comparison that nothing happened to."""
    directory = tmp_path_factory.mktemp("comparison") / "run"
    said = []
    found = compare(config, directory, PLAN, say=said.append)
    return directory, found, said


def without_gradients(*_):
    pass


def rows_of(directory):
    """Everything that was tested, without clocks, places and commits."""
    found = {}
    for path in sorted((directory / "results").glob("*/*.json")):
        row = json.loads(path.read_text())
        row.pop("train_seconds")
        row.pop("commit")
        with np.load(path.with_suffix(".npz")) as arrays:
            values = {name: arrays[name].tolist() for name in arrays}
        found[f"{path.parent.name}/{path.stem}"] = row, values
    return found


def never(*_, **__):
    raise AssertionError("this should not be asked")


def test_everybody_has_the_same_budget_and_all_seeds(unbroken):
    _, found, said = unbroken
    assert found["seeds"] == [0, 1]
    trials = {r["method"]: r["trials"] for r in found["validation"]["methods"]}
    assert trials == {"student": 2, METHOD: 2}
    test = found["test"]
    named = [("student", test["student"]), ("teacher", test["teacher"])]
    named += [(m["method"], m) for m in test["methods"]]
    assert [name for name, _ in named] == ["student", "teacher", METHOD]
    for name, method in named:
        assert [row["seed"] for row in method["rows"]] == [0, 1]
        assert "commit" in method["rows"][0]
        assert method["train_seconds"] > 0, name
        assert method["epochs"] == 2
    assert any(METHOD in line and "seed 1" in line for line in said)


def test_the_folder_holds_what_is_promised(unbroken):
    directory, found, _ = unbroken
    for name in ("comparison.md", "comparison.csv", "log.txt", "flags.json"):
        assert (directory / name).stat().st_size > 100
    assert (directory / "comparison.png").read_bytes().startswith(b"\x89PNG")
    written = json.loads((directory / "comparison.json").read_text())
    assert written == json.loads(json.dumps(found))
    best = (directory / "best" / f"{METHOD}.flags").read_text()
    assert f"--distillation_losses={METHOD}:" in best
    assert "trial 1" in (directory / "log.txt").read_text()
    assert not list(directory.glob("trainings/*/*/training"))


def test_the_best_trial_is_what_is_repeated(unbroken):
    directory, found, _ = unbroken
    for row in found["validation"]["methods"]:
        trials = [
            json.loads(path.read_text())
            for path in (directory / "trials" / row["method"]).iterdir()
        ]
        best = max(trials, key=lambda trial: trial["value"])
        assert row["value"] == best["value"]
        assert row["value"] == row["validation"]["ndcg@10"]
        for seed in (0, 1):
            path = directory / "results" / row["method"] / f"seed-{seed}.json"
            tested = json.loads(path.read_text())
            assert tested["flags"] == {**best["flags"], "seed": seed}
    assert trials[0]["point"] != trials[1]["point"]


def test_the_best_student_is_compressed(config, tmp_path):
    plan = Plan([METHOD], seeds=1, compress=True)
    found = compare(config, tmp_path / "run", plan, say=without_gradients)
    test = found["test"]
    pruned, int8 = test["compressed"]
    (method,) = test["methods"]
    assert [pruned["method"], int8["method"]] == [
        f"{METHOD} pruned",
        f"{METHOD} int8",
    ]
    assert pruned["parameters"] == method["parameters"]
    assert pruned["nonzero_parameters"] < method["nonzero_parameters"]
    # A byte a value at most, and zeros of tables take less.
    assert 0 < int8["size_bytes"] < 4 * method["parameters"]
    pairs = [
        (one["baseline"], one["challenger"]) for one in test["other_tests"]
    ]
    assert pairs == [(METHOD, pruned["method"]), (METHOD, int8["method"])]
    for row in (*pruned["rows"], *int8["rows"]):
        assert row["metrics"]["ndcg@20"] > 0
    text = (tmp_path / "run" / "comparison.md").read_text()
    assert f"| {METHOD} int8 | " in text


def test_metrics_are_those_of_the_weights_that_were_kept(unbroken, config):
    directory = unbroken[0]
    rows = rows_of(directory)
    for key, (row, values) in rows.items():
        for metric in ("ndcg@20", "recall@50"):
            mean = np.mean(values[metric])
            assert row["metrics"][metric] == pytest.approx(mean), key
    users = {tuple(values["user"]) for _, values in rows.values()}
    assert len(users) == 1


def test_the_same_command_again_trains_nothing(
    unbroken, config, tmp_path, monkeypatch
):
    directory, found, _ = unbroken
    shutil.copytree(directory, tmp_path / "run", symlinks=True)
    monkeypatch.setattr(Learner, "train", never)
    monkeypatch.setattr(measure, "quality", never)
    assert (
        compare(config, tmp_path / "run", PLAN, say=without_gradients) == found
    )


def test_a_kill_anywhere_changes_nothing(
    unbroken, config, tmp_path, monkeypatch
):
    directory = unbroken[0]
    run = tmp_path / "run"
    shutil.copytree(directory, run, symlinks=True)
    # As if it had been killed while the method's second trial trained.
    shutil.rmtree(run / "results")
    shutil.rmtree(run / "trainings" / METHOD)
    (run / "trials" / METHOD / "trial-001.json").unlink()
    (run / "trials" / METHOD / "trial-000.json").unlink()
    train, trained = Learner.train, []

    def killed(learner, stage, watch=None):
        trained.append(stage)

        def stop(metrics):
            watch(metrics)
            if len(trained) == 2:
                raise KeyboardInterrupt

        return train(learner, stage, stop)

    with monkeypatch.context() as patch:
        patch.setattr(Learner, "train", killed)
        with pytest.raises(KeyboardInterrupt):
            compare(config, run, PLAN, say=without_gradients)
    assert not (run / "trials" / METHOD / "trial-001.json").exists()
    assert not (run / "results").exists()
    compare(config, run, PLAN, say=without_gradients)
    assert rows_of(run) == rows_of(directory)


@pytest.fixture
def no_test(monkeypatch):
    """Any question to the test events is a failure."""
    prepare = comparison.prepare

    class Closed:
        def __getattr__(self, name):
            raise AssertionError(f"the test events were asked for {name}")

    def prepared(*args):
        return dataclasses.replace(prepare(*args), test=Closed())

    monkeypatch.setattr(comparison, "prepare", prepared)


def test_a_screening_does_not_touch_the_test_events(
    no_test, unbroken, config, tmp_path
):
    plan = Plan([METHOD], seeds=0, teacher_dir=unbroken[0] / "teachers")
    found = compare(config, tmp_path / "run", plan, say=without_gradients)
    assert found["test"] is None
    assert not (tmp_path / "run" / "results").exists()
    rows = found["validation"]["methods"]
    assert {row["method"]: row["trials"] for row in rows} == {
        "student": 1,
        METHOD: 1,
    }
    text = (tmp_path / "run" / "comparison.md").read_text()
    assert "## Test data" not in text
    assert "This table uses no test data" in text
    assert found["validation"]["teacher"]["ndcg@20"] > 0
    # The guard itself: a repeat would have been noticed.
    with pytest.raises(AssertionError, match="test events were asked"):
        compare(
            config,
            tmp_path / "run",
            dataclasses.replace(plan, seeds=1, trials=1),
            say=without_gradients,
        )


def test_teachers_of_finished_runs_are_taken(
    unbroken, config, tmp_path, monkeypatch
):
    directory, found, _ = unbroken
    train = Learner.train

    def train_students(learner, stage, watch=None):
        assert stage != "teacher"
        return train(learner, stage, watch)

    monkeypatch.setattr(Learner, "train", train_students)
    plan = Plan(["student"], seeds=2, teacher_dir=directory / "teachers")
    other = compare(config, tmp_path / "run", plan, say=without_gradients)
    for ours, theirs in zip(
        other["test"]["teacher"]["rows"],
        found["test"]["teacher"]["rows"],
        strict=True,
    ):
        assert ours["metrics"] == theirs["metrics"]
    assert "given flags" in (tmp_path / "run" / "comparison.md").read_text()


def test_a_teacher_that_one_student_made_is_lent_to_the_next(config, tmp_path):
    teachers = retrieval_teachers(tmp_path / "teachers", config)
    (tmp_path / "teachers" / "seed-0" / "weights").mkdir(parents=True)
    for place, found in enumerate((None, 7)):
        run = Run(tmp_path / f"student-{place}", config, log=False)
        teachers.lend(run)
        weights = run.load_weights("lightgcn")
        assert (weights and int(weights[0])) == found
        if weights is None:
            run.save_weights("lightgcn", [np.array(7)])
            run.save_weights("distilled", [np.array(8)])
        teachers.adopt(run)
        run.close()
    kept = tmp_path / "teachers" / "seed-0" / "weights"
    assert [path.name for path in kept.iterdir()] == ["lightgcn.npz"]


@pytest.mark.parametrize(
    ("changes", "seeds", "words"),
    [
        ({"teacher_dropout": 0.4}, 1, ["--teacher_dropout was 0.2, now 0.4"]),
        ({"num_events": 900}, 1, ["--num_events was 800, now 900"]),
        ({}, 3, ["seed-2/weights/teacher.npz", "fewer --seeds"]),
    ],
)
def test_teachers_of_other_flags_are_refused(
    changes, seeds, words, unbroken, config, tmp_path, monkeypatch
):
    monkeypatch.setattr(comparison, "prepare", never)
    plan = Plan(["student"], 0, seeds, teacher_dir=unbroken[0] / "teachers")
    with pytest.raises(UserError) as error:
        compare(
            Config.from_flat({**config.flat(), **changes}),
            tmp_path / "run",
            plan,
            say=without_gradients,
        )
    for word in ["--teacher_dir", *words]:
        assert word in str(error.value)


def test_nobody_is_tuned_once_the_test_was_asked(unbroken, config, tmp_path):
    shutil.copytree(unbroken[0], tmp_path / "run", symlinks=True)
    with pytest.raises(UserError, match=r"`--trials`.*Received: 3, was 2"):
        compare(
            config,
            tmp_path / "run",
            Plan([METHOD], trials=3),
            say=without_gradients,
        )


def test_one_method_that_fails_leaves_the_others(
    unbroken, config, tmp_path, monkeypatch
):
    train = Learner.train

    def train_alone(learner, stage, watch=None):
        if stage == "distilled":
            raise ValueError("nan\nin a loss")
        return train(learner, stage, watch)

    monkeypatch.setattr(Learner, "train", train_alone)
    plan = Plan([METHOD], seeds=0, teacher_dir=unbroken[0] / "teachers")
    said = []
    with pytest.raises(UserError, match="ValueError: nan in a loss") as error:
        compare_data_sets(
            RetrievalComparison,
            {"one": config},
            tmp_path / "run",
            plan_of(plan, tmp_path),
            say=said.append,
        )
    assert "\n" not in str(error.value)
    text = (tmp_path / "run" / "one" / "comparison.md").read_text()
    assert "student alone" in text
    assert any("the others go on" in line for line in said)
    assert (tmp_path / "run" / "overview.md").exists()
    log = (tmp_path / "run" / "one" / "log.txt").read_text()
    assert "Traceback" in log, "the log tells where"


def plan_of(plan, folder):
    """The plan, with the teachers below a folder of the data set's name."""
    (folder / "teachers").mkdir()
    (folder / "teachers" / "one").symlink_to(plan.teacher_dir)
    return dataclasses.replace(plan, teacher_dir=folder / "teachers")
