"""What a ranking run found: tests, a table, plots."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from kd_tfrs.evaluation import (
    plot_calibration,
    plot_curves,
    plot_roc,
    plot_scores,
    plot_stages,
    stages_markdown,
)
from kd_tfrs.models.ranking import RankingTask
from kd_tfrs.workflow.ranking.measure import INTERVALS, metric_name
from kd_tfrs.workflow.ranking.stages import BASELINES, RankingStages

# What is told of each kind of task in tables.
SHOWN = {
    "binary": (
        "auc",
        "gauc",
        "log_loss",
        "ece",
        "predicted_over_observed",
        "ndcg@10",
    ),
    "rating": ("rmse", "mae", "ndcg@10"),
}
SHORT = {"binary": ("auc", "gauc", "log_loss"), "rating": ("rmse", "mae")}
PAIRS = (
    ("student", "distilled"),
    ("student", "teacher"),
    ("lightgbm", "teacher"),
    ("distilled", "pruned"),
    ("pruned", "int8"),
)
_PLOTTED = ("lightgbm", "teacher", "student", "distilled", "pruned", "int8")
_SEED = 0


def shown_metrics(
    stages: RankingStages, of_kind: dict[str, tuple[str, ...]] = SHOWN
) -> list[str]:
    """Metrics of all tasks that the stages have, for a table.

    Args:
        stages: those of a run.
        of_kind: by kind of task.

    Returns:
        Names as in a row's metrics.
    """
    prepared = stages.prepared
    return [
        metric_name(prepared, task.name, name)
        for task in prepared.tasks
        for name in of_kind[task.kind]
        if name in prepared.test[task.name].names
    ]


def comparisons(stages: RankingStages) -> list[dict[str, Any]]:
    """Pairs of stages on the same drawn users, task by task.

    Args:
        stages: those of a run; pairs that are not both done are left out.

    Returns:
        A dict a pair and metric with `baseline`, `challenger`, `task`,
        `metric`, `text` and the numbers; none without users or draws.
    """
    prepared, draws = stages.prepared, stages.config.evaluation.bootstrap
    if not draws or prepared.split.test.groups is None:
        return []
    done = {s for s in stages.names if stages.is_done(s)}
    pairs = [pair for pair in PAIRS if done.issuperset(pair)]
    logits = {name: stages.logits(name) for name in done}
    found = []
    for one, other in pairs:
        for task in prepared.tasks:
            for metric in INTERVALS[task.kind]:
                test = prepared.test[task.name].compare(
                    metric,
                    logits[one][task.name],
                    logits[other][task.name],
                    num_resamples=draws,
                    seed=_SEED,
                )
                found.append(
                    {
                        "baseline": one,
                        "challenger": other,
                        "task": task.name,
                        "metric": metric,
                        **dataclasses.asdict(test),
                        "text": str(test),
                    }
                )
    return found


def significance(
    stages: RankingStages, compared: list[dict[str, Any]]
) -> dict[str, dict[str, Any]]:
    """The distilled student against the student alone, by metric.

    Args:
        stages: those of a run.
        compared: see `comparisons`.

    Returns:
        The findings by name of the metric as in a row.
    """
    return {
        metric_name(stages.prepared, found["task"], found["metric"]): found
        for found in compared
        if (found["baseline"], found["challenger"]) == ("student", "distilled")
    }


def gain_kept(rows: list[dict[str, Any]], metric: str) -> dict[str, float]:
    r"""What share of the teacher's gain over the student alone each keeps.

    $$\frac{m - m_\text{student}}{m_\text{teacher} - m_\text{student}}$$

    Args:
        rows: of stages.
        metric: as in a row; errors count as well, since signs cancel.

    Returns:
        Shares by stage; none where one of the two is missing, or the teacher
        is no different.
    """
    values = {row["stage"]: row["metrics"].get(metric) for row in rows}
    teacher, student = values.get("teacher"), values.get("student")
    if teacher is None or student is None or teacher == student:
        return {}
    return {
        name: (values[name] - student) / (teacher - student)
        for name in ("distilled", "pruned", "int8", "saved_model")
        if values.get(name) is not None
    }


def write(stages: RankingStages, found: dict[str, Any]) -> None:
    """Writes `stages.md` and the plots.

    Args:
        stages: those of a run.
        found: what stands in `metrics.json`.
    """
    run = stages.run
    run.write_text("stages.md", _markdown(stages, found))
    rows = [*found["baselines"], *found["stages"]]
    first = shown_metrics(stages)[0]
    # A line far below all others would leave them no room.
    drawn = [row for row in rows if row["stage"] != "prior"] or rows
    plot_stages(drawn, run.path("stages.png"), metric=first)
    history = {
        row["stage"]: [_point(e, first) for e in stages.history(row["stage"])]
        for row in found["stages"]
    }
    history = {stage: kept for stage, kept in history.items() if kept}
    if history:
        plot_curves(history, run.path("curves.png"))
    for task in stages.prepared.tasks:
        _plot_task(stages, task)


def _markdown(stages: RankingStages, found: dict[str, Any]) -> str:
    rows, prepared = found["stages"], stages.prepared
    done = [row["stage"] for row in rows]
    reference = "teacher" if "teacher" in done else (done or ["prior"])[-1]
    environment, options = found["environment"], stages.config.evaluation
    tasks = ", ".join(f"{t.name} ({t.kind})" for t in prepared.tasks)
    text = (
        f"# {found['dataset']}, seed {found['seed']}: {tasks}\n\n"
        f"Commit {environment['commit']}, {environment['processor']}. Test "
        f"metrics, each also as a percentage of the {reference}; latency of "
        f"one call in process that scores {options.candidates} candidates of "
        "a user: networks on encoded features, the SavedModel's `rank` on "
        "ids. Sizes of networks are those of a SavedModel on encoded "
        "features; the SavedModel itself also holds vocabularies and the "
        "tables that it looks up.\n\n"
    )
    if any(c.training_only for c in prepared.split.train.columns):
        text += "Teachers see columns that are known in training alone.\n\n"
    text += stages_markdown(
        [*found["baselines"], *rows],
        metrics=shown_metrics(stages),
        reference=reference,
        percentiles=("p50", "p99"),
    )
    for one in found["comparisons"]:
        text += (
            f"\n* {one['task']} {one['metric']}, {one['challenger']} against "
            f"{one['baseline']}: {one['text']}"
        )
    for stage, share in found["gain_kept"].items():
        text += (
            f"\n* {stage} keeps {share:.1%} of the teacher's gain in "
            f"{found['shown'][0]} over the student alone."
        )
    return text + "\n"


def _point(epoch: dict[str, float], metric: str) -> dict[str, float]:
    # A model trained alone has its own loss as its only loss.
    hard = epoch.get("student_loss", epoch["loss"])
    kept = {
        name: epoch[name]
        for name in (metric, "distillation_loss")
        if name in epoch
    }
    return {"epoch": epoch["epoch"], "loss on labels": hard, **kept}


def _plot_task(stages: RankingStages, task: RankingTask) -> None:
    done = [s for s in _PLOTTED if s in stages.names and stages.is_done(s)]
    scores = {stage: stages.logits(stage)[task.name] for stage in done}
    if not scores:
        return
    run, test = stages.run, stages.prepared.split.test
    first = task.name == stages.prepared.task.name
    suffix = "" if first else f"-{task.name}"
    labels = test.labels[task.name]
    known = ~np.isnan(labels) & (test.weights > 0)
    scores = {name: values[known] for name, values in scores.items()}
    labels, weights = labels[known], test.weights[known]
    path = run.path(f"scores{suffix}.png")
    if task.kind == "rating":
        plot_scores(scores, path, weights=weights, xlabel=task.name)
        return
    plot_scores(scores, path, labels=labels, weights=weights)
    if len(np.unique(labels)) == 2:
        plot_roc(scores, labels, run.path(f"roc{suffix}.png"), weights=weights)
    plot_calibration(
        scores, labels, run.path(f"calibration{suffix}.png"), weights=weights
    )


def is_baseline(row: dict[str, Any]) -> bool:
    """Whether a row is of a baseline."""
    return row["stage"] in BASELINES
