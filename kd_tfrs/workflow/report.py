"""What a run reports: tests, shares, warnings, a table, plots, a sentence."""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from kd_tfrs.evaluation import (
    format_bytes,
    plot_curves,
    plot_stages,
    stages_markdown,
    stages_text,
)
from kd_tfrs.evaluation.latency_ratio import within_noise
from kd_tfrs.evaluation.lead import is_error
from kd_tfrs.workflow.cautions import (
    Cautions,
    cautions_markdown,
    nothing_significant,
    teacher_behind,
)
from kd_tfrs.workflow.ratios import with_ratios
from kd_tfrs.workflow.run import Run
from kd_tfrs.workflow.sentence import closing_sentence
from kd_tfrs.workflow.student_chain import SHIPPED, StudentChain

Row = dict[str, Any]
# Each stage, and the stage that it is tested against.
PAIRS = (
    ("student", "distilled"),
    ("student", "teacher"),
    ("student", SHIPPED),
    ("distilled", SHIPPED),
)
_NOTE = (
    "Test metrics. `kept` is the share of the teacher's headline metric, "
    "`lead kept` the share of its lead over the student alone."
)


@dataclasses.dataclass(frozen=True)
class Metrics:
    """Names of the metrics of each part of a report.

    Args:
        table: of `stages.md`.
        console: of the table on the console.
        tested: those that are tested, the headline metric first.
        shown: of the summary over seeds.
        curves: validation metrics of the learning curves.
        title: the headline metric as it is written in a sentence.
    """

    table: Sequence[str]
    console: Sequence[str]
    tested: Sequence[str]
    shown: Sequence[str]
    curves: Sequence[str]
    title: str


