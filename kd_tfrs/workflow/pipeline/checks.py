"""Mistakes of an end-to-end measurement that its flags alone show."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from kd_tfrs.errors import UserError
from kd_tfrs.workflow.options import FlatConfig
from kd_tfrs.workflow.pipeline.config import PipelineOptions
from kd_tfrs.workflow.ranking import checks as ranking_checks
from kd_tfrs.workflow.ranking.config import RankingConfig
from kd_tfrs.workflow.retrieval import checks as retrieval_checks
from kd_tfrs.workflow.retrieval.config import Config
from kd_tfrs.workflow.run import read_json


def check_runs(options: PipelineOptions) -> None:
    """Checks that two folders are runs of the two tasks.

    Raises:
        UserError: a folder is missing, or of the other task.
    """
    check_given(options)
    for kind, flag in (
        (Config, "retrieval_run"),
        (RankingConfig, "ranking_run"),
    ):
        folder = Path(getattr(options, flag))
        kind.from_flat(run_flags(folder, f"--{flag}", kind.task))


def check_training(retrieval: Config, ranking: RankingConfig) -> None:
    """Checks two runs that are to be trained.

    Raises:
        UserError: a mistake in the options or in where the data are.
    """
    for config in (retrieval, ranking):
        check_split(config)
    retrieval_checks.check_config(retrieval)
    if ranking.data.dataset == "synthetic":
        # Both are on the invented events of retrieval.
        ranking_checks.check_options(ranking, ranking.data.tasks or None)
    else:
        ranking_checks.check_config(ranking)


def check_given(options: PipelineOptions) -> None:
    """Refuses one run without the other.

    Raises:
        UserError: one of them is missing.
    """
    runs = options.retrieval_run, options.ranking_run
    if None in runs:
        raise UserError(
            "`--retrieval_run` and `--ranking_run` should be given together. "
            f"Received: {' and '.join(map(str, runs))}. Give both, or neither "
            "to train them."
        )


def check_split(config: FlatConfig) -> None:
    """Refuses a split under which a run would learn from later events.

    Raises:
        UserError: the split is not by time.
    """
    if config.data.split not in ("auto", "time"):
        raise UserError(
            "`--split` should be time, so that neither run learns from what "
            f"comes later. Received: --split={config.data.split}. Leave it out."
        )


def run_flags(directory: Path, flag: str, task: str) -> dict[str, Any]:
    """Reads the flags of a run folder.

    Raises:
        UserError: it is no run of this task.
    """
    path = directory / "flags.json"
    if not path.is_file():
        raise UserError(
            f"`{flag}` should be a run folder of experiments/distill.py. "
            f"Received: {directory}, which has no flags.json. Give the folder "
            "of one seed."
        )
    flat = read_json(path)
    found = flat.get("task", "retrieval")
    if found != task:
        raise UserError(
            f"`{flag}` should be a run with --task={task}. Received: "
            f"{directory} with --task={found}. Give another folder."
        )
    return flat
