"""A search of one stage, for both tasks."""

import csv
import sys

import console
import pytest
import tune
from absl.testing import flagsaver

FLAGS = {
    "num_events": 600,
    "teacher_epochs": 1,
    "student_epochs": 1,
    "distilled_epochs": 1,
}
RANKING = {
    "task": "ranking",
    "num_events": 1500,
    "teacher_networks": "dnn",
    "teacher_hidden_units": "4",
    "teacher_embedding_dim": 2,
    "student_embedding_dim": 2,
    "student_hidden_units": "3",
}


@pytest.fixture
def tuned(tmp_path, monkeypatch):
    def run(stage, **changes):
        given = {**FLAGS, **changes, "stage": stage, "run_dir": tmp_path}
        with flagsaver.flagsaver():
            argv = ["tune", *(f"--{k}={v}" for k, v in given.items())]
            monkeypatch.setattr(sys, "argv", argv)
            tune.FLAGS(argv)
            records = tune.run()
        lines = (tmp_path / f"{stage}.flags").read_text().splitlines()
        with (tmp_path / f"{stage}.csv").open() as file:
            rows = list(csv.DictReader(file))
        return records, lines, rows

    return run


@pytest.mark.parametrize(
    ("stage", "changes", "names"),
    [
        (
            "distilled",
            {"distillation_losses": "soft_targets"},
            ["distilled_learning_rate", "distillation_top_k"],
        ),
        ("teacher", RANKING, ["teacher_learning_rate", "teacher_l2"]),
        (
            "distilled",
            RANKING,
            ["distilled_dropout", "distillation_temperature"],
        ),
    ],
)
def test_a_stage_is_tuned_and_resumed(stage, changes, names, tuned, capsys):
    pytest.importorskip("optuna")
    records, lines, rows = tuned(stage, trials=2, **changes)
    assert [record["number"] for record in records] == [0, 1]
    assert [row["number"] for row in rows] == ["0", "1"]
    best = max(records, key=lambda record: record["value"])
    point = {k: v for k, v in best["point"].items() if v is not None}
    assert lines == [f"--{name}={value}" for name, value in point.items()]
    assert set(names) <= set(rows[0])
    assert f"best validation {best['value']:.4f} of 2 trials" in (
        capsys.readouterr().out
    )
    # The first trial has the given flags, and is not run again.
    assert tuned(stage, trials=2, **changes)[0] == records
    assert "trial 0" not in capsys.readouterr().out


def test_the_best_flags_are_a_flag_file(tuned, tmp_path):
    tuned("student", trials=1)
    with flagsaver.flagsaver():
        tune.FLAGS(["tune", f"--flagfile={tmp_path / 'student.flags'}"])
        assert console.config_from_flags().student.learning_rate == 0.02
