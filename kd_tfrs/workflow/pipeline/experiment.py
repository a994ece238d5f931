"""An end-to-end measurement of two runs, which it may train itself."""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from kd_tfrs.data.synthetic.interactions import generate
from kd_tfrs.errors import UserError
from kd_tfrs.files import replacing
from kd_tfrs.workflow.pipeline import report
from kd_tfrs.workflow.pipeline.checks import check_given, check_split
from kd_tfrs.workflow.pipeline.config import PipelineConfig
from kd_tfrs.workflow.pipeline.latency import measure_calls
from kd_tfrs.workflow.pipeline.sides import RankingSide, RetrievalSide
from kd_tfrs.workflow.pipeline.stages import PAIRS, PipelineStages
from kd_tfrs.workflow.ranking import experiment as ranking_experiment
from kd_tfrs.workflow.ranking.config import RankingConfig
from kd_tfrs.workflow.report import of_run
from kd_tfrs.workflow.retrieval import experiment
from kd_tfrs.workflow.retrieval.config import Config
from kd_tfrs.workflow.run import Run

Say = Callable[[str], None]


def run_pipeline(
    config: PipelineConfig,
    run_dir: str | os.PathLike,
    *,
    say: Say = print,
) -> dict[str, Any]:
    """Puts two finished runs together and measures what comes out.

    Raises:
        UserError: the runs are not of the same data and split, or not done.

    Example:
    ```python
    options = PipelineOptions("runs/films", "runs/ranking-films")
    run_pipeline(PipelineConfig(pipeline=options), "runs/both")
    ```
    """
    options = config.pipeline
    check_given(options)
    with contextlib.ExitStack() as stack:
        retrieval = RetrievalSide(options.retrieval_run)
        stack.callback(retrieval.close)
        ranking = RankingSide(options.ranking_run)
        stack.callback(ranking.close)
        run = stack.enter_context(contextlib.closing(Run(run_dir, config)))
        chain = PipelineStages(run, retrieval, ranking)
        _check_done(chain)
        say(chain.title)
        for name in chain.names:
            row = chain.result(name)
            say(f"  {row['title']}: ndcg@10 {row['metrics']['ndcg@10']:.4f}")
        return _report(chain, say)


def train_and_run(
    config: PipelineConfig,
    retrieval: Config,
    ranking: RankingConfig,
    run_dir: str | os.PathLike,
    *,
    say: Say = print,
) -> dict[str, Any]:
    """Trains both runs below a folder, then measures them together.

    Both are split by time. The synthetic data set is written as files first,
    since each task invents other events under that name.

    Args:
        config: of the measurement, which names no runs.
        retrieval: of the retrieval run.
        ranking: of the ranking run.
        run_dir: also holds `retrieval` and `ranking`; what is done is not
            done again.
        say: prints a line for a person.

    Returns:
        See `run_pipeline`.

    Raises:
        UserError: see `run_pipeline`; or a mistake in the options.
    """
    folder = Path(run_dir)
    retrieval, ranking = (_own_data(c, folder) for c in (retrieval, ranking))
    say("retrieval")
    experiment.run_experiment(retrieval, folder / "retrieval", say=say)
    say("ranking")
    ranking_experiment.run_experiment(ranking, folder / "ranking", say=say)
    chosen = dataclasses.replace(
        config.pipeline,
        retrieval_run=str(folder / "retrieval"),
        ranking_run=str(folder / "ranking"),
    )
    config = dataclasses.replace(config, pipeline=chosen)
    return run_pipeline(config, folder, say=say)


def _own_data(config: Any, folder: Path) -> Any:
    data = config.data
    check_split(config)
    dataset = data.dataset
    if dataset == "synthetic":
        dataset = str(_write_synthetic(folder / "data", data.num_events))
        data = dataclasses.replace(data, num_events=type(data)().num_events)
    data = dataclasses.replace(data, dataset=dataset, split="time")
    return dataclasses.replace(config, data=data)


def _write_synthetic(folder: Path, num_events: int) -> Path:
    done = folder / "events.csv"
    if not done.exists():
        folder.mkdir(parents=True, exist_ok=True)
        names = ("events", "users", "items")
        tables = dict(zip(names, generate(num_events), strict=True))
        # The events last: a folder with events is complete.
        for name in ("users", "items", "events"):
            with replacing(folder / f"{name}.csv") as partial:
                tables[name].to_csv(partial, index=False)
    return folder


def _check_done(chain: PipelineStages) -> None:
    if not any(PAIRS[name].ranking for name in chain.names):
        raise UserError(
            "The two runs should have done the stages teacher or pruned "
            "both. Received: no retriever and ranker that go together in "
            f"{chain.retrieval.run.directory} and "
            f"{chain.ranking.run.directory}. Finish them by "
            "experiments/distill.py."
        )


def _report(chain: PipelineStages, say: Say) -> dict[str, Any]:
    run = chain.run
    latency = run.read_json("latency.json")
    if latency is None:
        latency = measure_calls(chain)
        run.write_json("latency.json", latency)
    left_out = [name for name in PAIRS if not chain.is_done(name)]
    if left_out:
        say(f"left out, since stages are not done: {', '.join(left_out)}")
    found = {
        "dataset": chain.retrieval.run.config.data.dataset,
        "title": chain.title,
        **of_run(run),
        "retrieval_flags": chain.retrieval.run.config.flat(),
        "ranking_flags": chain.ranking.run.config.flat(),
        "stages": chain.rows(),
        "comparisons": report.comparisons(chain),
        "weighing": chain.weighings(),
        "parity": report.parity(chain),
        "latency": latency,
    }
    run.write_json("pipeline.json", found)
    text = report.markdown(found)
    run.write_text("pipeline.md", text)
    report.plot(found["stages"], run.path("pipeline.png"))
    say(f"\n{text}")
    return found