class Report(abc.ABC):
    """The report of one run; a task defines what is measured and plotted.

    Args:
        chain: the stages of the run.

    Attributes:
        reference_titles: baselines that the teacher should not be behind, by
            the name of the stage.
        watched_events: the events of that comparison, "validation" or "test".
        tolerance: relative difference that does not count there.
        remedy: flags that may make a better teacher.
        times_faster: key of the latency ratio that the closing sentence has.
        where: what follows it in the sentence, such as "with 100,000 items".
        percentiles: of latency in the table.
    """

    reference_titles: ClassVar[dict[str, str]]
    watched_events: ClassVar[str]
    tolerance: ClassVar[float]
    remedy: ClassVar[str]
    times_faster: ClassVar[str] = "times_faster"
    where: ClassVar[str] = ""
    percentiles: ClassVar[tuple[str, ...]] = ("p50",)

    def __init__(self, chain: StudentChain) -> None:
        self.chain = chain

    @abc.abstractmethod
    def comparisons(self) -> list[Row]:
        """Paired tests of the pairs of stages that are done.

        Returns:
            A dict a pair and metric: `baseline`, `challenger`, `metric`,
            `p_value`, `text` and the numbers of the test.
        """

    @property
    @abc.abstractmethod
    def metrics(self) -> Metrics:
        """The metrics of each part of the report."""

    @abc.abstractmethod
    def note(self) -> str:
        """What model bytes, sizes and latencies of the table are."""

    def metric_name(self, test: Row) -> str:
        """A test's metric as a row of the stage table names it."""
        return test["metric"]

    def watched_metrics(self) -> tuple[str, ...]:
        """Metrics in which the teacher should not be behind."""
        return (self.chain.monitor,)

    def shipped_title(self, row: Row) -> str:
        """The subject of the closing sentence."""
        del row
        return "The shipped file"

    def further(self) -> dict[str, Any]:
        """What `metrics.json` holds of this task besides."""
        return {}

    def plot(self, rows: Sequence[Row]) -> None:
        """Draws plots of this task besides those of stages and epochs."""
        del rows

    def early_cautions(self, cautions: Cautions, rows: Sequence[Row]) -> None:
        """Warns of a teacher that is worse than a baseline or the student."""
        key = "metrics" if self.watched_events == "test" else "validation"
        values = {row["stage"]: row.get(key) for row in rows}
        titles = {**self.reference_titles, "student": "the student alone"}
        for stage, title in titles.items():
            if values.get("teacher") and values.get(stage):
                cautions.add(
                    teacher_behind(
                        title,
                        values["teacher"],
                        values[stage],
                        is_error={
                            name: is_error(name)
                            for name in self.watched_metrics()
                        },
                        events=self.watched_events,
                        tolerance=self.tolerance,
                        remedy=self.remedy,
                    )
                )

    def before_distilling(self, cautions: Cautions) -> None:
        """Warns of a weak teacher before it teaches; not by test events."""
        if self.watched_events != "test":
            self.early_cautions(cautions, self.chain.rows())

    def make(self, cautions: Cautions) -> dict[str, Any]:
        """Writes the report of all stages that are done."""
        compared = self.comparisons()
        rows = self.rows(compared)
        self.early_cautions(cautions, rows)
        self.late_cautions(cautions, compared)
        baselines = self.chain.baselines
        results = {
            "dataset": self.chain.config.data.dataset,
            "seed": self.chain.config.seed,
            **of_run(self.chain.run),
            "stages": [row for row in rows if row["stage"] not in baselines],
            "baselines": [row for row in rows if row["stage"] in baselines],
            **self.further(),
            "shown": list(self.metrics.shown),
            "tested": list(self.metrics.tested),
            "significance": significance(compared, self.metric_name),
            "comparisons": compared,
            "sentence": self.sentence(rows, compared),
            "warnings": cautions.lines,
        }
        self._write(results, [*results["baselines"], *results["stages"]])
        return results

    def rows(
        self, compared: Sequence[Row], rows: Sequence[Row] | None = None
    ) -> list[Row]:
        """Rows with shares of the teacher, ratios of bytes and latencies.

        Args:
            compared: see `comparisons`.
            rows: of stages; all that are done when `None`.

        Returns:
            Copies of the rows.
        """
        monitor = self.chain.monitor
        results = with_ratios(
            self.chain.rows() if rows is None else rows,
            metric=monitor,
            p_value=p_value(compared, ("student", "teacher"), monitor),
            is_error=is_error(monitor),
            baselines=self.chain.baselines,
        )
        latencies = self.chain.latencies()["rows"]
        return [{**row, **latencies.get(row["stage"], {})} for row in results]

    def late_cautions(
        self, cautions: Cautions, compared: Sequence[Row]
    ) -> None:
        """Warns where nothing is significant or the machine was busy."""
        monitor = self.chain.monitor
        tested = p_value(compared, ("student", "distilled"), monitor)
        cautions.add(nothing_significant(monitor, tested))
        cautions.add(self.chain.latencies()["warning"])

    def sentence(
        self, rows: Sequence[Row], compared: Sequence[Row]
    ) -> str | None:
        """The closing sentence; `None` without an export or a teacher."""
        named = {row["stage"]: row for row in rows}
        if not {SHIPPED, "teacher", "student"} <= set(named):
            return None
        row, monitor = named[SHIPPED], self.chain.monitor
        faster = row.get(self.times_faster)
        return closing_sentence(
            self.shipped_title(row),
            self.metrics.title,
            quality=row["kept"]["quality"],
            lead=row["kept"]["lead"],
            p_value=p_value(compared, ("student", "teacher"), monitor),
            times_smaller=row["times_smaller"],
            times_faster=faster and faster["ratio"],
            within_noise=bool(faster) and within_noise(faster),
            where=self.where,
        )

    def console(self, results: dict[str, Any]) -> str:
        """The stage table as it is printed."""
        rows = [*results["baselines"], *results["stages"]]
        return stages_text(rows, metrics=self.metrics.console)

    def heading(self, results: dict[str, Any]) -> str:
        """The title of `stages.md`."""
        return f"{results['dataset']}, seed {results['seed']}"

    def _write(self, results: dict[str, Any], rows: list[Row]) -> None:
        run = self.chain.run
        run.write_text("stages.md", self._markdown(results, rows))
        run.write_text("stages.txt", self.console(results))
        # A line far below all others would leave them no room.
        drawn = [row for row in rows if row["stage"] != "prior"] or rows
        plot_stages(drawn, run.path("stages.png"), metric=self.chain.monitor)
        history = {
            row["stage"]: self._curve(row["stage"]) for row in results["stages"]
        }
        history = {stage: points for stage, points in history.items() if points}
        if history:
            plot_curves(history, run.path("curves.png"))
        self.plot(rows)
        run.write_json("metrics.json", results)

    def _curve(self, stage: str) -> list[dict[str, float]]:
        names = ("epoch", "loss", *self.metrics.curves)
        return [
            {name: epoch[name] for name in names if name in epoch}
            for epoch in self.chain.history(stage)
        ]

    def _markdown(self, results: dict[str, Any], rows: list[Row]) -> str:
        environment = results["environment"]
        names = [row["stage"] for row in rows]
        text = (
            f"# {self.heading(results)}\n\n"
            f"Commit {environment['commit']}, {environment['processor']}. "
            f"{_NOTE} {self.note()}\n\n"
        )
        if results["warnings"]:
            text += f"{cautions_markdown(results['warnings'])}\n"
        text += stages_markdown(
            rows,
            metrics=self.metrics.table,
            reference="teacher" if "teacher" in names else names[-1],
            percentiles=self.percentiles,
        )
        lines = [choice_text(rows), results["sentence"]]
        text += "".join(f"\n{line}\n" for line in lines if line)
        for test in results["comparisons"]:
            task = f"{test['task']} " if "task" in test else ""
            text += (
                f"\n* {task}{test['metric']}, {test['challenger']} against "
                f"{test['baseline']}: {test['text']}"
            )
        return text + "\n"


