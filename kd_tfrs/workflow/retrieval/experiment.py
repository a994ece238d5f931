"""A whole experiment: all stages, their table and plots, one seed or many."""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from kd_tfrs.errors import UserError
from kd_tfrs.evaluation import paired_test_over_seeds
from kd_tfrs.evaluation.retrieval import AlsScorer, PopularityScorer
from kd_tfrs.workflow.chain import Chain
from kd_tfrs.workflow.options import FlatConfig
from kd_tfrs.workflow.retrieval import measure, report
from kd_tfrs.workflow.retrieval.config import Config
from kd_tfrs.workflow.retrieval.stages import STAGES, Stages
from kd_tfrs.workflow.run import Run
from kd_tfrs.workflow.tracking import Tracker

_SHOWN = ("recall@10", "recall@50", "ndcg@10", "ndcg@20")
Say = Callable[[str], None]


def run_experiment(
    config: Config,
    run_dir: str | os.PathLike,
    *,
    wandb_project: str | None = None,
    stages: Sequence[str] = STAGES,
    say: Say = print,
) -> dict[str, Any]:
    """Runs every stage of one seed and writes what was found.

    Args:
        config: what to run.
        run_dir: where everything is kept; a run that was stopped goes on.
        wandb_project: log to this Weights & Biases project as well.
        stages: which stages to run; what they need runs too.
        say: prints a line for a person.

    Returns:
        What stands in `metrics.json`.

    Raises:
        UserError: a mistake in the options or the data.

    Example:
    ```python
    found = run_experiment(Config(), "runs/first")
    found["stages"][-1]["metrics"]["ndcg@20"]
    ```
    """
    run = Run(run_dir, config)
    # Closed whatever happens: a notebook may go on in the same process.
    with contextlib.closing(run):
        chain = Stages(run)
        say(chain.title)
        say(f"distillation: {chain.learner.method}")
        run_stages(chain, stages, wandb_project)
        return _report(chain, say)


