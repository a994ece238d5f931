"""A ranking experiment: the chain and the report of the task.

Example:
```python
results = run_experiment(RankingConfig(), "runs/first")
results["stages"][-1]["metrics"]
```
"""

from __future__ import annotations

from functools import partial

from kd_tfrs.workflow import experiment
from kd_tfrs.workflow.experiment import Task
from kd_tfrs.workflow.ranking.report import RankingReport
from kd_tfrs.workflow.ranking.stages import RankingStages

RANKING = Task(RankingStages, RankingReport)
run_experiment = partial(experiment.run_experiment, RANKING)
