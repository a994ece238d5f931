"""A ranking experiment: the chain and the report of the task."""

from __future__ import annotations

import os
from typing import Any

from kd_tfrs.workflow import experiment
from kd_tfrs.workflow.experiment import Task
from kd_tfrs.workflow.ranking.config import RankingConfig
from kd_tfrs.workflow.ranking.report import RankingReport
from kd_tfrs.workflow.ranking.stages import RankingStages

RANKING = Task(RankingStages, RankingReport)


def run_experiment(
    config: RankingConfig, run_dir: str | os.PathLike, **options: Any
) -> dict[str, Any]:
    """Runs every stage of one seed and writes the report.

    Args:
        config: what to run.
        run_dir: where everything is kept; a run that was stopped goes on.
        **options: see `kd_tfrs.workflow.experiment.run_experiment`.

    Returns:
        What stands in `metrics.json`.

    Raises:
        UserError: a mistake in the options or the data.

    Example:
    ```python
    results = run_experiment(RankingConfig(), "runs/first")
    results["stages"][-1]["metrics"]["auc"]
    ```
    """
    return experiment.run_experiment(RANKING, config, run_dir, **options)
