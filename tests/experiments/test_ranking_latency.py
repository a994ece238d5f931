"""The latency of a ranking run: a mistake ends in one line."""

import os
import subprocess
import sys


def test_a_run_is_needed(scripts, tmp_path):
    result = subprocess.run(
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
    assert result.returncode == 2
    assert "`--run_dir` should be the folder of a finished" in result.stderr
    assert "Traceback" not in result.stderr
