r"""Tunes one stage on validation events; the test events are never asked.

Every stage gets the same sampler (TPE, median pruning of hopeless trials)
and as many trials as you say, so that a student alone is tuned as hard as a
distilled one. To copy:

    python experiments/tune.py --stage=student --trials=12 \
        --dataset=citeulike-full --run_dir=runs/tuning
    python experiments/tune.py --stage=distilled --trials=12 \
        --dataset=citeulike-full --run_dir=runs/tuning

Flags set the first trial and whatever is not searched; the same command goes
on with a study that was stopped. The best flags are written to
<run_dir>/<stage>.flags.
"""

from __future__ import annotations

import contextlib
import csv
import dataclasses
import logging
import os
import sys
from pathlib import Path
from typing import Any

from absl import flags

sys.path.insert(0, os.path.dirname(__file__))
import console

from kd_tfrs.workflow.packages import require_package
from kd_tfrs.workflow.retrieval.config import Config

FLAGS = flags.FLAGS
flags.DEFINE_string("run_dir", "runs/tuning", "Where studies are kept.")
flags.DEFINE_enum(
    "stage", "student", ["teacher", "student", "distilled"], "What to tune."
)
flags.DEFINE_integer("trials", 12, "Trials in all, pruned ones counted.", 1)
flags.DEFINE_integer("warmup_epochs", 10, "Epochs before pruning.", 0)
GROUPS = console.define_config_flags()
GROUPS["Run"] = ["run_dir", "stage", "trials", "warmup_epochs", "seed"]

# Choices by option; a distilled student's training is searched like the
# student's own, and the options of distillation.
TRAINING = {
    "learning_rate": (0.01, 0.02, 0.04),
    "batch_size": (512, 1024),
    "uniform_negatives": (512, 1024, 2048),
    "softmax_temperature": (0.1, 0.12, 0.15, 0.2),
}
TEACHER = {
    **TRAINING,
    "learning_rate": (0.002, 0.005, 0.01),
    "dropout": (0.0, 0.1, 0.3),
}
DISTILLATION = {
    "distillation_weight": (0.3, 0.8, 1.0, 2.0),
    "distillation_student_loss_weight": (0.0, 0.2, 0.5, 1.0),
    "distillation_temperature": (0.3, 0.4, 0.7, 1.0),
    "distillation_top_k": (100, 200, 500),
    "distillation_num_random": (512, 1024),
    "distillation_exclude_seen": (True, False),
}


def space(stage: str) -> dict[str, tuple]:
    """Choices by flag name for a stage."""
    choices = TEACHER if stage == "teacher" else TRAINING
    named = {f"{stage}_{name}": values for name, values in choices.items()}
    return {**named, **(DISTILLATION if stage == "distilled" else {})}


def full_space(stage: str, flat: dict[str, Any]) -> dict[str, tuple]:
    """The same with the given value first, and weights as texts."""
    found = {}
    for name, values in space(stage).items():
        given = flat[name if name in flat else "distillation_losses"]
        if name == "distillation_weight":
            names = [text.split(":")[0] for text in given]
            name, given = "distillation_losses", ",".join(given)
            values = [",".join(f"{n}:{v}" for n in names) for v in values]
        found[name] = tuple(dict.fromkeys([given, *values]))
    return found


def at(flat: dict[str, Any], point: dict[str, Any]) -> dict[str, Any]:
    """The flags of a trial."""
    losses = point.get("distillation_losses")
    split = {"distillation_losses": losses.split(",")} if losses else {}
    return {**flat, **point, **split}


def run() -> Any:
    """Does what the flags say; returns the records of the trials."""
    # Imports pandas, for which --help does not wait.
    from kd_tfrs.workflow.retrieval.checks import check_config
    from kd_tfrs.workflow.run import check_writable

    config = console.config_from_flags()
    check_config(config)
    check_writable(FLAGS.run_dir)
    if FLAGS.trials > 1:
        require_package("Tuning", "optuna", "search")
    with console.quiet_imports():
        from kd_tfrs.workflow.retrieval.comparison import retrieval_teachers
        from kd_tfrs.workflow.retrieval.learner import Learner
        from kd_tfrs.workflow.retrieval.methods import resolve_auto
        from kd_tfrs.workflow.retrieval.prepare import prepare
        from kd_tfrs.workflow.run import Run
        from kd_tfrs.workflow.tuning import Outcome, Search, train_reporting
    logging.getLogger("kd_tfrs").propagate = False
    stage, directory = FLAGS.stage, Path(FLAGS.run_dir)
    prepared = prepare(config.data, config.evaluation, config.seed)
    # A space needs a method, not "auto".
    options, _ = resolve_auto(config.distillation, prepared.catalogue.num_items)
    config = dataclasses.replace(config, distillation=options)
    flat = config.flat()
    points = full_space(stage, flat)
    first = {name: values[0] for name, values in points.items()}
    search = Search(
        directory / f"{stage}-trials",
        points,
        first,
        flat["seed"],
        FLAGS.warmup_epochs,
    )
    teachers = retrieval_teachers(directory / "base", config)
    if stage == "distilled":
        teachers.get(prepared, config.seed)

    def objective(number: int, point: dict, report: Any) -> Outcome:
        place = directory / f"{stage}-{number}"
        config = Config.from_flat(at(flat, point))
        with contextlib.closing(Run(place, config)) as trial:
            if stage == "distilled":
                teachers.lend(trial)
            learner = Learner(trial, prepared)
            progress = train_reporting(learner, stage, report)[1]
        best = progress.history[progress.best_epoch - 1]
        print(f"trial {number}: {progress.best:.4f} at {point}")
        return Outcome(progress.best, {"best": best})

    records = search.run(objective, FLAGS.trials)
    _report(records, search.best(), stage, directory)
    return records


def _report(
    records: list[dict[str, Any]],
    best: dict[str, Any],
    stage: str,
    directory: Path,
) -> None:
    # What is unset stays with its default.
    lines = [
        f"--{name}={value}"
        for name, value in best["point"].items()
        if value is not None
    ]
    (directory / f"{stage}.flags").write_text("\n".join(lines) + "\n")
    columns = ("number", "state", "value")
    with (directory / f"{stage}.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([*columns, *best["point"]])
        for record in records:
            values = [record[name] for name in columns]
            writer.writerow([*values, *record["point"].values()])
    print(f"best validation {best['value']:.4f} of {len(records)} trials:")
    print("\n".join(lines))


if __name__ == "__main__":
    console.main(run, GROUPS, __doc__)
