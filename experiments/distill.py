r"""Distils a large retrieval model into a small one, and exports it.

data -> teacher -> student alone -> distilled student -> pruned student ->
SavedModel, each stage measured by the same evaluation on the same held-out
events. To copy:

    python experiments/distill.py
    python experiments/distill.py --dataset=movielens-100k \
        --flagfile=experiments/configs/verified/movielens-100k.flags
    python experiments/distill.py --dataset=ratings.csv --run_dir=runs/mine

The run folder holds metrics.json, stages.md, stages.png, curves.png, log,
TensorBoard events, checkpoints and the export. The same command goes on with
a run that was stopped.
"""

from __future__ import annotations

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

from kd_tfrs.workflow.config import Config

FLAGS = flags.FLAGS
flags.DEFINE_string(
    "run_dir",
    None,
    "The run folder; by default runs/<dataset>-<digest of the flags>.",
)
flags.DEFINE_integer(
    "seeds", 1, "Repeat with so many seeds and test the difference.", 1
)
flags.DEFINE_list(
    "stages",
    ["teacher", "student", "distilled", "pruned", "saved_model"],
    "Which stages to run; what they need runs too.",
)
flags.DEFINE_string(
    "wandb_project", None, "Log to this Weights & Biases project as well."
)
GROUPS = console.define_config_flags()
GROUPS["Run"] = ["run_dir", "seed", "seeds", "stages", "wandb_project"]


def default_run_dir(config: Config) -> Path:
    """A folder of its own for every set of flags."""
    text = json.dumps(config.flat(), sort_keys=True)
    digest = hashlib.sha256(text.encode()).hexdigest()[:8]
    name = Path(config.data.dataset).name.split(".")[0]
    return Path("runs") / f"{name}-{digest}"


def run() -> dict[str, Any]:
    """Does what the flags say; returns what metrics.json holds."""
    config = console.config_from_flags()
    with console.quiet_imports():
        from kd_tfrs.workflow import experiment
    logging.getLogger("kd_tfrs").propagate = False
    stages = experiment.check_stages(FLAGS.stages)
    run_dir = Path(FLAGS.run_dir or default_run_dir(config))
    options = {"stages": stages, "wandb_project": FLAGS.wandb_project}
    if FLAGS.seeds > 1:
        found = experiment.run_seeds(config, run_dir, FLAGS.seeds, **options)
    else:
        found = experiment.run_experiment(config, run_dir, **options)
    print(f"Everything is in {run_dir}; look at stages.md and stages.png.")
    return found


if __name__ == "__main__":
    console.main(run, GROUPS, __doc__)
