"""A search of one stage, for both tasks."""

import csv
import json
import subprocess
import sys

import pytest

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
def tuned(scripts, tmp_path):
    # In processes of their own: scripts define flags of the same names.
    def run(stage, **changes):
        given = {**FLAGS, **changes, "stage": stage, "run_dir": tmp_path}
        flags = [f"--{name}={value}" for name, value in given.items()]
        done = subprocess.run(
            [sys.executable, str(scripts / "tune.py"), *flags],
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

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
def test_a_stage_is_tuned(stage, changes, names, tuned, tmp_path):
    pytest.importorskip("optuna")
    said = tuned(stage, trials=2, **changes)
    paths = sorted((tmp_path / stage / "trials").glob("*/trial-*.json"))
    records = [json.loads(path.read_text()) for path in paths]
    with (tmp_path / f"{stage}.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["number"] for row in rows] == ["0", "1"]
    assert set(names) <= set(rows[0])
    best = max(records, key=lambda record: record["value"])
    point = {k: v for k, v in best["point"].items() if v is not None}
    assert (tmp_path / f"{stage}.flags").read_text().splitlines() == [
        f"--{name}={value}" for name, value in point.items()
    ]
    assert f"best validation {best['value']:.4f} of 2 trials" in said


def test_a_search_is_resumed(tuned, tmp_path):
    said = tuned("student", trials=1)
    assert "trial 0" in said
    assert "--student_learning_rate=0.02" in said
    assert "trial 0" not in tuned("student", trials=1)