def run_stages(
    chain: Chain, stages: Sequence[str], wandb_project: str | None
) -> None:
    """Does stages, and logs them where asked to.

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


def findings(
    chain: Chain,
    rows: list[dict[str, Any]],
    baselines: list[dict[str, Any]],
    **more: Any,
) -> dict[str, Any]:
    """What `metrics.json` holds of a run of any task.

    Args:
        chain: the run's.
        rows: of the stages that are done.
        baselines: rows of what stands beside them.
        **more: what else was found.

    Returns:
        The findings, by name.
    """
    run = chain.run
    return {
        "dataset": chain.config.data.dataset,
        "seed": chain.config.seed,
        "flags": chain.config.flat(),
        "environment": run.read_json("environment.json"),
        "data_fingerprint": run.read_json("data.json")["fingerprint"],
        "stages": rows,
        "baselines": baselines,
        **more,
    }


def _report(chain: Stages, say: Say) -> dict[str, Any]:
    """Writes down all that is in the folder, whoever asked for it."""
    baselines = _baselines(chain, chain.config)
    compared = report.comparisons(chain)
    rows = report.rows_with_ratios(chain, [*baselines, *chain.rows()], compared)
    found = findings(
        chain,
        rows[len(baselines) :],
        rows[: len(baselines)],
        method=chain.learner.method,
        tested=list(dict.fromkeys([chain.learner.monitor, *report.TESTED])),
        significance=report.significance(compared),
        comparisons=compared,
        sentence=report.sentence(chain, rows, compared),
        warnings=report.cautions_of(chain, rows, compared),
    )
    table = report.write(chain, found)
    chain.run.write_json("metrics.json", found)
    say(f"\n{table}")
    chosen = report.choice_text(rows)
    if chosen:
        say(chosen)
    for line in found["warnings"]:
        say(f"warning: {line}")
    if found["sentence"]:
        say(f"\n{found['sentence']}")
    return found


def run_seeds(
    config: FlatConfig,
    run_dir: str | os.PathLike,
    num_seeds: int,
    *,
    run_one: Callable[..., dict[str, Any]] | None = None,
    say: Say = print,
    **options: Any,
) -> dict[str, Any]:
    """Repeats an experiment with the seeds `seed .. seed + num_seeds - 1`.

    Args:
        config: of the first seed.
        run_dir: holds a run folder a seed, and the summary.
        num_seeds: at least 2.
        run_one: runs one seed; `run_experiment` when `None`.
        say: prints a line for a person.
        **options: more of `run_experiment`; a W&B run a seed.

    Returns:
        What stands in `summary.json`: mean and standard deviation of every
        metric of every stage, and paired tests over the seeds.
    """
    run_dir = Path(run_dir)
    found = []
    for seed in range(config.seed, config.seed + num_seeds):
        say(f"seed {seed}")
        found.append(
            (run_one or run_experiment)(
                dataclasses.replace(config, seed=seed),
                run_dir / f"seed-{seed}",
                say=say,
                **options,
            )
        )
    summary = summarise(found, found[0].get("tested", report.TESTED))
    text = summary_markdown(summary, found[0].get("shown", _SHOWN))
    with contextlib.closing(Run(run_dir / "summary", config)) as run:
        run.write_json("summary.json", summary)
        run.write_text("summary.md", text)
    say(text)
    return summary


def summarise(
    found: Sequence[dict[str, Any]], tested: Sequence[str] = report.TESTED
) -> dict[str, Any]:
    """Means, standard deviations and paired tests over seeds.

    Args:
        found: one `metrics.json` a seed, two or more.
        tested: metrics that are tested.

    Returns:
        See `run_seeds`.
    """
    stages = {}
    for rows in zip(
        *(f["baselines"] + f["stages"] for f in found), strict=True
    ):
        stages[rows[0]["stage"]] = {
            name: _mean_and_deviation([row["metrics"][name] for row in rows])
            for name in rows[0]["metrics"]
        }
    tests = {}
    for name in tested:
        values = {
            stage: [
                row["metrics"][name]
                for f in found
                for row in f["stages"]
                if row["stage"] == stage
            ]
            for stage in ("student", "distilled")
        }
        if all(values.values()):
            test = paired_test_over_seeds(
                values["student"], values["distilled"]
            )
            tests[name] = {**dataclasses.asdict(test), "text": str(test)}
    return {
        "dataset": found[0]["dataset"],
        "seeds": [f["seed"] for f in found],
        "flags": found[0]["flags"],
        "environment": found[0]["environment"],
        "stages": stages,
        "significance": tests,
        "sentences": {
            f["seed"]: f["sentence"] for f in found if f.get("sentence")
        },
    }


def summary_markdown(
    summary: dict[str, Any], names: Sequence[str] = _SHOWN
) -> str:
    """The summary as a Markdown table.

    Args:
        summary: see `summarise`.
        names: metrics to show.

    Returns:
        Text with a line break at the end.
    """
    lines = [
        f"# {summary['dataset']}, seeds "
        f"{', '.join(map(str, summary['seeds']))}",
        "",
        f"Commit {summary['environment']['commit']}, "
        f"{summary['environment']['processor']}. Test metrics, mean (standard "
        "deviation).",
        "",
        "| stage | " + " | ".join(names) + " |",
        "| :-- |" + " --: |" * len(names),
    ]
    for stage, metrics in summary["stages"].items():
        cells = [_mean_cell(metrics[n]) for n in names]
        lines.append(f"| {stage} | " + " | ".join(cells) + " |")
    lines.append("")
    for name, test in summary["significance"].items():
        lines.append(
            f"* {name}, distilled against student alone: {test['text']}"
        )
    for seed, sentence in summary["sentences"].items():
        lines.append(f"* seed {seed}: {sentence}")
    return "\n".join(lines) + "\n"


def _mean_cell(found: dict[str, float | None]) -> str:
    if found["mean"] is None:
        return "-"
    return f"{found['mean']:.4f} ({found['deviation']:.4f})"


def _mean_and_deviation(values: list[float | None]) -> dict[str, Any]:
    if any(value is None for value in values):
        return {"mean": None, "deviation": None}
    return {
        "mean": float(np.mean(values)),
        "deviation": float(np.std(values, ddof=1)) if len(values) > 1 else 0.0,
    }


def _baselines(chain: Stages, config: Config) -> list[dict[str, Any]]:
    if not config.evaluation.baselines:
        return []
    kept = chain.run.read_json("stages/baselines.json")
    if kept is not None:
        return kept
    prepared = chain.prepared
    items, train = prepared.catalogue.item_ids, prepared.split.train
    columns = {
        "user_col": prepared.catalogue.user_column,
        "item_col": prepared.catalogue.item_column,
    }
    scorers = {
        "popularity": PopularityScorer(
            train, items, item_col=columns["item_col"]
        ),
        "als": AlsScorer(train, items, seed=config.seed, **columns),
    }
    rows = []
    for name, scorer in scorers.items():
        metrics, _ = measure.quality(scorer, prepared)
        rows.append({"stage": name, "metrics": metrics})
    chain.run.write_json("stages/baselines.json", rows)
    return rows


def check_stages(
    names: Sequence[str], known: Sequence[str] = STAGES
) -> tuple[str, ...]:
    """Checks stage names.

    Args:
        names: which stages to run, in any order.
        known: all there are, in the order of the chain.

    Returns:
        The same in the order of the chain.

    Raises:
        UserError: a name is unknown, or there is none.
    """
    unknown = sorted(set(names) - set(known))
    if unknown or not names:
        raise UserError(
            f"`--stages` should name some of {', '.join(known)}. Received: "
            f"{', '.join(unknown) or 'none'}."
        )
    return tuple(stage for stage in known if stage in names)
