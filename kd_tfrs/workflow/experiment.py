"""A whole experiment: all stages, their table and plots, one seed or many."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.util
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from kd_tfrs.evaluation import paired_test_over_seeds
from kd_tfrs.evaluation.tables import (
    as_markdown,
    mean_and_deviation,
    mean_cell,
)
from kd_tfrs.workflow.cautions import Cautions
from kd_tfrs.workflow.chain import Chain
from kd_tfrs.workflow.options import FlatConfig
from kd_tfrs.workflow.packages import STAGE_PACKAGES
from kd_tfrs.workflow.report import Report, choice_text
from kd_tfrs.workflow.run import Run
from kd_tfrs.workflow.student_chain import StudentChain
from kd_tfrs.workflow.tracking import Tracker

Say = Callable[[str], None]


@dataclasses.dataclass(frozen=True)
class Task:
    """What an experiment runs: retrieval or ranking.

    Args:
        chain: makes the stages of a run from its folder.
        report: makes the report of a chain.

    Example:
    ```python
    RETRIEVAL = Task(Stages, RetrievalReport)
    run_experiment(RETRIEVAL, Config(), "runs/first")
    ```
    """

    chain: Callable[[Run], StudentChain]
    report: Callable[[StudentChain], Report]


def run_experiment(
    task: Task,
    config: FlatConfig,
    run_dir: str | os.PathLike,
    *,
    wandb_project: str | None = None,
    stages: Sequence[str] | None = None,
    say: Say = print,
) -> dict[str, Any]:
    """Runs every stage of one seed and writes the report.

    Args:
        task: of the configuration.
        config: what to run.
        run_dir: where everything is kept; a run that was stopped goes on.
        wandb_project: log to this Weights & Biases project as well.
        stages: which stages to run; what they need runs too. All that can run
            when `None`, see `available_stages`.
        say: prints a line for a person.

    Returns:
        The contents of `metrics.json`.

    Raises:
        UserError: a mistake in the options or the data.
    """
    run = Run(run_dir, config)
    # Closed whatever happens: a notebook may go on in the same process.
    with contextlib.closing(run):
        chain = task.chain(run)
        if stages is not None:
            chain.check_stages(stages)
        say(chain.title)
        chain.start()
        if chain.method_title:
            say(chain.method_title)
        chosen = available_stages(chain, say) if stages is None else stages
        report, cautions = task.report(chain), Cautions(say)
        chain.before_distilling = lambda: report.before_distilling(cautions)
        run_stages(chain, chosen, wandb_project)
        results = report.make(cautions)
        say(f"\n{report.console(results)}")
        for name, test in results["significance"].items():
            say(f"{name}, distilled against student alone: {test['text']}")
        for line in (choice_text(results["stages"]), results["sentence"]):
            if line:
                say(f"\n{line}")
        return results


def available_stages(chain: Chain, say: Say) -> tuple[str, ...]:
    """All stages but those whose optional package is not installed."""
    names = []
    for stage in chain.names:
        package, extra = STAGE_PACKAGES.get(stage, (None, None))
        if package and importlib.util.find_spec(package) is None:
            say(
                f"{stage} is left out: install its package with pip "
                f"install 'kd_tfrs[{extra}]'."
            )
            continue
        names.append(stage)
    return tuple(names)


def run_stages(
    chain: Chain, stages: Sequence[str], wandb_project: str | None
) -> None:
    """Runs stages, and logs them to Weights & Biases if it is given.

    Args:
        chain: of any task.
        stages: names of its stages.
        wandb_project: a Weights & Biases project, or `None`.
    """
    if wandb_project is None:
        for stage in stages:
            chain.result(stage)
        return
    tracker = Tracker(wandb_project, chain.run.directory, chain.config)
    with contextlib.closing(tracker):
        for stage in stages:
            tracker.log_stage(chain.result(stage), chain.history(stage))


def run_seeds(
    task: Task,
    config: FlatConfig,
    run_dir: str | os.PathLike,
    num_seeds: int,
    *,
    say: Say = print,
    **options: Any,
) -> dict[str, Any]:
    """Repeats an experiment with the seeds `seed .. seed + num_seeds - 1`.

    Args:
        task: of the configuration.
        config: of the first seed.
        run_dir: holds a run folder a seed, and the summary.
        num_seeds: at least 2.
        say: prints a line for a person.
        **options: more of `run_experiment`; a W&B run a seed.

    Returns:
        The contents of `summary.json`: mean and standard deviation of every
        metric of every stage, and paired tests over the seeds.
    """
    run_dir = Path(run_dir)
    results = []
    for seed in range(config.seed, config.seed + num_seeds):
        say(f"seed {seed}")
        results.append(
            run_experiment(
                task,
                dataclasses.replace(config, seed=seed),
                run_dir / f"seed-{seed}",
                say=say,
                **options,
            )
        )
    summary = summarise(results, results[0]["tested"])
    text = summary_markdown(summary, results[0]["shown"])
    with contextlib.closing(Run(run_dir / "summary", config)) as run:
        run.write_json("summary.json", summary)
        run.write_text("summary.md", text)
    say(text)
    return summary


def summarise(
    results: Sequence[dict[str, Any]], tested: Sequence[str]
) -> dict[str, Any]:
    """Means, standard deviations and paired tests over seeds."""
    metrics = {
        rows[0]["stage"]: [row["metrics"] for row in rows]
        for rows in zip(
            *(f["baselines"] + f["stages"] for f in results), strict=True
        )
    }
    stages = {
        stage: {
            name: mean_and_deviation([row[name] for row in rows])
            for name in rows[0]
        }
        for stage, rows in metrics.items()
    }
    tests = {}
    if "student" in metrics and "distilled" in metrics:
        for name in tested:
            test = paired_test_over_seeds(
                [row[name] for row in metrics["student"]],
                [row[name] for row in metrics["distilled"]],
            )
            tests[name] = {**dataclasses.asdict(test), "text": str(test)}
    return {
        "dataset": results[0]["dataset"],
        "seeds": [f["seed"] for f in results],
        "flags": results[0]["flags"],
        "environment": results[0]["environment"],
        "stages": stages,
        "significance": tests,
        "sentences": {
            f["seed"]: f["sentence"] for f in results if f.get("sentence")
        },
    }


def summary_markdown(summary: dict[str, Any], names: Sequence[str]) -> str:
    """The summary as a Markdown table."""
    rows = [
        [stage, *(mean_cell(metrics[name]) for name in names)]
        for stage, metrics in summary["stages"].items()
    ]
    lines = [
        f"# {summary['dataset']}, seeds "
        f"{', '.join(map(str, summary['seeds']))}",
        "",
        f"Commit {summary['environment']['commit']}, "
        f"{summary['environment']['processor']}. Test metrics, mean (standard "
        "deviation).",
        "",
        as_markdown([["stage", *names], *rows]),
    ]
    for name, test in summary["significance"].items():
        lines.append(
            f"* {name}, distilled against student alone: {test['text']}"
        )
    for seed, sentence in summary["sentences"].items():
        lines.append(f"* seed {seed}: {sentence}")
    return "\n".join(lines) + "\n"
