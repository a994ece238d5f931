r"""Distils a large retrieval model or ranker into a small one, and exports it.

The stages are the teacher, the student alone, the distilled student, its
compressed forms and the SavedModel. Each stage is measured by the same
evaluation on the same held-out events. With --task=ranking there are several
teachers, LightGBM and a LiteRT file. Commands to copy:

    python experiments/distill.py
    python experiments/distill.py --dataset=movielens-100k \
        --flagfile=experiments/configs/verified/movielens-100k.flags
    python experiments/distill.py --dataset=ratings.csv --run_dir=runs/mine
    python experiments/distill.py --task=ranking
    python experiments/distill.py --task=ranking --dataset=movielens-100k \
        --tasks=liked,rating --teacher_networks=dcn,deepfm --student_network=dnn

The run folder holds metrics.json, stages.md, stages.png, curves.png (of a
ranker also roc.png, calibration.png and scores.png), log, TensorBoard events,
checkpoints and the export. The same command resumes a run that was stopped.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
import os
import sys
from pathlib import Path
from typing import Any

from absl import flags

sys.path.insert(0, os.path.dirname(__file__))
import console

from kd_tfrs.workflow.naming import check_stages
from kd_tfrs.workflow.options import FlatConfig
from kd_tfrs.workflow.packages import require_stage_packages
from kd_tfrs.workflow.ranking.config import RankingConfig
from kd_tfrs.workflow.ranking.naming import stage_names as ranking_stages
from kd_tfrs.workflow.retrieval.config import Config
from kd_tfrs.workflow.retrieval.naming import stage_names as retrieval_stages
from kd_tfrs.workflow.tracking import require_wandb

FLAGS = flags.FLAGS
flags.DEFINE_string(
    "run_dir",
    None,
    "The run folder; by default runs/<dataset>-<digest of the flags>.",
)
flags.DEFINE_integer(
    "seeds", 1, "Repeat with so many seeds and test the difference.", 1
)
flags.DEFINE_enum(
    "task",
    "retrieval",
    ["retrieval", "ranking"],
    "retrieval: which items of the catalogue a user interacts with; ranking: "
    "the probability that a shown item is clicked or liked, or its rating.",
)
flags.DEFINE_list(
    "stages",
    None,
    "Which stages to run; what they need runs too. All when not given.",
)
flags.DEFINE_string(
    "wandb_project", None, "Log to this Weights & Biases project as well."
)
GROUPS = console.define_config_flags(RankingConfig)
GROUPS["Run"] = [
    "task",
    "run_dir",
    "seed",
    "seeds",
    "stages",
    "wandb_project",
    "list_methods",
]


def default_run_dir(config: FlatConfig) -> Path:
    """A folder of its own for every set of flags."""
    text = json.dumps(config.flat(), sort_keys=True)
    digest = hashlib.sha256(text.encode()).hexdigest()[:8]
    name = Path(config.data.dataset).name.split(".")[0]
    task = "" if config.task == "retrieval" else f"{config.task}-"
    return Path("runs") / f"{task}{name}-{digest}"


def _checked_stages(config: FlatConfig) -> dict[str, tuple[str, ...]]:
    """The stages as an option of an experiment, where some are named."""
    if FLAGS.stages is None:
        return {}
    names = retrieval_stages if config.task == "retrieval" else ranking_stages
    stages = check_stages(FLAGS.stages, names(config))
    require_stage_packages(stages)
    return {"stages": stages}


def _check_folders(config: FlatConfig, run_dir: Path) -> None:
    """Refuses run folders of other flags before TensorFlow is imported."""
    from kd_tfrs.workflow.run import check_run_folder, check_writable

    if FLAGS.seeds == 1:
        check_run_folder(run_dir, config)
        return
    check_writable(run_dir)
    for seed in range(config.seed, config.seed + FLAGS.seeds):
        one = dataclasses.replace(config, seed=seed)
        check_run_folder(run_dir / f"seed-{seed}", one)


def run() -> dict[str, Any]:
    """Runs the experiment; returns the contents of metrics.json."""
    # Imports pandas, for which --help does not wait.
    from kd_tfrs.workflow.ranking import checks as ranking_checks
    from kd_tfrs.workflow.retrieval import checks as retrieval_checks

    ranks = FLAGS.task == "ranking"
    config = console.config_from_flags(RankingConfig if ranks else Config)
    (ranking_checks if ranks else retrieval_checks).check_config(config)
    options = _checked_stages(config)
    if FLAGS.wandb_project is not None:
        require_wandb()
    run_dir = Path(FLAGS.run_dir or default_run_dir(config))
    _check_folders(config, run_dir)
    with console.quiet_imports():
        from kd_tfrs.workflow import experiment
        from kd_tfrs.workflow.ranking.experiment import RANKING
        from kd_tfrs.workflow.retrieval.experiment import RETRIEVAL
    logging.getLogger("kd_tfrs").propagate = False
    task = RANKING if ranks else RETRIEVAL
    options["wandb_project"] = FLAGS.wandb_project
    if FLAGS.seeds > 1:
        found = experiment.run_seeds(
            task, config, run_dir, FLAGS.seeds, **options
        )
    else:
        found = experiment.run_experiment(task, config, run_dir, **options)
    print(f"Everything is in {run_dir}; look at stages.md and stages.png.")
    return found


if __name__ == "__main__":
    console.main(run, GROUPS, __doc__)
