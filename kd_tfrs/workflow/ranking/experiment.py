"""A whole ranking experiment, one seed or many."""

from __future__ import annotations

import contextlib
import importlib.util
import os
from collections.abc import Sequence
from typing import Any

from kd_tfrs.evaluation import stages_text
from kd_tfrs.workflow.cautions import Cautions, nothing_significant
from kd_tfrs.workflow.ranking import report
from kd_tfrs.workflow.ranking.config import RankingConfig
from kd_tfrs.workflow.ranking.stages import (
    BASELINES,
    RankingStages,
    stage_names,
)
from kd_tfrs.workflow.ratios import with_ratios
from kd_tfrs.workflow.retrieval import experiment
from kd_tfrs.workflow.retrieval.experiment import Say
from kd_tfrs.workflow.retrieval.report import choice_text
from kd_tfrs.workflow.run import Run
from kd_tfrs.workflow.training import ERRORS

# Stages that need a package of their own, and where it is installed from.
_PACKAGES = {"lightgbm": "lightgbm", "litert": "ai_edge_litert"}
_EXTRAS = {"lightgbm": "baselines", "litert": "edge"}


def run_experiment(
    config: RankingConfig,
    run_dir: str | os.PathLike,
    *,
    wandb_project: str | None = None,
    stages: Sequence[str] | None = None,
    say: Say = print,
) -> dict[str, Any]:
    """Runs every stage of one seed and writes what was found.

    Args:
        config: what to run.
        run_dir: where everything is kept; a run that was stopped goes on.
        wandb_project: log to this Weights & Biases project as well.
        stages: which stages to run; what they need runs too. All that can run
            when `None`, see `default_stages`.
        say: prints a line for a person.

    Returns:
        What stands in `metrics.json`.

    Raises:
        UserError: a mistake in the options or the data.

    Example:
    ```python
    found = run_experiment(RankingConfig(), "runs/first")
    found["stages"][-1]["metrics"]["auc"]
    ```
    """
    run = Run(run_dir, config)
    # Closed whatever happens: a notebook may go on in the same process.
    with contextlib.closing(run):
        chain = RankingStages(run)
        say(chain.title)
        # Mistakes in what comes late show before anything is trained.
        chain.learner  # noqa: B018
        chosen = default_stages(config, say) if stages is None else stages
        cautions = Cautions(say)
        chain.before_distilling = lambda: report.add_cautions(
            cautions, chain.rows(), chain
        )
        experiment.run_stages(chain, chosen, wandb_project)
        return _report(chain, cautions, say)


def run_seeds(
    config: RankingConfig,
    run_dir: str | os.PathLike,
    num_seeds: int,
    *,
    say: Say = print,
    **options: Any,
) -> dict[str, Any]:
    """Repeats an experiment with the seeds `seed .. seed + num_seeds - 1`.

    Args:
        config: of the first seed.
        run_dir: holds a run folder a seed, and the summary.
        num_seeds: at least 2.
        say: prints a line for a person.
        **options: more of `run_experiment`.

    Returns:
        What stands in `summary.json`.
    """
    return experiment.run_seeds(
        config,
        run_dir,
        num_seeds,
        run_one=run_experiment,
        say=say,
        **options,
    )


def default_stages(config: RankingConfig, say: Say) -> tuple[str, ...]:
    """All stages but those whose package is not installed.

    Args:
        config: see `stage_names`.
        say: is told what is left out.

    Returns:
        Names of stages.
    """
    chosen = []
    for stage in stage_names(config):
        package = _PACKAGES.get(stage)
        if package and importlib.util.find_spec(package) is None:
            say(
                f"{stage} is left out: install its package with pip install "
                f"'kd_tfrs[{_EXTRAS[stage]}]'."
            )
            continue
        chosen.append(stage)
    return tuple(chosen)


def _report(
    chain: RankingStages, cautions: Cautions, say: Say
) -> dict[str, Any]:
    """Writes down all that is in the folder, whoever asked for it."""
    run, compared = chain.run, report.comparisons(chain)
    rows = _rows(chain, compared)
    found = experiment.findings(
        chain,
        [row for row in rows if not report.is_baseline(row)],
        [row for row in rows if report.is_baseline(row)],
        tasks={t.name: t.kind for t in chain.prepared.tasks},
        shown=report.shown_metrics(chain),
        tested=report.shown_metrics(chain, report.SHORT),
        significance=report.significance(chain, compared),
        comparisons=compared,
        sentence=report.sentence(chain, rows, compared),
        warnings=_warnings(chain, cautions, rows, compared),
    )
    report.write(chain, found)
    run.write_json("metrics.json", found)
    short = report.shown_metrics(chain, report.SHORT)
    table = stages_text(rows, metrics=short)
    run.write_text("stages.txt", table)
    say(f"\n{table}")
    for name, line in found["significance"].items():
        say(f"{name}, distilled against student alone: {line['text']}")
    chosen = choice_text(rows)
    if chosen:
        say(chosen)
    if found["sentence"]:
        say(f"\n{found['sentence']}")
    return found


def _rows(
    chain: RankingStages, compared: list[dict[str, Any]]
) -> list[dict[str, Any]]:
    """Rows of the stages that are done, with their shares of the teacher."""
    monitor = chain.learner.monitor
    found = with_ratios(
        chain.rows(),
        metric=monitor,
        p_value=report.p_value(compared, ("student", "teacher"), monitor),
        is_error=monitor in ERRORS,
        baselines=BASELINES,
    )
    latencies = chain.latencies()["rows"]
    return [{**row, **latencies.get(row["stage"], {})} for row in found]


def _warnings(
    chain: RankingStages,
    cautions: Cautions,
    rows: list[dict[str, Any]],
    compared: list[dict[str, Any]],
) -> list[str]:
    report.add_cautions(cautions, rows, chain)
    monitor = chain.learner.monitor
    distilled = report.p_value(compared, ("student", "distilled"), monitor)
    cautions.add(nothing_significant(monitor, distilled))
    cautions.add(chain.latencies()["warning"])
    return cautions.lines
