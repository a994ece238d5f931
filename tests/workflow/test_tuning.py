"""A search that a kill does not disturb."""

import json
import sys

import pytest

from kd_tfrs.errors import UserError
from kd_tfrs.workflow.tuning import Outcome, Pruned, Search

SPACE = {"x": (2, 1, 3, 4), "y": ("b", "a", "c")}
FIRST = {"x": 2, "y": "b"}
TRIALS = 8


def score(point):
    return point["x"] + (point["y"] == "c")


def objective(number, point, report):
    report(1, score(point))
    return Outcome(score(point), {"doubled": 2 * score(point)})


def search(directory, **changes):
    options = {"space": SPACE, "first": FIRST, "seed": 5, **changes}
    return Search(directory, **options)


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory):
    directory = tmp_path_factory.mktemp("unbroken")
    return search(directory).run(objective, TRIALS)


def test_the_first_trial_is_the_given_point(unbroken):
    assert unbroken[0]["point"] == FIRST
    assert unbroken[0]["value"] == score(FIRST)
    assert unbroken[0]["doubled"] == 2 * score(FIRST)


def test_every_trial_is_another_point_of_the_space(unbroken):
    points = [tuple(r["point"].items()) for r in unbroken]
    assert len(set(points)) == TRIALS
    assert [r["number"] for r in unbroken] == list(range(TRIALS))
    for record in unbroken:
        for name, value in record["point"].items():
            assert value in SPACE[name]


def test_a_small_space_may_repeat(tmp_path):
    one = search(tmp_path, space={"x": (1, 2)}, first={"x": 1})
    records = one.run(lambda n, p, r: Outcome(p["x"]), 4)
    assert len(records) == 4


@pytest.mark.parametrize("killed_in", [0, 1, 4])
def test_a_killed_search_goes_on_as_if_nothing_had_been(
    killed_in, unbroken, tmp_path
):
    def killed(number, point, report):
        if number == killed_in:
            report(1, score(point))
            raise KeyboardInterrupt
        return objective(number, point, report)

    with pytest.raises(KeyboardInterrupt):
        search(tmp_path).run(killed, TRIALS)
    assert len(search(tmp_path).records()) == killed_in
    (tmp_path / f".trial-{killed_in:03d}.json.partial").write_text("{")
    assert search(tmp_path).run(objective, TRIALS) == unbroken


def test_trials_that_ended_are_not_run_again(tmp_path):
    before = search(tmp_path).run(objective, 3)

    def never(*_):
        raise AssertionError

    assert search(tmp_path).run(never, 3) == before
    assert len(search(tmp_path).run(objective, 4)) == 4


def test_hopeless_trials_are_given_up(tmp_path):
    # What is worse than the median after the warm-up ends there.
    reported = []

    def learn(number, point, report):
        for epoch in (1, 2, 3, 4):
            value = 0.0 if number > 2 else 1.0 + epoch
            report(epoch, value)
            reported.append((number, epoch))
        return Outcome(value)

    one = search(tmp_path, warmup_epochs=2)
    records = one.run(learn, 4)
    states = [record["state"] for record in records]
    assert states == ["complete"] * 3 + ["pruned"]
    assert [e for n, e in reported if n == 3] == [1]
    assert set(records[3]["values"]) == {"1", "2"}
    assert one.best()["number"] == 0, "the earlier one of equals"


def test_the_best_is_not_one_that_was_given_up(tmp_path):
    def learn(number, point, report):
        report(1, 9.0)
        if number == 1:
            raise Pruned
        return Outcome(float(number))

    one = search(tmp_path)
    one.run(learn, 3)
    assert one.best()["number"] == 2


def test_one_trial_needs_no_optuna(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    assert len(search(tmp_path).run(objective, 1)) == 1
    with pytest.raises(ImportError, match=r"pip install 'kd_tfrs\[search\]'"):
        search(tmp_path).run(objective, 2)


@pytest.mark.parametrize(
    "space", [{"x": (7, 8), "y": ("b",)}, {"x": (2, 1)}, {"z": (2,)}]
)
def test_another_space_is_refused(space, tmp_path):
    search(tmp_path).run(objective, 1)
    with pytest.raises(UserError, match="another `--run_dir`"):
        search(tmp_path, space=space).run(objective, 2)


def test_records_are_plain_json(unbroken, tmp_path):
    search(tmp_path).run(objective, 1)
    text = (tmp_path / "trial-000.json").read_text()
    assert json.loads(text) == unbroken[0]
