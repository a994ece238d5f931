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

import logging
import os
import shutil
import sys
from pathlib import Path
from typing import Any

from absl import flags

sys.path.insert(0, os.path.dirname(__file__))
import console

from kd_tfrs.workflow.config import Config

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
# student's own, and what it hears besides.
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
    "distillation_temperature": (0.7, 1.0, 1.5, 2.0),
    "distillation_top_k": (100, 200, 500),
    "distillation_num_random": (512, 1024),
    "distillation_exclude_seen": (True, False),
}


def space(stage: str) -> dict[str, tuple]:
    """Choices by flag name for a stage."""
    choices = TEACHER if stage == "teacher" else TRAINING
    named = {f"{stage}_{name}": values for name, values in choices.items()}
    return {**named, **(DISTILLATION if stage == "distilled" else {})}


def suggest(trial: Any, stage: str, flat: dict[str, Any]) -> dict[str, Any]:
    """The flags of a trial."""
    changes = {
        name: trial.suggest_categorical(name, values)
        for name, values in space(stage).items()
    }
    weight = changes.pop("distillation_weight", None)
    if weight is not None:
        names = [text.split(":")[0] for text in flat["distillation_losses"]]
        changes["distillation_losses"] = [f"{n}:{weight}" for n in names]
    return {**flat, **changes}


def first_trial(stage: str, flat: dict[str, Any]) -> dict[str, Any]:
    """The flags as they were given, where the space has them."""
    first = {}
    for name, values in space(stage).items():
        if name == "distillation_weight":
            given = float(flat["distillation_losses"][0].partition(":")[2])
        else:
            given = flat[name]
        if given in values:
            first[name] = given
    return first


def run() -> Any:
    """Does what the flags say; returns the study."""
    try:
        import optuna
    except ImportError:
        raise ImportError(
            "Tuning needs the package optuna. Install it with "
            "pip install 'kd_tfrs[search]'."
        ) from None
    flat = console.config_from_flags().flat()
    with console.quiet_imports():
        from kd_tfrs.workflow.learner import Learner
        from kd_tfrs.workflow.prepare import prepare
        from kd_tfrs.workflow.run import Run
    logging.getLogger("kd_tfrs").propagate = False
    stage, directory = FLAGS.stage, Path(FLAGS.run_dir)
    directory.mkdir(parents=True, exist_ok=True)
    config = Config.from_flat(flat)
    prepared = prepare(config.data, config.evaluation, config.seed)
    teacher = None
    if stage == "distilled":
        base = Learner(Run(directory / "base", config), prepared)
        if base.run.load_weights("teacher") is None:
            base.save("teacher", base.train("teacher")[0])
        teacher = base.run.load_weights("teacher")
    journal = optuna.storages.journal.JournalFileBackend(
        str(directory / "studies.log")
    )
    study = optuna.create_study(
        study_name=stage,
        storage=optuna.storages.JournalStorage(journal),
        direction="maximize",
        sampler=optuna.samplers.TPESampler(seed=flat["seed"]),
        pruner=optuna.pruners.MedianPruner(
            n_startup_trials=2, n_warmup_steps=FLAGS.warmup_epochs
        ),
        load_if_exists=True,
    )
    if not study.trials:
        study.enqueue_trial(first_trial(stage, flat))

    def objective(trial: Any) -> float:
        place = directory / f"{stage}-{trial.number}"
        shutil.rmtree(place, ignore_errors=True)
        config = Config.from_flat(suggest(trial, stage, flat))
        learner = Learner(Run(place, config), prepared)
        if teacher is not None:
            learner.run.save_weights("teacher", teacher)
        epoch = iter(range(10**6))

        def watch(metrics: dict[str, float]) -> None:
            every = config.evaluation.validate_every
            trial.report(
                metrics[config.evaluation.monitor], every * (1 + next(epoch))
            )
            if trial.should_prune():
                raise optuna.TrialPruned

        progress = learner.train(stage, watch)[1]
        trial.set_user_attr("best", progress.history[progress.best_epoch - 1])
        return progress.best

    done = sum(trial.state.is_finished() for trial in study.trials)
    study.optimize(objective, n_trials=max(0, FLAGS.trials - done))
    _report(study, stage, flat, directory)
    return study


def _report(
    study: Any, stage: str, flat: dict[str, Any], directory: Path
) -> None:
    best = suggest(study.best_trial, stage, flat)
    changed = [k for k in best if k.startswith((stage, "distillation"))]
    if stage != "distilled":
        changed = [k for k in changed if not k.startswith("distillation")]
    lines = [f"--{name}={_text(best[name])}" for name in changed]
    (directory / f"{stage}.flags").write_text("\n".join(lines) + "\n")
    table = study.trials_dataframe(attrs=("number", "value", "state", "params"))
    table.to_csv(directory / f"{stage}.csv", index=False)
    print(f"best validation {study.best_value:.4f} of {len(study.trials)}:")
    print("\n".join(lines))


def _text(value: Any) -> str:
    if isinstance(value, list):
        return ",".join(map(str, value))
    return "" if value is None else str(value)


if __name__ == "__main__":
    console.main(run, GROUPS, __doc__)
