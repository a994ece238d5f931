r"""Copies the findings of a finished run to experiments/results/<name>.

    python experiments/publish.py --run_dir=runs/first --name=synthetic \
        --command="make run" --refresh
    python experiments/publish.py --refresh

Tables, plots, metrics with flags, seeds, hardware and commit, and the log are
kept; weights, checkpoints and exports are not. --refresh, with or without a
run, updates the tables and sentences of README.md and docs/ from
experiments/results; a test compares them.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

from absl import flags

sys.path.insert(0, os.path.dirname(__file__))
import console
import pages

from kd_tfrs.errors import UserError

FLAGS = flags.FLAGS
_RUN = ("run_dir", "name", "command")
GROUPS = {"Publish": [*_RUN, "refresh"]}

RESULTS = pages.RESULTS
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
    "defaults.json",
    "defaults.md",
    "data.md",
)
# Files of which a finished run has at least one.
FINDINGS = (
    "metrics.json",
    "summary.json",
    "comparison.json",
    "pipeline.json",
    "defaults.json",
)


def define_flags() -> None:
    """Defines the flags of the script."""
    flags.DEFINE_string(
        "run_dir",
        None,
        "A finished run, one of --seeds, a comparison or a pipeline.",
    )
    flags.DEFINE_string("name", None, "Folder below experiments/results.")
    flags.DEFINE_string("command", None, "The command that made the run.")
    flags.DEFINE_bool(
        "refresh",
        False,
        "Write the tables and sentences of README.md and docs/ anew; alone, "
        "or once the run is copied.",
    )


def run() -> list[Path]:
    """Copies the run and refreshes the pages; returns the written paths."""
    changed = []
    if not FLAGS.refresh or any(FLAGS[name].value for name in _RUN):
        changed.append(publish(*(FLAGS[name].value for name in _RUN)))
    if FLAGS.refresh:
        changed += refresh()
    return changed


def refresh() -> list[Path]:
    """Writes pages anew; returns those that have changed."""
    changed = pages.refresh(pages.ROOT, RESULTS)
    names = ", ".join(page.name for page in changed)
    print(f"pages written anew: {names or 'none'}")
    for source in _missing():
        print(f"not published yet: {source}")
    return changed


def _missing() -> list[str]:
    """What pages include and is not there."""
    sources = {
        part.source
        for page in pages.pages(pages.ROOT)
        for part in pages.parts(page.read_text())
        if not pages.written(part.kind, part.source, RESULTS)
    }
    return sorted(sources)


def publish(run_dir: str | None, name: str | None, command: str | None) -> Path:
    """Copies the findings of a run.

    Args:
        run_dir: of the run.
        name: of the folder below experiments/results.
        command: that made the run.

    Returns:
        The folder.

    Raises:
        UserError: one of them is missing, or the run is not finished.
    """
    for flag, value in zip(_RUN, (run_dir, name, command), strict=True):
        if not value:
            raise UserError(f"`--{flag}` should be given. Received: none.")
    source, target = Path(run_dir), RESULTS / name
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
    (target / "command.txt").write_text(f"{command}\n")
    print(f"{len(found)} files in {target}")
    return target


def _is_kept(path: Path) -> bool:
    """Findings, and the flags that a comparison chose."""
    chosen = path.parent.name == "best" and path.suffix == ".flags"
    return path.name in KEPT or chosen


if __name__ == "__main__":
    # Not when it is imported: scripts with a flag of the same name could not
    # be imported beside it.
    define_flags()
    console.main(run, GROUPS, __doc__)
