r"""Copies the findings of a finished run to experiments/results/<name>.

    python experiments/publish.py --run_dir=runs/first --name=synthetic \
        --command="make run"

Tables, plots, metrics with flags, seeds, hardware and commit, and the log are
kept; weights, checkpoints and exports are not. The README's tables are the
ones that stand here (tests hold it to that).
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

from absl import flags

sys.path.insert(0, os.path.dirname(__file__))
import console

from kd_tfrs.errors import UserError

FLAGS = flags.FLAGS
flags.DEFINE_string(
    "run_dir",
    None,
    "A finished run, one of --seeds, a comparison or a pipeline.",
)
flags.DEFINE_string("name", None, "Folder below experiments/results.")
flags.DEFINE_string("command", None, "The command that made the run.")
GROUPS = {"Publish": ["run_dir", "name", "command"]}

RESULTS = Path(__file__).parent / "results"
KEPT = (
    "metrics.json",
    "stages.md",
    "stages.txt",
    "stages.png",
    "curves.png",
    "roc.png",
    "calibration.png",
    "scores.png",
    "log.txt",
    "summary.json",
    "summary.md",
    "comparison.json",
    "comparison.md",
    "comparison.csv",
    "comparison.png",
    "overview.json",
    "overview.md",
    "pipeline.json",
    "pipeline.md",
    "pipeline.png",
)
# Files of which a finished run has at least one.
FINDINGS = (
    "metrics.json",
    "summary.json",
    "comparison.json",
    "pipeline.json",
)


def run() -> Path:
    """Copies; returns the folder."""
    for name in GROUPS["Publish"]:
        if not FLAGS[name].value:
            raise UserError(f"`--{name}` should be given. Received: none.")
    source, target = Path(FLAGS.run_dir), RESULTS / FLAGS.name
    found = [p for p in sorted(source.rglob("*")) if _is_kept(p)]
    if not any(p.name in FINDINGS for p in found):
        raise UserError(
            f"`--run_dir` should hold a finished run, with one of "
            f"{', '.join(FINDINGS)}. Received: {source}. Run "
            "experiments/distill.py, compare.py or pipeline.py to its end."
        )
    shutil.rmtree(target, ignore_errors=True)
    for path in found:
        place = target / path.relative_to(source)
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, place)
    (target / "command.txt").write_text(FLAGS.command + "\n")
    print(f"{len(found)} files in {target}")
    return target


def _is_kept(path: Path) -> bool:
    """Findings, and the flags that a comparison chose."""
    chosen = path.parent.name == "best" and path.suffix == ".flags"
    return path.name in KEPT or chosen


if __name__ == "__main__":
    console.main(run, GROUPS, __doc__)
