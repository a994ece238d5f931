"""The README's Python example runs as it stands."""

import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).parents[1]
README = ROOT / "README.md"
RESULTS = ROOT / "experiments" / "results"


def test_the_example_runs_as_it_stands(tmp_path):
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(), re.S)
    assert len(blocks) == 1
    lines = [line for line in blocks[0].splitlines() if line.strip()]
    assert len(lines) <= 25

    done = subprocess.run(
        [sys.executable, "-c", blocks[0]],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert "max_score_difference" in done.stdout
    assert (tmp_path / "models/films/1/saved_model.pb").is_file()


def test_the_tables_are_those_of_the_results():
    """Nobody types a figure: each block is a file that a run has written."""
    blocks = re.findall(
        r"<!-- table: (\S+) -->\n(.*?)<!-- end -->", README.read_text(), re.S
    )
    assert len(blocks) >= 3
    for source, block in blocks:
        written = (RESULTS / source).read_text().splitlines()
        lines = [x for x in block.splitlines() if x and x[:3] != "```"]
        assert lines, source
        for line in lines:
            assert line in written, source
