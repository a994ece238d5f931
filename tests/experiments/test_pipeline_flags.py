"""The command line of the pipeline; what it does is tested in workflow."""

import os
import subprocess
import sys

import pytest

from kd_tfrs.workflow.pipeline.config import PipelineConfig

# One process each, side by side: flags have the names of other scripts'.
BOTH = ["--retrieval_run=here", "--ranking_run=there"]
MISTAKES = {
    "unknown flag": (["--retreival_run=x"], ["retreival_run", "--help"]),
    "out of range": (["--num_retrieved=5"], ["--num_retrieved", "10"]),
    "unused option": (
        [*BOTH, "--dataset=movielens-100k"],
        ["`--dataset`", "Leave it out"],
    ),
    "unused flag file": (
        [*BOTH, "--ranking_flags=a.flags"],
        ["`--ranking_flags`"],
    ),
    "task": (["--task=ranking"], ["`--task`", "Leave it out"]),
    "missing flag file": (["--ranking_flags=no.flags"], ["no.flags"]),
}


def start(scripts, *args):
    return subprocess.Popen(
        [sys.executable, str(scripts / "pipeline.py"), *args],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
    )


@pytest.fixture(scope="module")
def answers(scripts, tmp_path_factory):
    """Status, stdout and stderr of each mistake, and of --help."""
    started = {name: start(scripts, *MISTAKES[name][0]) for name in MISTAKES}
    path = tmp_path_factory.mktemp("flags") / "other.flags"
    path.write_text("--task=retrieval\n")
    started["wrong task"] = start(scripts, f"--ranking_flags={path}")
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
    assert err.startswith("error: "), err
    assert err.count("\n") == 1, err
    for word in MISTAKES[case][1]:
        assert word in err


def test_a_flag_file_of_the_other_task_is_refused(answers):
    status, _, err = answers["wrong task"]
    assert status == 2
    assert "`--ranking_flags` should be of a run with --task=ranking" in err


def test_help_explains_itself(answers):
    status, text, err = answers["help"]
    assert (status, err) == (0, "")
    for name in PipelineConfig().flat():
        if name != "task":
            assert text.count(f"\n  --{name}: ") == 1, name
    for words in ("pipeline.md", "--split=time", "--retrieval_flags"):
        assert words in text
    assert max(map(len, text.splitlines())) <= 80
