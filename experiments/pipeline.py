r"""Evaluates retrieval and ranking together, with the models of two runs.

For every user with held-out events, the retrieval model returns some hundred
candidates without the seen items, and the ranking model orders them. Teachers,
students, retrieval alone and the two exports in one call are compared, with
paired tests over users, the latency of a whole call on one thread, and the
parity of the exports with the models in process. Blended pairs order by a
weighted sum of both models' scores; the weight is chosen on validation events
or given by --retrieval_weight. To copy:

    python experiments/distill.py --dataset=movielens-100k --split=time \
        --run_dir=runs/films
    python experiments/distill.py --task=ranking --dataset=movielens-100k \
        --split=time --run_dir=runs/ranking-films
    python experiments/pipeline.py --retrieval_run=runs/films \
        --ranking_run=runs/ranking-films --run_dir=runs/both

Both runs should use the same events and the same split. Without them both are
trained in the run folder, on one thread, with --split=time; options
of one task are given in a flag file:

    python experiments/pipeline.py --dataset=movielens-100k \
        --retrieval_flags=retrieval.flags --ranking_flags=ranking.flags

The run folder holds pipeline.json, pipeline.md, pipeline.png, log.txt,
flags.json and environment.json. The same command resumes a run that was
stopped.
"""

from __future__ import annotations

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
from kd_tfrs.workflow.pipeline.config import PipelineConfig
from kd_tfrs.workflow.ranking.config import RankingConfig
from kd_tfrs.workflow.retrieval.config import Config

FLAGS = flags.FLAGS
flags.DEFINE_string(
    "run_dir",
    None,
    "The run folder; by default runs/pipeline-<names of the two runs>.",
)
flags.DEFINE_string(
    "retrieval_flags",
    None,
    "A flag file for the training of the retrieval run; it takes precedence "
    "over the command line.",
)
flags.DEFINE_string("ranking_flags", None, "Likewise for the ranking run.")
# Flag files of distill.py may contain it; it should be that of the run.
flags.DEFINE_string("task", None, "Of the run that a flag file is for.")
GROUPS = console.define_config_flags(RankingConfig, PipelineConfig)
GROUPS["Run"] = [
    "run_dir",
    "retrieval_flags",
    "ranking_flags",
    "seed",
]


def _trained_config(kind: type[FlatConfig], flag: str) -> FlatConfig:
    """The configuration of one of the two runs."""
    path = FLAGS[flag].value
    with flagsaver.flagsaver():
        if path:
            try:
                FLAGS([sys.argv[0], f"--flagfile={path}"])
            except flags.Error as error:
                raise UserError(f"`--{flag}` {path}: {error}") from None
        if FLAGS.task not in (None, kind.task):
            raise UserError(
                f"`--{flag}` should be of a run with --task={kind.task}. "
                f"Received: --task={FLAGS.task}. Give another file."
            )
        # Options of the other task are for the other run.
        return console.config_from_flags(kind, alone=False)


def _check_unused() -> None:
    """Options of the training are refused where nothing is trained."""
    tasks = ("retrieval", "ranking")
    given = [name for task in tasks for name in console.given_options(task)]
    given += [f for f in ("retrieval_flags", "ranking_flags") if FLAGS[f].value]
    if given:
        raise UserError(
            f"`--{given[0]}` is for runs that are trained here. Received: it "
            "with --retrieval_run and --ranking_run. Leave it out."
        )


def _default_run_dir(config: PipelineConfig) -> Path:
    runs = config.pipeline.retrieval_run, config.pipeline.ranking_run
    names = [Path(run).name for run in runs if run]
    names = names or [Path(FLAGS.dataset).name.split(".")[0]]
    return Path("runs") / "-".join(["pipeline", *names])


def run() -> dict[str, Any]:
    """Evaluates the pipeline; returns the contents of pipeline.json."""
    if FLAGS.task is not None:
        raise UserError(
            "`--task` is for experiments/distill.py. Received: it here, where "
            "both tasks are run. Leave it out."
        )
    config = console.config_from_flags(PipelineConfig, alone=False)
    run_dir = Path(FLAGS.run_dir or _default_run_dir(config))
    options = config.pipeline
    # Before TensorFlow and NumPy are imported, which read it once.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    from kd_tfrs.workflow.pipeline import checks
    from kd_tfrs.workflow.run import check_run_folder, check_writable

    check_writable(run_dir)
    trains = options.retrieval_run is None and options.ranking_run is None
    configs = ()
    if trains:
        configs = (
            _trained_config(Config, "retrieval_flags"),
            _trained_config(RankingConfig, "ranking_flags"),
        )
        checks.check_training(*configs)
    else:
        _check_unused()
        checks.check_runs(options)
        check_run_folder(run_dir, config)
    with console.quiet_imports():
        from kd_tfrs.workflow.pipeline import experiment, latency
    latency.one_thread()
    logging.getLogger("kd_tfrs").propagate = False
    if trains:
        found = experiment.train_and_run(config, *configs, run_dir)
    else:
        found = experiment.run_pipeline(config, run_dir)
    print(f"Everything is in {run_dir}; look at pipeline.md and pipeline.png.")
    return found


if __name__ == "__main__":
    console.main(run, GROUPS, __doc__)
