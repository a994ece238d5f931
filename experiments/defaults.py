r"""Compares settings of retrieval runs by validation events alone.

On each data set the teacher and the student alone are trained once a seed,
and then a distilled student in every setting; no test event is used. To copy:

    python experiments/defaults.py --run_dir=runs/defaults --seeds=2 \
        --datasets=synthetic,movielens-100k,citeulike-full

The same command resumes a run that was stopped. The run folder holds
defaults.md (a table of every setting), defaults.json, and data.md (density,
skew and lengths of histories of the data sets). The table has every training
of the run folder, so that a second command can add a large data set with fewer
seeds.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
from absl import flags

sys.path.insert(0, os.path.dirname(__file__))
import console

from kd_tfrs.errors import UserError
from kd_tfrs.workflow.retrieval.config import Config, DataConfig
from kd_tfrs.workflow.run import check_writable

FLAGS = flags.FLAGS
flags.DEFINE_string("run_dir", "runs/defaults", "The run folder.")
flags.DEFINE_list(
    "datasets",
    ["synthetic", "movielens-100k", "citeulike-full"],
    "Names or paths of data sets.",
)
flags.DEFINE_integer("seeds", 2, "Seeds of everything.", 1)
flags.DEFINE_list("settings", [], "Names of settings; all when not given.")
flags.DEFINE_bool("describe_only", False, "Write data.md alone; train nothing.")

_TOWERS = {"distillation_tables": False}
_LISTS = {"distillation_losses": ("soft_targets:1",)}
_WHOLE = {"distillation_losses": ("soft_targets_all:1",)}
_ALONE = {"distillation_student_loss_weight": 0.0}
# By a name without commas; what is not given is the default.
SETTINGS: dict[str, dict[str, Any]] = {
    "lists, labels .2, towers": {
        "distillation_losses": ("soft_targets:0.8",),
        "distillation_student_loss_weight": 0.2,
        "distilled_epochs": 20,
        **_TOWERS,
    },
    "lists": {**_LISTS, **_ALONE},
    "whole catalogue, random start": {
        **_WHOLE,
        **_ALONE,
        "distillation_initialization": "random",
    },
    "whole catalogue": {**_WHOLE, **_ALONE},
    "whole catalogue, labels .2": {
        "distillation_losses": ("soft_targets_all:0.8",),
        "distillation_student_loss_weight": 0.2,
    },
    "whole catalogue, T .25": {
        **_WHOLE,
        **_ALONE,
        "distillation_temperature": 0.25,
    },
}
METRICS = ("ndcg@10", "recall@50")
Row = dict[str, Any]


def run() -> dict[str, Any]:
    """Trains all settings; returns the contents of defaults.json."""
    names = {name.replace(",", ""): name for name in SETTINGS}
    unknown = sorted(set(FLAGS.settings) - set(names))
    if unknown:
        raise UserError(
            f"`--settings` should name some of {'; '.join(names)}. Received: "
            f"{unknown[0]!r}."
        )
    settings = [names[name] for name in FLAGS.settings or names]
    if not FLAGS.datasets:
        raise UserError(
            "`--datasets` should name at least one data set. Received: none. "
            "Write it as --datasets=synthetic,movielens-100k."
        )
    # Imports pandas, for which --help does not wait.
    from kd_tfrs.workflow.retrieval.loading import check_data

    for dataset in FLAGS.datasets:
        check_data(DataConfig(dataset))
    check_writable(FLAGS.run_dir)
    base, found = Path(FLAGS.run_dir), []
    base.mkdir(parents=True, exist_ok=True)
    text = describe(FLAGS.datasets)
    (base / "data.md").write_text(text)
    if FLAGS.describe_only:
        print(text)
        return {"rows": []}
    for dataset in FLAGS.datasets:
        for seed in range(FLAGS.seeds):
            found += _seed(base, dataset, seed, settings)
    found += _of_other_commands(base, found)
    text = markdown(found)
    (base / "defaults.json").write_text(json.dumps({"rows": found}, indent=1))
    (base / "defaults.md").write_text(text)
    print(f"\n{text}\nEverything is in {base}.")
    return {"rows": found}


def _of_other_commands(base: Path, rows: list[Row]) -> list[Row]:
    """Rows of the run folder that are not among the given ones."""
    paths = sorted(base.glob("*/seed-*/*/row.json"))
    kept = [json.loads(path.read_text()) for path in paths]
    stages = ("teacher", "student", "distilled")
    kept.sort(key=lambda row: (row["dataset"], stages.index(row["stage"])))
    return [row for row in kept if row not in rows]


def _seed(
    base: Path, dataset: str, seed: int, settings: list[str]
) -> list[Row]:
    """Rows of one data set and seed; what was trained before is read."""
    place = base / Path(dataset).name / f"seed-{seed}"
    stages = [("teacher", ""), ("student", "")]
    stages += [("distilled", name) for name in settings]
    rows, prepared = [], None
    for stage, setting in stages:
        folder = place / (setting or stage)
        kept = folder / "row.json"
        if not kept.exists():
            options = {"dataset": dataset, "seed": seed}
            options |= SETTINGS.get(setting, {})
            config = Config.from_flat({**Config().flat(), **options})
            with console.quiet_imports():
                from kd_tfrs.workflow.retrieval.prepare import prepare
            if prepared is None:
                prepared = prepare(config.data, config.evaluation, seed)
            row = _train(folder, config, stage, prepared, place / "teacher")
            row |= {"dataset": Path(dataset).name, "seed": seed}
            row |= {"stage": stage, "setting": setting}
            kept.write_text(json.dumps(row, indent=1))
            print(
                f"{row['dataset']}, seed {seed}, {setting or stage}: "
                f"{ {m: round(row[m], 4) for m in METRICS} }, "
                f"{row['epochs']} epochs, {row['seconds']:.0f} s",
                flush=True,
            )
        rows.append(json.loads(kept.read_text()))
    return rows


def _train(
    folder: Path, config: Config, stage: str, prepared: Any, teacher: Path
) -> Row:
    import tensorflow as tf

    from kd_tfrs.workflow.retrieval import measure
    from kd_tfrs.workflow.retrieval.learner import Learner
    from kd_tfrs.workflow.run import Run

    tf.keras.backend.clear_session()
    with contextlib.closing(Run(folder, config, log=False)) as run:
        learner = Learner(run, prepared)
        if stage == "distilled":
            for kind in ("weights", "knowledge"):
                (teacher / kind).mkdir(exist_ok=True)
                for file in (teacher / kind).glob("*"):
                    link = run.path(kind, file.name)
                    if not link.exists():
                        link.symlink_to(file.resolve())
        model, progress = learner.train(stage)
        learner.save(stage, model)
        metrics = measure.validate(model, learner.encoded(stage), prepared)
        return {
            **{name: metrics[name] for name in METRICS},
            "epochs": progress.epoch,
            "best_epoch": progress.best_epoch,
            "seconds": progress.seconds,
            "num_items": prepared.catalogue.num_items,
        }


def markdown(found: list[Row]) -> str:
    """One table per data set: validation metrics and their place.

    `place` is 0 % for the student alone and 100 % for the teacher. One or two
    seeds have no test of significance; the published runs have one, over the
    test users.

    Args:
        found: rows of all stages.

    Returns:
        Markdown.
    """
    text = (
        "Validation metrics, means over the seeds; no test event is used. "
        "`place`: 0 % is the student alone, 100 % the teacher.\n"
    )
    for dataset in dict.fromkeys(row["dataset"] for row in found):
        rows = [row for row in found if row["dataset"] == dataset]
        seeds = len({row["seed"] for row in rows})
        text += (
            f"\n**{dataset}** ({rows[0]['num_items']:,} items, {seeds} "
            "seeds)\n\n| stage | setting | ndcg@10 | place | recall@50 | "
            "epochs | s |\n| :-- | :-- | --: | --: | --: | --: | --: |\n"
        )
        means = _means(rows)
        alone, teacher = (
            means[stage, ""]["ndcg@10"] for stage in ("student", "teacher")
        )
        for (stage, setting), mean in means.items():
            place = (mean["ndcg@10"] - alone) / (teacher - alone)
            text += (
                f"| {stage} | {setting} | {mean['ndcg@10']:.4f} | "
                f"{place:.0%} | {mean['recall@50']:.4f} | "
                f"{mean['epochs']:.0f} | {mean['seconds']:.0f} |\n"
            )
    return text


def describe(datasets: list[str]) -> str:
    """A table of the size and the skew of data sets.

    Args:
        datasets: names or paths.

    Returns:
        Markdown.
    """
    with console.quiet_imports():
        from kd_tfrs.data import load
    text = (
        "| data set | users | items | events | density | mean history | median "
        "history | Gini of users | Gini of items | best 1 % of items |\n"
        "| :-- |" + " --: |" * 9 + "\n"
    )
    for dataset in datasets:
        data = load(dataset, progress=False)
        users, items = (
            np.sort(data.events[name].value_counts().to_numpy())
            for name in (data.schema.user_id, data.schema.item_id)
        )
        num_events = len(data.events)
        best = items[-max(1, len(items) // 100) :].sum() / num_events
        text += (
            f"| {data.name} | {len(users):,} | {len(items):,} | "
            f"{num_events:,} | {num_events / len(users) / len(items):.3%} | "
            f"{users.mean():.1f} | {np.median(users):.0f} | "
            f"{gini(users):.2f} | {gini(items):.2f} | {best:.1%} |\n"
        )
    return text


def gini(ascending: np.ndarray) -> float:
    """Gini index of ascending counts, in [0, 1)."""
    count = len(ascending)
    weighted = (np.arange(1, count + 1) * ascending).sum()
    return 2 * weighted / (count * ascending.sum()) - (count + 1) / count


def _means(rows: list[Row]) -> dict[tuple[str, str], dict[str, float]]:
    keys = dict.fromkeys((row["stage"], row["setting"]) for row in rows)
    return {
        key: {
            name: sum(row[name] for row in mine) / len(mine)
            for name in (*METRICS, "epochs", "seconds")
        }
        for key in keys
        if (mine := [r for r in rows if (r["stage"], r["setting"]) == key])
    }


if __name__ == "__main__":
    names = ["run_dir", "datasets", "seeds", "settings", "describe_only"]
    groups = {"Defaults": names}
    console.main(run, groups, __doc__)
