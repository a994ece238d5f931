"""The benchmarks run and add up; what they measure is not tested here."""

import json
import os
import subprocess
import sys

import pytest

from kd_tfrs.errors import UserError
from kd_tfrs.workflow.retrieval.config import Config

# One process each, since their flags have the same names; side by side.
LAZY_ADAM = ["--rows=500", "--dim=4", "--batch=16", "--repeats=3", "--warmup=1"]
MEASURED = ["student", "soft_targets", "soft_targets@live", "rrd_item_side"]
TURNS = ["--repeats=2", "--steps=2", "--warmup=1", "--epoch_repeats=1"]
REQUIRED = ["--step_limit=0", "--epoch_limits=soft_targets:1e6"]
MISTAKES = {
    "epoch of nobody": ["--methods=rrd", "--epoch_methods=de"],
    "no number": ["--epoch_limits=rrd:fast"],
}


def start(scripts, name, *args):
    return subprocess.Popen(
        [sys.executable, str(scripts / "benchmarks" / name), *args],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
    )


@pytest.fixture(scope="module")
def answers(scripts, tiny_flags, tmp_path_factory):
    """Status, stdout, stderr and the path of what was written."""
    folder = tmp_path_factory.mktemp("benchmarks")
    paths = {name: folder / name for name in ("lazy_adam", "distillation")}
    flags = [*tiny_flags(dataset="synthetic"), *TURNS]
    started = {
        "lazy_adam": start(
            scripts,
            "lazy_adam.py",
            *LAZY_ADAM,
            "--limit=1e6",
            f"--output={paths['lazy_adam']}",
        ),
        "distillation": start(
            scripts,
            "distillation.py",
            *flags,
            *REQUIRED,
            f"--methods={','.join(MEASURED[1:])}",
            f"--output={paths['distillation']}",
        ),
    }
    for case, args in MISTAKES.items():
        started[case] = start(scripts, "distillation.py", *flags, *args)
    found = {}
    for name, process in started.items():
        out, err = process.communicate(timeout=300)
        found[name] = process.returncode, out, err, paths.get(name)
    return found


def written(path):
    return (
        json.loads(path.with_suffix(".json").read_text()),
        path.with_suffix(".md").read_text(),
    )


def test_lazy_adam_writes_what_it_prints(answers):
    status, out, err, path = answers["lazy_adam"]
    assert status == 0, err
    result, page = written(path)
    assert out.strip() == page.strip()
    step = result["training step"]
    assert list(step) == ["SGD (legacy)", "Adagrad (legacy)", "LazyAdam"]
    for row in step.values():
        base = step["SGD (legacy)"]["p50_ms"]
        assert row["ratio"] == pytest.approx(row["p50_ms"] / base)
    assert "| training step | LazyAdam | " in page


def test_distillation_measures_every_method(answers):
    _, out, err, path = answers["distillation"]
    result, page = written(path)
    assert out.strip() == page.strip(), err
    steps = result["step"]
    assert list(steps) == list(result["epoch"]) == MEASURED
    for row in steps.values():
        base = steps["student"]["p50_ms"]
        assert row["ratio"] == pytest.approx(row["p50_ms"] / base)
        assert 0 < row["p50_ms"] <= row["p95_ms"] <= row["p99_ms"]
    # Lists and random candidates come on top of those of the labels.
    assert steps["soft_targets"]["candidates"] > 256 + 32
    assert steps["student"]["candidates"] == 256 + 32


def test_epochs_follow_from_steps_or_the_clock(answers):
    result, _ = written(answers["distillation"][3])
    count, epochs = result["data"]["steps_per_epoch"], result["epoch"]
    timed = {n: row["timed_s"] for n, row in epochs.items() if row["timed_s"]}
    assert list(timed) == ["student", "soft_targets"]
    for name, row in epochs.items():
        step = result["step"][name]
        assert row["steps_s"] == pytest.approx(count * step["p50_ms"] / 1e3)
        expected = step["ratio"]
        if name in timed:
            expected = timed[name] / timed["student"]
        assert row["ratio"] == pytest.approx(expected)
        # They are of another data set.
        assert row["published_s"] is None


def test_a_bound_that_does_not_hold_is_told(answers):
    status, _, _, path = answers["distillation"]
    result, page = written(path)
    assert status == 1
    step, epoch = result["bounds"]
    assert (step["holds"], epoch["holds"]) == (False, True)
    assert step["value"] == result["step"]["soft_targets"]["ratio"]
    row = result["epoch"]["soft_targets"]
    assert epoch["value"] == max(row["steps_s"], row["timed_s"])
    assert "| 0 | NO |" in page
    assert "| 1e+06 | yes |" in page


def test_the_page_names_no_path(answers):
    result, page = written(answers["distillation"][3])
    assert "--output" not in result["command"]
    assert result["command"] in page
    assert "untrained" in page


@pytest.mark.parametrize("case", MISTAKES)
def test_a_mistake_ends_in_one_line(case, answers):
    status, _, err, _ = answers[case]
    assert status == 2
    assert err.startswith("error: "), err
    assert err.count("\n") == 1, err


def test_methods_that_cannot_be_measured_are_refused(scripts, monkeypatch):
    monkeypatch.syspath_prepend(str(scripts / "benchmarks"))
    import students

    for name in ("kl", "kl@live", "soft_targets@ease", "gated"):
        with pytest.raises(UserError, match="--methods"):
            students.StudentFactory(Config(), None, [name], None)
