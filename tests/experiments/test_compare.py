"""The command line of a comparison; what it does is tested in workflow."""

import os
import subprocess
import sys

import pytest

from kd_tfrs.workflow.ranking.config import RankingConfig
from kd_tfrs.workflow.retrieval.config import Config

# One process each, since its flags have the names of other scripts' flags;
# side by side, since most of each is importing.
MISTAKES = {
    "unknown method": (["--methods=kl"], ["--methods", "kl", "soft_targets"]),
    "seeds below zero": (["--seeds=-1"], ["--seeds=-1", "--help"]),
    "no teachers there": (
        ["--methods=soft_targets", "--teacher_dir=nowhere"],
        ["--teacher_dir", "nowhere", "seed-0"],
    ),
    "missing flag file": (["--flagfiles=no.flags"], ["no.flags"]),
    "unknown flag": (["--trails=3"], ["trails", "--help"]),
    "unknown method of rankers": (
        ["--task=ranking", "--methods=soft_targets"],
        ["--methods", "soft_targets", "binary_soft_targets"],
    ),
    "option of ranking": (
        ["--history_length=3"],
        ["--history_length", "--task=ranking"],
    ),
}


def start(scripts, *args):
    return subprocess.Popen(
        [sys.executable, str(scripts / "compare.py"), *args],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
    )


@pytest.fixture(scope="module")
def answers(scripts, tmp_path_factory):
    """Status, stdout and stderr of each mistake, and of --help."""
    run_dir = tmp_path_factory.mktemp("compare") / "run"
    started = {
        name: start(scripts, f"--run_dir={run_dir}-{place}", *args)
        for place, (name, (args, _)) in enumerate(MISTAKES.items())
    }
    started["help"] = start(scripts, "--help")
    found = {}
    for name, process in started.items():
        out, err = process.communicate(timeout=300)
        found[name] = process.returncode, out, err
    return found


@pytest.mark.parametrize("case", MISTAKES)
def test_a_mistake_ends_in_one_line(case, answers):
    status, _, err = answers[case]
    assert status == 2
    assert "Traceback" not in err
    assert err.startswith("error: "), err
    assert err.count("\n") == 1, err
    for word in MISTAKES[case][1]:
        assert word in err


def test_help_explains_itself(answers):
    status, text, err = answers["help"]
    assert (status, err) == (0, "")
    for name in {
        *Config().flat(),
        *RankingConfig().flat(),
        "methods",
        "run_dir",
        "trials",
        "seeds",
        "warmup_epochs",
        "teacher_dir",
        "flagfiles",
        "compress",
    }:
        assert text.count(f"\n  --{name}: ") == 1, name
    assert max(map(len, text.splitlines())) <= 80
    for words in ("--seeds=0", "comparison.md", "validation", "--methods=all"):
        assert words in text
