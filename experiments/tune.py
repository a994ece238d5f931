r"""Tunes one stage on validation events; the test events are not used.

Every stage gets the same sampler (TPE, median pruning of hopeless trials)
and the same number of trials, so that a student alone is tuned as much as a
distilled one. To copy:

    python experiments/tune.py --stage=student --trials=12 \
        --dataset=citeulike-full --run_dir=runs/tuning
    python experiments/tune.py --stage=distilled --trials=12 \
        --dataset=citeulike-full --run_dir=runs/tuning
    python experiments/tune.py --task=ranking --stage=distilled --trials=12 \
        --dataset=movielens-100k --run_dir=runs/tuning-ranking

Flags set the first trial and whatever is not searched; the same command
resumes a study that was stopped. The best flags are written to
<run_dir>/<stage>.flags, all trials to <run_dir>/<stage>.csv.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys
from pathlib import Path
from typing import Any

from absl import flags

sys.path.insert(0, os.path.dirname(__file__))
import console

from kd_tfrs.workflow.options import FlatConfig
from kd_tfrs.workflow.packages import require_package
from kd_tfrs.workflow.ranking.config import RankingConfig
from kd_tfrs.workflow.retrieval.config import Config

FLAGS = flags.FLAGS
flags.DEFINE_enum(
    "task", "retrieval", ["retrieval", "ranking"], "What is learned."
)
flags.DEFINE_string("run_dir", "runs/tuning", "Where studies are kept.")
flags.DEFINE_enum(
    "stage", "student", ["teacher", "student", "distilled"], "What to tune."
)
flags.DEFINE_integer("trials", 12, "Trials in all, pruned ones counted.", 1)
flags.DEFINE_integer("warmup_epochs", 10, "Epochs before pruning.", 0)
GROUPS = console.define_config_flags(RankingConfig)
GROUPS["Run"] = ["task", "run_dir", "stage", "trials", "warmup_epochs"]
GROUPS["Run"] += ["seed", "list_methods"]


def _check(config: FlatConfig) -> None:
    """Finds mistakes before TensorFlow is imported."""
    # Imports pandas, for which --help does not wait.
    from kd_tfrs.workflow.ranking import checks as ranking_checks
    from kd_tfrs.workflow.ranking.contenders import tuned_teacher
    from kd_tfrs.workflow.retrieval import checks as retrieval_checks
    from kd_tfrs.workflow.run import check_run_folder

    if config.task == "ranking":
        ranking_checks.check_config(config)
        if FLAGS.stage == "teacher":
            tuned_teacher(config)
    else:
        retrieval_checks.check_config(config)
    check_run_folder(Path(FLAGS.run_dir) / FLAGS.stage, config)
    if FLAGS.trials > 1:
        require_package("Tuning", "optuna", "search")


def run() -> list[dict[str, Any]]:
    """Runs the trials; returns their records."""
    is_ranking = FLAGS.task == "ranking"
    config = console.config_from_flags(RankingConfig if is_ranking else Config)
    _check(config)
    with console.quiet_imports():
        from kd_tfrs.workflow.comparison.experiment import Plan
        from kd_tfrs.workflow.ranking.comparison import RankingComparison
        from kd_tfrs.workflow.retrieval.comparison import RetrievalComparison
        from kd_tfrs.workflow.run import Run
    logging.getLogger("kd_tfrs").propagate = False
    stage, directory = FLAGS.stage, Path(FLAGS.run_dir)
    task = RankingComparison if is_ranking else RetrievalComparison
    plan = Plan(["student"], FLAGS.trials, 0, FLAGS.warmup_epochs)
    with contextlib.closing(Run(directory / stage, config)) as folder:
        comparison = task(folder, plan, print)
        if stage == "distilled":
            prepared = comparison.prepared(config.seed)
            comparison.teachers.get(prepared, config.seed)
        records = comparison.tune(comparison.tuned(stage))
    _report(records, stage, directory)
    return records


def _report(records: list[dict[str, Any]], stage: str, directory: Path) -> None:
    from kd_tfrs.evaluation.tables import as_csv

    done = [record for record in records if record["state"] == "complete"]
    best = max(done, key=lambda record: record["value"])
    # What is unset stays with its default.
    lines = [
        f"--{name}={value}"
        for name, value in best["point"].items()
        if value is not None
    ]
    (directory / f"{stage}.flags").write_text("\n".join(lines) + "\n")
    rows = [{**record, **record["point"]} for record in records]
    columns = ["number", "state", "value", *best["point"]]
    (directory / f"{stage}.csv").write_text(as_csv(rows, columns))
    print(f"best validation {best['value']:.4f} of {len(records)} trials:")
    print("\n".join(lines))


if __name__ == "__main__":
    console.main(run, GROUPS, __doc__)
