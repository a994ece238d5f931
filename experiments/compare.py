r"""Compares distillation methods, all with the same budget of trials.

Each method, and the student alone, is tuned with the same number of trials on
validation data of the first seed. The chosen flags are then trained with every
seed and tested once. Teachers are trained once per seed and shared. To copy:

    python experiments/compare.py --methods=all --trials=1 --seeds=0 \
        --run_dir=runs/screening
    python experiments/compare.py --methods=student,soft_targets,rrd \
        --trials=6 --seeds=5 --run_dir=runs/comparison \
        --flagfile=experiments/configs/verified/citeulike-full.flags
    python experiments/compare.py --task=ranking --dataset=movielens-100k \
        --methods=binary_soft_targets,auxiliary_head --trials=4 --seeds=5 \
        --compress --run_dir=runs/ml-ranking

With --flagfiles=a.flags,b.flags the comparison runs on each data set in turn,
below run_dir/a and run_dir/b, and overview.md shows all of them.

With --seeds=0 it is a screening: the table has validation metrics alone, and
the test data are not used. The same command resumes a comparison that was
stopped. The run folder holds comparison.md (tables with tests, verdicts and
costs), comparison.json, comparison.csv, comparison.png, best/*.flags (the
chosen flags of each), flags.json, environment.json and log.txt.
"""

from __future__ import annotations

import dataclasses
import logging
import os
import sys
from pathlib import Path
from typing import Any

from absl import flags
from absl.testing import flagsaver

sys.path.insert(0, os.path.dirname(__file__))
import console

from kd_tfrs.errors import UserError
from kd_tfrs.workflow.options import FlatConfig
from kd_tfrs.workflow.packages import require_package
from kd_tfrs.workflow.ranking.config import RankingConfig
from kd_tfrs.workflow.ranking.naming import member_stages
from kd_tfrs.workflow.retrieval.config import Config

FLAGS = flags.FLAGS
flags.DEFINE_enum(
    "task",
    "retrieval",
    ["retrieval", "ranking"],
    "What is learned: which of all items a user chooses, or how likely a "
    "shown item is clicked, liked or rated.",
)
flags.DEFINE_list(
    "methods",
    ["all"],
    "Methods to compare, or all; two at once are written soft_targets+rrd, a "
    "weight of its own rrd:0.5; of rankers, one task of several "
    "binary_soft_targets@liked. The student alone always takes part.",
)
flags.DEFINE_string(
    "run_dir", None, "The run folder; by default runs/compare-<dataset>."
)
flags.DEFINE_integer(
    "trials",
    6,
    "Trials of each on validation events, pruned ones counted; the first one "
    "has the given flags. 0 or 1: the given flags, not tuned.",
    0,
)
flags.DEFINE_integer(
    "seeds",
    5,
    "Repeats of what was chosen, each with a test; 0 for a screening on "
    "validation events.",
    0,
)
flags.DEFINE_integer(
    "warmup_epochs", 10, "Epochs before a hopeless trial may be stopped.", 0
)
flags.DEFINE_string(
    "teacher_dir",
    None,
    "Take the teachers of the finished runs in here, seed-<k> each; their "
    "teacher_* and data flags should be the same. Trained if not given.",
)
flags.DEFINE_list(
    "flagfiles",
    [],
    "Several data sets: a flag file each, which counts more than the command "
    "line. Then --run_dir and --teacher_dir hold a folder for each.",
)
flags.DEFINE_bool(
    "compress",
    False,
    "Prune the distilled student with the best validation, convert it to "
    "int8, and test both.",
)
GROUPS = console.define_config_flags(RankingConfig)
GROUPS["Run"] = [
    "task",
    "methods",
    "run_dir",
    "trials",
    "seeds",
    "warmup_epochs",
    "teacher_dir",
    "flagfiles",
    "compress",
    "seed",
    "list_methods",
]


def configs() -> dict[str, FlatConfig]:
    """The options of each data set, by its folder below the run folder."""
    kind = RankingConfig if FLAGS.task == "ranking" else Config
    if not FLAGS.flagfiles:
        return {"": console.config_from_flags(kind)}
    of_files = {}
    for path in map(Path, FLAGS.flagfiles):
        with flagsaver.flagsaver():
            try:
                FLAGS([sys.argv[0], f"--flagfile={path}"])
            except flags.Error as error:
                raise UserError(f"`--flagfiles` {path}: {error}") from None
            of_files[path.stem] = console.config_from_flags(kind)
    if len(of_files) < len(FLAGS.flagfiles):
        raise UserError(
            "`--flagfiles` should have names that differ. Received: "
            f"{', '.join(FLAGS.flagfiles)}. Rename one."
        )
    return of_files


def _check(config: FlatConfig, run_dir: Path, name: str) -> None:
    """Finds mistakes of one data set before TensorFlow is imported."""
    # Imports pandas, for which --help does not wait.
    from kd_tfrs.workflow.comparison.contenders import contenders
    from kd_tfrs.workflow.ranking import checks
    from kd_tfrs.workflow.ranking.contenders import named_contenders
    from kd_tfrs.workflow.retrieval.contenders import FAMILY
    from kd_tfrs.workflow.retrieval.loading import check_data
    from kd_tfrs.workflow.run import check_run_folder
    from kd_tfrs.workflow.shared_teachers import find_teacher

    teacher = "teacher"
    if config.task == "ranking":
        checks.check_config(config, losses=())
        named_contenders(FLAGS.methods, config)
        teacher = next(iter(member_stages(config)))
    else:
        check_data(config.data)
        contenders(FLAGS.methods, config, FAMILY)
    if FLAGS.teacher_dir:
        for seed in range(config.seed, config.seed + max(1, FLAGS.seeds)):
            find_teacher(Path(FLAGS.teacher_dir) / name, config, seed, teacher)
    check_run_folder(run_dir, config)


def run() -> dict[str, Any]:
    """Runs the comparison; returns the content of its JSON file."""
    of_data, is_ranking = configs(), FLAGS.task == "ranking"
    data = [Path(config.data.dataset).stem for config in of_data.values()]
    kind = "ranking-" if is_ranking else ""
    run_dir = Path(FLAGS.run_dir or f"runs/compare-{kind}{'-'.join(data)}")
    for name, config in of_data.items():
        _check(config, run_dir / name, name)
    if FLAGS.trials > 1:
        require_package("Tuning", "optuna", "search")
    with console.quiet_imports():
        from kd_tfrs.workflow.comparison.experiment import Plan, compare
        from kd_tfrs.workflow.comparison.overview import compare_data_sets
        from kd_tfrs.workflow.ranking.comparison import RankingComparison
        from kd_tfrs.workflow.retrieval.comparison import RetrievalComparison
    task = RankingComparison if is_ranking else RetrievalComparison
    logging.getLogger("kd_tfrs").propagate = False
    names = [field.name for field in dataclasses.fields(Plan)]
    plan = Plan(**{name: FLAGS[name].value for name in names})
    if FLAGS.flagfiles:
        results = compare_data_sets(task, of_data, run_dir, plan)
        print(f"Everything is in {run_dir}; look at overview.md.")
    else:
        results = compare(task, of_data[""], run_dir, plan)
        print(f"Everything is in {run_dir}; look at comparison.md.")
    return results


if __name__ == "__main__":
    console.main(run, GROUPS, __doc__)
