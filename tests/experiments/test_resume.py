"""kill -9 at any time, the same command again, the same result."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

# What appears in the run folder when a phase has begun, and what only its
# end leaves there.
PHASES = {
    "teacher": ("training/teacher/checkpoints/checkpoint", "weights/teacher*"),
    "cache": ("knowledge/*/manifest.json", "knowledge/*/queries-*"),
    "distilled": (
        "training/distilled/checkpoints/checkpoint",
        "weights/distilled*",
    ),
    # The second of two sparsities: the first one is done and kept.
    "pruned": (
        "training/pruned_0.5/checkpoints/checkpoint",
        "weights/pruned*",
    ),
    "export": ("export/retrieval/.partial-*", "export/retrieval/1"),
}
# The same of a ranking run.
RANKING_PHASES = {
    "teacher_dcn": (
        "training/teacher_dcn/checkpoints/checkpoint",
        "weights/teacher_dcn*",
    ),
    "distilled": PHASES["distilled"],
    # The first of several sparsities.
    "pruned": ("training/pruned_*/checkpoints/checkpoint", "weights/pruned*"),
    "export": ("export/ranking/.partial-*", "export/ranking/1"),
}
RANKING = [
    "--task=ranking",
    "--num_events=3000",
    "--tasks=click",
    "--history_length=0",
    "--teacher_networks=dcn,deepfm",
    "--teacher_epochs=3",
    "--distilled_epochs=3",
    "--pruning_epochs=2",
    "--distillation_unlabelled=0.5",
    "--eval_bootstrap=5",
    "--stages=distilled,pruned,saved_model",
]
EPOCHS = {"teacher_epochs": 3, "distilled_epochs": 3, "pruning_epochs": 2}
# Whatever is lost, it goes on to the second sparsity.
LEVELS = {"pruning_sparsities": "0.25,0.5", "max_loss": 1}
# Enough for one kill, and not more of a graph than it takes.
SHORT = [
    "--stages=distilled",
    "--teacher_epochs=1",
    "--teacher_features=ids",
    "--student_features=ids",
]
TIMEOUT_SECONDS = 300


@pytest.fixture
def command(scripts, tiny_flags):
    def build(run_dir, *more):
        script = str(scripts / "distill.py")
        flags = tiny_flags(run_dir=run_dir, **EPOCHS, **LEVELS)
        flags.append("--noeval_baselines")
        return [sys.executable, script, *flags, *more]

    return build


def finish(command):
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=TIMEOUT_SECONDS
    )
    assert done.returncode == 0, done.stderr
    return done


def kill_in(phase, command, run_dir, phases=PHASES):
    """Starts a run and kills it as soon as a phase has begun."""
    begun, over = phases[phase]
    with subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        deadline = time.monotonic() + TIMEOUT_SECONDS
        while not any(run_dir.glob(begun)):
            assert process.poll() is None, f"over before {phase} began"
            assert time.monotonic() < deadline
            time.sleep(0.001)
        os.kill(process.pid, signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
    assert not any(run_dir.glob(over)), f"{phase} was over too soon"


def results(run_dir):
    """Test metrics and weights of all stages."""
    found = json.loads((run_dir / "metrics.json").read_text())
    metrics = {row["stage"]: row["metrics"] for row in found["stages"]}
    weights = {}
    for path in sorted((run_dir / "weights").glob("*.npz")):
        with np.load(path) as arrays:
            weights[path.stem] = dict(arrays)
    return metrics, weights


def assert_same_results(one, other):
    (metrics, weights), (other_metrics, other_weights) = map(
        results, (one, other)
    )
    assert metrics == other_metrics
    assert weights.keys() == other_weights.keys()
    for stage, arrays in weights.items():
        for name, array in arrays.items():
            np.testing.assert_array_equal(
                array, other_weights[stage][name], err_msg=f"{stage} {name}"
            )


def test_a_kill_in_distillation_changes_nothing(tmp_path, command):
    killed, unbroken = tmp_path / "killed", tmp_path / "unbroken"
    # Side by side, since a good part of each is waiting.
    with subprocess.Popen(
        command(unbroken, *SHORT),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as other:
        kill_in("distilled", command(killed, *SHORT), killed)
        finish(command(killed, *SHORT))
        assert other.wait(TIMEOUT_SECONDS) == 0
    assert_same_results(killed, unbroken)
    assert "distilled goes on after epoch" in (killed / "log.txt").read_text()


@pytest.mark.slow
def test_five_kills_change_nothing(tmp_path, command):
    killed, unbroken = tmp_path / "killed", tmp_path / "unbroken"
    for phase in PHASES:
        kill_in(phase, command(killed), killed)
    finish(command(killed))
    finish(command(unbroken))
    assert_same_results(killed, unbroken)
    versions = sorted(p.name for p in (killed / "export/retrieval").iterdir())
    assert versions == ["1"]


@pytest.mark.slow
def test_four_kills_change_nothing_of_a_ranker(tmp_path, scripts):
    killed, unbroken = tmp_path / "killed", tmp_path / "unbroken"
    script = [sys.executable, str(scripts / "distill.py"), *RANKING]
    again, once = ([*script, f"--run_dir={d}"] for d in (killed, unbroken))
    for phase in RANKING_PHASES:
        kill_in(phase, again, killed, RANKING_PHASES)
    finish(again)
    finish(once)
    assert_same_results(killed, unbroken)
    versions = sorted(p.name for p in (killed / "export/ranking").iterdir())
    assert versions == ["1"]
