"""The report of a ranking run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from kd_tfrs.evaluation.ranking import plot_calibration, plot_roc, plot_scores
from kd_tfrs.models.ranking import RankingTask
from kd_tfrs.workflow import report
from kd_tfrs.workflow.ranking.measure import INTERVALS, metric_name
from kd_tfrs.workflow.ranking.stages import RankingStages
from kd_tfrs.workflow.report import Metrics, Report, Row

# Metrics in the tables, by kind of task.
_SHOWN = {
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
_PAIRS = (
    *report.PAIRS[:2],
    ("lightgbm", "teacher"),
    *report.PAIRS[2:],
    ("saved_model", "litert"),
)
_PLOTTED = ("lightgbm", "teacher", "student", "distilled", "saved_model")
# As metrics are written in a sentence.
_TITLES = {
    "auc": "AUC",
    "gauc": "GAUC",
    "log_loss": "log loss",
    "rmse": "RMSE",
    "mae": "MAE",
}
_SEED = 0


class RankingReport(Report):
    """The report of one ranking run, see `Report`.

    Args:
        chain: the stages of the run.
    """

    reference_titles: ClassVar[dict[str, str]] = {"lightgbm": "LightGBM"}
    watched_events = "validation"
    tolerance = 0.002
    remedy = (
        "another --teacher_learning_rate, --teacher_l2 or --teacher_networks"
    )
    percentiles = ("p50", "p99")

    chain: RankingStages

    def comparisons(self) -> list[Row]:
        """See `Report.comparisons`; over drawn users, task by task.

        Without users or draws there are none.
        """
        prepared = self.chain.prepared
        draws = self.chain.config.evaluation.bootstrap
        if not draws or prepared.split.test.groups is None:
            return []
        done = {s for s in self.chain.names if self.chain.is_done(s)}
        logits = {name: self.chain.logits(name) for name in done}
        return [
            self._test(pair, task, metric, logits)
            for pair in _PAIRS
            if done.issuperset(pair)
            for task in prepared.tasks
            for metric in INTERVALS[task.kind]
        ]

    def _test(
        self,
        pair: tuple[str, str],
        task: RankingTask,
        metric: str,
        logits: Mapping[str, Mapping[str, np.ndarray]],
    ) -> Row:
        baseline, challenger = (logits[name][task.name] for name in pair)
        test = self.chain.prepared.test[task.name].compare(
            metric,
            baseline,
            challenger,
            num_resamples=self.chain.config.evaluation.bootstrap,
            seed=_SEED,
        )
        row = report.tested_pair(pair, metric, test)
        return {**row, "task": task.name}

    def metric_name(self, test: Row) -> str:
        """See `Report.metric_name`."""
        return metric_name(self.chain.prepared, test["task"], test["metric"])

    def watched_metrics(self) -> tuple[str, ...]:
        """See `Report.watched_metrics`; the log loss beside an AUC."""
        is_binary = self.chain.prepared.task.kind == "binary"
        names = (self.chain.monitor, *(("log_loss",) if is_binary else ()))
        return tuple(dict.fromkeys(names))

    def further(self) -> dict[str, Any]:
        """See `Report.further`."""
        tasks = self.chain.prepared.tasks
        return {"tasks": {task.name: task.kind for task in tasks}}

    @property
    def metrics(self) -> Metrics:
        """See `Report.metrics`; of all tasks."""
        shown, short = self._metrics(_SHOWN), self._metrics(INTERVALS)
        return Metrics(
            table=shown,
            console=short,
            tested=short,
            shown=shown,
            curves=(shown[0], "distillation_loss"),
            title=_TITLES[self.chain.monitor],
        )

    def shipped_title(self, row: Row) -> str:
        """See `Report.shipped_title`."""
        return f"The shipped file ({row['choice']['name']})"

    def heading(self, results: dict[str, Any]) -> str:
        """See `Report.heading`."""
        tasks = ", ".join(f"{n} ({k})" for n, k in results["tasks"].items())
        return f"{super().heading(results)}: {tasks}"

    def note(self) -> str:
        """See `Report.note`."""
        count = self.chain.config.evaluation.candidates
        text = (
            "Model bytes are those of tables, scales, kernels and biases, as "
            "they are stored; size and gzip are those of a SavedModel on "
            "encoded features, and of the export itself, which also holds "
            "vocabularies and the tables that it looks up. Latency is that of "
            f"the logits of {count} candidates of one user, from encoded "
            "features, in TensorFlow's C library on one thread, stages "
            "measured in turns; those of LightGBM and of the LiteRT file are "
            "measured alone, by Python."
        )
        columns = self.chain.prepared.split.train.columns
        if any(column.training_only for column in columns):
            text += " Teachers read columns that are known in training alone."
        return text

    def plot(self, rows: Sequence[Row]) -> None:
        """See `Report.plot`; scores, ROC and calibration of every task."""
        for task in self.chain.prepared.tasks:
            _plot_task(self.chain, task)

    def _metrics(self, of_kind: Mapping[str, tuple[str, ...]]) -> list[str]:
        """Metrics of all tasks as a row names them, by kind of task."""
        prepared = self.chain.prepared
        return [
            metric_name(prepared, task.name, name)
            for task in prepared.tasks
            for name in of_kind[task.kind]
            if name in prepared.test[task.name].names
        ]


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
