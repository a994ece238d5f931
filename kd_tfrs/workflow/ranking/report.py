"""What a ranking run found: tests, a table, plots."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from kd_tfrs.evaluation import plot_curves, plot_stages, stages_markdown
from kd_tfrs.evaluation.latency_ratio import within_noise
from kd_tfrs.evaluation.ranking import plot_calibration, plot_roc, plot_scores
from kd_tfrs.models.ranking import RankingTask
from kd_tfrs.workflow.cautions import (
    Cautions,
    cautions_markdown,
    teacher_behind,
)
from kd_tfrs.workflow.ranking.measure import INTERVALS, metric_name
from kd_tfrs.workflow.ranking.stages import BASELINES, RankingStages
from kd_tfrs.workflow.retrieval.report import choice_text
from kd_tfrs.workflow.sentence import closing_sentence
from kd_tfrs.workflow.training import ERRORS

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
    ("student", "saved_model"),
    ("distilled", "saved_model"),
    ("saved_model", "litert"),
)
_PLOTTED = ("lightgbm", "teacher", "student", "distilled", "saved_model")
# As metrics are written in a sentence.
_WRITTEN = {
    "auc": "AUC",
    "gauc": "GAUC",
    "log_loss": "log loss",
    "rmse": "RMSE",
    "mae": "MAE",
}
# A relative difference on validation events that does not count.
_TOLERANCE = 0.002
_REMEDY = "another --teacher_learning_rate, --teacher_l2 or --teacher_networks"
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


def p_value(
    compared: list[dict[str, Any]], pair: tuple[str, str], metric: str
) -> float | None:
    """The p-value of a pair of stages in a metric of the first task.

    Args:
        compared: see `comparisons`; the first task comes first.
        pair: baseline and challenger.
        metric: plain name.

    Returns:
        It, or `None` where there was no such test.
    """
    found = (
        one["p_value"]
        for one in compared
        if (one["baseline"], one["challenger"]) == pair
        and one["metric"] == metric
    )
    return next(found, None)


def add_cautions(
    cautions: Cautions, rows: list[dict[str, Any]], stages: RankingStages
) -> None:
    """Warns of a teacher that is worse than what stands beside it.

    By validation events, before the distilled student is trained.

    Args:
        cautions: where to.
        rows: of the stages that are done.
        stages: those of the run.
    """
    named = {row["stage"]: row.get("validation") for row in rows}
    kind, monitor = stages.prepared.task.kind, stages.learner.monitor
    watched = [monitor, "log_loss"] if kind == "binary" else [monitor]
    for stage, title in (
        ("lightgbm", "LightGBM"),
        ("student", "the student alone"),
    ):
        if named.get("teacher") and named.get(stage):
            cautions.add(
                teacher_behind(
                    title,
                    named["teacher"],
                    named[stage],
                    is_error={name: name in ERRORS for name in watched},
                    events="validation",
                    tolerance=_TOLERANCE,
                    remedy=_REMEDY,
                )
            )


def sentence(
    stages: RankingStages,
    rows: list[dict[str, Any]],
    compared: list[dict[str, Any]],
) -> str | None:
    """The last line of a run.

    Args:
        stages: those of the run.
        rows: of its stages, see `with_ratios`.
        compared: see `comparisons`.

    Returns:
        The sentence; `None` where nothing was exported, or no teacher is
        there to hold it against.
    """
    named = {row["stage"]: row for row in rows}
    if not {"teacher", "student", "saved_model"} <= set(named):
        return None
    row, metric = named["saved_model"], stages.learner.monitor
    faster = row.get("times_faster")
    return closing_sentence(
        f"The shipped file ({row['choice']['name']})",
        _WRITTEN[metric],
        quality=row["kept"]["quality"],
        lead=row["kept"]["lead"],
        p_value=p_value(compared, ("student", "teacher"), metric),
        times_smaller=row["times_smaller"],
        times_faster=faster and faster["ratio"],
        within_noise=bool(faster) and within_noise(faster),
    )


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
        "metrics. `kept` is the share of the teacher's headline metric, `lead "
        "kept` the share of its lead over the student alone. Model bytes are "
        "those of tables, scales, kernels and biases, as they are stored; "
        "size and gzip are those of a SavedModel on encoded features, and of "
        "the export itself, which also holds vocabularies and the tables that "
        f"it looks up. Latency is that of the logits of {options.candidates} "
        "candidates of one user, from encoded features, in TensorFlow's C "
        "library on one thread, stages measured in turns; those of LightGBM "
        "and of the LiteRT file are measured alone, by Python.\n\n"
    )
    text += cautions_markdown(found["warnings"])
    text += "\n" if found["warnings"] else ""
    if any(c.training_only for c in prepared.split.train.columns):
        text += "Teachers see columns that are known in training alone.\n\n"
    text += stages_markdown(
        [*found["baselines"], *rows],
        metrics=shown_metrics(stages),
        reference=reference,
        percentiles=("p50", "p99"),
    )
    lines = [choice_text(rows), found["sentence"]]
    text += "".join(f"\n{line}\n" for line in lines if line)
    for one in found["comparisons"]:
        text += (
            f"\n* {one['task']} {one['metric']}, {one['challenger']} against "
            f"{one['baseline']}: {one['text']}"
        )
    return text + "\n"


def _point(epoch: dict[str, float], metric: str) -> dict[str, float]:
    kept = {
        name: epoch[name]
        for name in (metric, "distillation_loss")
        if name in epoch
    }
    return {"epoch": epoch["epoch"], "loss": epoch["loss"], **kept}


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
