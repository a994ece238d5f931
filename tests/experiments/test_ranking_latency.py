"""The latency of a ranking run: a mistake is told in one line."""

import os
import subprocess
import sys


def test_a_run_is_needed(scripts, tmp_path):
    told = subprocess.run(
        [
            sys.executable,
            str(scripts / "benchmarks" / "ranking_latency.py"),
            f"--run_dir={tmp_path}",
        ],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
    )
    assert told.returncode == 2
    assert "`--run_dir` should be the folder of a finished" in told.stderr
    assert "Traceback" not in told.stderr