def of_run(run: Run) -> dict[str, Any]:
    """The origin of a result.

    Args:
        run: the run folder.

    Returns:
        "flags", "environment" and "data_fingerprint"; the latter is `None`
        before data are read.
    """
    data = run.read_json("data.json") or {}
    return {
        "flags": run.config.flat(),
        "environment": run.read_json("environment.json"),
        "data_fingerprint": data.get("fingerprint"),
    }


def tested_pair(pair: tuple[str, str], metric: str, test: Any) -> Row:
    """A paired test as JSON.

    Args:
        pair: baseline and challenger.
        metric: plain name.
        test: a dataclass.

    Returns:
        "baseline", "challenger", "metric", the fields of the test, and
        "text".
    """
    names = {"baseline": pair[0], "challenger": pair[1], "metric": metric}
    return {**names, **dataclasses.asdict(test), "text": str(test)}


def p_value(
    compared: Sequence[Row], pair: tuple[str, str], metric: str
) -> float | None:
    """The p-value of a pair of stages.

    Args:
        compared: see `Report.comparisons`; of several tasks the first one
            comes first.
        pair: baseline and challenger.
        metric: plain name.

    Returns:
        The p-value; `None` where the pair was not tested.

    Example:
    >>> test = {"baseline": "student", "challenger": "teacher"}
    >>> test |= {"metric": "auc", "p_value": 0.01}
    >>> p_value([test], ("student", "teacher"), "auc")
    0.01
    """
    for test in compared:
        same = (test["baseline"], test["challenger"]) == pair
        if same and test["metric"] == metric:
            return test["p_value"]
    return None


def significance(
    compared: Sequence[Row],
    name: Callable[[Row], str] = lambda test: test["metric"],
) -> dict[str, Row]:
    """Tests of the distilled student against the student alone."""
    return {
        name(test): test
        for test in compared
        if (test["baseline"], test["challenger"]) == ("student", "distilled")
    }


def choice_text(rows: Sequence[Row]) -> str | None:
    """Which form ships, why, and the validation loss of the others.

    Args:
        rows: of stages; that of the export holds the choice.

    Returns:
        One sentence and the losses; `None` without an export.
    """
    named = {row["stage"]: row for row in rows}
    choice = named.get(SHIPPED, {}).get("choice")
    if choice is None:
        return None
    losses = ", ".join(
        f"{_form_name(named, name)} {format_bytes(named[name]['model_bytes'])} "
        f"{loss:+.1%}{_up_to(loss, choice.get('margins', {}).get(name, 0.0))}"
        for name, loss in choice["losses"].items()
        if name in named
    )
    return f"{choice['reason']}. Validation loss of each form: {losses}."


def _up_to(loss: float, margin: float) -> str:
    return f" (up to {loss + margin:+.1%})" if margin else ""


def _form_name(named: dict[str, Row], form: str) -> str:
    if not form.startswith("pruned") or "pruned" not in named:
        return form
    return f"{form} ({named['pruned']['sparsity']:.0%} zeros)"
