"""A retrieval experiment: the chain and the report of the task.

Example:
```python
results = run_experiment(Config(), "runs/first")
results["stages"][-1]["metrics"]
```
"""

from __future__ import annotations

from functools import partial

from kd_tfrs.workflow import experiment
from kd_tfrs.workflow.experiment import Task
from kd_tfrs.workflow.retrieval.report import RetrievalReport
from kd_tfrs.workflow.retrieval.stages import Stages

RETRIEVAL = Task(Stages, RetrievalReport)
run_experiment = partial(experiment.run_experiment, RETRIEVAL)
