r"""Chooses the default options of rankers by validation events alone.

On three data sets and with two seeds, the teachers are trained in several
settings, then the student alone and the distilled student in an equal number
of settings. No test event is used. To copy:

    python experiments/defaults_ranking.py --run_dir=runs/defaults-ranking \
        --frappe_dir=data/frappe-part

The same command resumes a run that was stopped. The run folder holds
defaults.md (a table of every setting) and defaults.json.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from absl import flags

sys.path.insert(0, os.path.dirname(__file__))
import console

from kd_tfrs.workflow.ranking.config import RankingConfig

FLAGS = flags.FLAGS
flags.DEFINE_string("run_dir", "runs/defaults-ranking", "The run folder.")
flags.DEFINE_string(
    "frappe_dir", None, "The folder of frappe's libfm files.", required=False
)
flags.DEFINE_integer("seeds", 2, "Seeds of everything.", 1)

DATA = {
    "clicks": {"dataset": "synthetic"},
    "movielens-100k": {"dataset": "movielens-100k", "tasks": ("liked",)},
    "frappe": {"dataset": "frappe"},
}
_TWO = {"teacher_networks": ("dcn", "deepfm"), "teacher_projection_dim": 64}
TEACHERS = {
    "lr .001, dropout .2": {
        "teacher_learning_rate": 0.001,
        "teacher_dropout": 0.2,
    },
    "lr .003, dropout .2": {
        "teacher_learning_rate": 0.003,
        "teacher_dropout": 0.2,
    },
}
# As many and as large steps as the distilled student takes by default.
_MORE_STEPS = {
    "learning_rate": 0.01,
    "decay": "cosine",
    "epochs": 40,
    "patience": 12,
    "batch_size": 512,
}
_FEWER_STEPS = {
    "learning_rate": 0.003,
    "decay": "constant",
    "epochs": 20,
    "patience": 4,
    "batch_size": 1024,
}
ALONE = {
    "lr .003": {f"student_{k}": v for k, v in _FEWER_STEPS.items()},
    "lr .003, cosine, 10 epochs": {
        "student_decay": "cosine",
        "student_epochs": 10,
        "student_patience": 10,
    },
    "lr .01, cosine, 40 epochs": {
        f"student_{k}": v for k, v in _MORE_STEPS.items()
    },
}
_SOFT = {
    "distillation_losses": ("binary_soft_targets:1",),
    "distillation_student_loss_weight": 0.0,
}
DISTILLED = {
    "labels .2, soft .8, lr .003": {
        "distillation_losses": ("binary_soft_targets:0.8",),
        "distillation_student_loss_weight": 0.2,
        **{f"distilled_{k}": v for k, v in _FEWER_STEPS.items()},
    },
    "soft alone, lr .003": {
        **_SOFT,
        **{f"distilled_{k}": v for k, v in _FEWER_STEPS.items()},
    },
    "soft alone, lr .01, cosine, 40 epochs": {
        **_SOFT,
        **{f"distilled_{k}": v for k, v in _MORE_STEPS.items()},
    },
}
_PATIENT = {"teacher_patience": 1, "teacher_epochs": 12}
Row = dict[str, Any]


def run() -> dict[str, Any]:
    """Trains all settings; returns the contents of defaults.json."""
    # Imports pandas, for which --help does not wait.
    from kd_tfrs.workflow.ranking.checks import check_config
    from kd_tfrs.workflow.run import check_writable

    for name in DATA:
        flat = {k: v for k, v in _flat(name, 0, {}).items() if k != "task"}
        check_config(RankingConfig.from_flat(flat))
    check_writable(FLAGS.run_dir)
    base, found = Path(FLAGS.run_dir), []
    for stage in (_teachers, _alone, _distilled):
        for seed in range(FLAGS.seeds):
            for name in DATA:
                found += stage(base, name, seed, found)
                _write(base, found)
    print(f"\n{_markdown(found)}\nEverything is in {base}.")
    return {"rows": found}


def _teachers(base: Path, name: str, seed: int, found: list[Row]) -> list[Row]:
    del found
    rows = []
    for setting, options in TEACHERS.items():
        flat = _flat(name, seed, {**_TWO, **_PATIENT, **options})
        place = base / name / f"seed-{seed}" / f"teacher, {setting}"
        rows.append(_row("teacher", name, seed, setting, place, flat))
    return rows


def _alone(base: Path, name: str, seed: int, found: list[Row]) -> list[Row]:
    del found
    rows = []
    for setting, options in ALONE.items():
        place = base / name / f"seed-{seed}" / f"student, {setting}"
        flat = _flat(name, seed, options)
        rows.append(_row("student", name, seed, setting, place, flat))
    return rows


def _distilled(base: Path, name: str, seed: int, found: list[Row]) -> list[Row]:
    teacher = best(found, "teacher")
    rows = []
    for setting, options in DISTILLED.items():
        place = base / name / f"seed-{seed}" / f"distilled, {setting}"
        known = base / name / f"seed-{seed}" / f"teacher, {teacher}"
        flat = _flat(
            name, seed, {**_TWO, **_PATIENT, **TEACHERS[teacher], **options}
        )
        rows.append(_row("distilled", name, seed, setting, place, flat, known))
    return rows


def best(found: list[Row], stage: str) -> str:
    """The setting with the highest AUC, on average over the data sets."""
    values: dict[str, list[float]] = {}
    for row in found:
        if row["stage"] == stage:
            values.setdefault(row["setting"], []).append(row["auc"])
    return max(values, key=lambda s: sum(values[s]) / len(values[s]))


def _flat(name: str, seed: int, options: Mapping[str, Any]) -> Row:
    where = {"data_dir": FLAGS.frappe_dir} if name == "frappe" else {}
    return {**RankingConfig().flat(), **DATA[name], **where, **options} | {
        "seed": seed
    }


def _row(
    stage: str,
    name: str,
    seed: int,
    setting: str,
    place: Path,
    flat: Row,
    teacher: Path | None = None,
) -> Row:
    """Trains, or reads what was trained before."""
    kept = place / "row.json"
    if kept.exists():
        return json.loads(kept.read_text("utf-8"))
    with console.quiet_imports():
        from kd_tfrs.workflow.run import Run
    flat.pop("task")
    config = RankingConfig.from_flat(flat)
    with contextlib.closing(Run(place, config, log=False)) as run:
        measured = _measure(stage, run, _prepared(config, name, seed), teacher)
    row = {
        "stage": stage,
        "data": name,
        "seed": seed,
        "setting": setting,
        **measured,
    }
    kept.write_text(json.dumps(row, indent=1), "utf-8")
    print(
        f"{name}, seed {seed}, {stage}, {setting}: auc {row['auc']:.4f}, "
        f"log_loss {row['log_loss']:.4f}, {row['epochs']} epochs, "
        f"{row['seconds']:.0f} s"
    )
    return row


def _measure(stage: str, run: Any, prepared: Any, teacher: Path | None) -> Row:
    import tensorflow as tf

    from kd_tfrs.workflow.ranking import measure
    from kd_tfrs.workflow.ranking.learner import RankingLearner

    tf.keras.backend.clear_session()
    learner = RankingLearner(run, prepared)
    if stage != "teacher":
        if teacher is not None:
            _lend(run, teacher)
        model, progress = learner.train(stage)
        metrics = learner.validation(stage, model)
        return _told(metrics, [progress])
    done = []
    for member in learner.members:
        model, progress = learner.train(member)
        learner.save(member, model)
        done.append(progress)
    teacher_factory = learner.teacher_factory
    cached = teacher_factory.cached(
        "validation", teacher_factory.outputs()
    ).arrays
    logits = {task.name: cached[task.output] for task in prepared.tasks}
    return _told(measure.validate(logits, prepared), done)


def _told(metrics: Mapping[str, float], done: list[Any]) -> Row:
    return {
        "auc": metrics["auc"],
        "gauc": metrics.get("gauc"),
        "log_loss": metrics["log_loss"],
        "epochs": max(progress.best_epoch for progress in done),
        "seconds": sum(progress.seconds for progress in done),
    }


def _lend(run: Any, teacher: Path) -> None:
    for kind in ("weights", "knowledge"):
        for file in (teacher / kind).glob("*"):
            place = run.path(kind, file.name)
            if not place.exists():
                place.symlink_to(file.resolve())


_KEPT: dict[tuple[str, int], Any] = {}


def _prepared(config: RankingConfig, name: str, seed: int) -> Any:
    from kd_tfrs.workflow.ranking.prepare import prepare

    if (name, seed) not in _KEPT:
        _KEPT.clear()
        _KEPT[name, seed] = prepare(config.data, config.evaluation, seed)
    return _KEPT[name, seed]


def _write(base: Path, found: list[Row]) -> None:
    base.mkdir(parents=True, exist_ok=True)
    text = json.dumps({"rows": found}, indent=1)
    (base / "defaults.json").write_text(text, "utf-8")
    (base / "defaults.md").write_text(_markdown(found), "utf-8")


def _markdown(found: list[Row]) -> str:
    """AUC and log loss of every setting, means over the seeds."""
    text = (
        "Validation AUC / log loss, means over the seeds; the best mean AUC "
        "over the data sets of each stage is bold.\n\n"
        f"| stage | setting | {' | '.join(DATA)} | mean AUC | s |\n"
        f"| :-- | :-- |{' --: |' * (len(DATA) + 2)}\n"
    )
    for stage, settings in (
        ("teacher", TEACHERS),
        ("student", ALONE),
        ("distilled", DISTILLED),
    ):
        rows = [row for row in found if row["stage"] == stage]
        winner = best(found, stage) if rows else None
        for setting in settings:
            mine = [row for row in rows if row["setting"] == setting]
            if not mine:
                continue
            cells = [_cell([r for r in mine if r["data"] == n]) for n in DATA]
            mean = sum(r["auc"] for r in mine) / len(mine)
            shown = f"**{mean:.4f}**" if setting == winner else f"{mean:.4f}"
            seconds = sum(r["seconds"] for r in mine) / len(mine)
            text += (
                f"| {stage} | {setting} | {' | '.join(cells)} | {shown} | "
                f"{seconds:.0f} |\n"
            )
    return text


def _cell(rows: list[Row]) -> str:
    if not rows:
        return "-"
    means = [sum(r[k] for r in rows) / len(rows) for k in ("auc", "log_loss")]
    return f"{means[0]:.4f} / {means[1]:.4f}"


if __name__ == "__main__":
    console.main(run, {"Run": ["run_dir", "frappe_dir", "seeds"]}, __doc__)
