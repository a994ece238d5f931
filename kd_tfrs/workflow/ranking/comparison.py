"""Methods of distillation between rankers, with one budget of trials.

The same as the comparison of retrieval models for rankers: teachers are the
ensemble and each of its networks, LightGBM stands beside them, and the student
that validation likes best can be pruned and made an int8 file.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from kd_tfrs.workflow.ranking import comparison_report
from kd_tfrs.workflow.ranking.comparison_summary import Findings
from kd_tfrs.workflow.ranking.comparison_training import RankingTrainings
from kd_tfrs.workflow.ranking.config import RankingConfig
from kd_tfrs.workflow.ranking.contenders import (
    fitting_contenders,
    named_contenders,
)
from kd_tfrs.workflow.ranking.learner import monitored
from kd_tfrs.workflow.ranking.prepare import RankingPrepared, prepare
from kd_tfrs.workflow.ranking.shared_teachers import RankingTeachers
from kd_tfrs.workflow.retrieval.comparison import Comparison, Plan, Say
from kd_tfrs.workflow.retrieval.contenders import ALONE, Contender
from kd_tfrs.workflow.run import Run
from kd_tfrs.workflow.training import ERRORS

# Splits that are drawn, so that each seed has its own.
_DRAWN = ("random", "u1", "u2", "u3", "u4", "u5", "ratio", "leave_one_out")


def compare(
    config: RankingConfig,
    run_dir: str | os.PathLike,
    plan: Plan,
    *,
    say: Say = print,
) -> dict[str, Any]:
    """Runs a comparison, or goes on with one that was stopped.

    Args:
        config: options of everybody; its seed is the first one.
        run_dir: where everything is kept.
        plan: who takes part, and the budget; "all" is every method that fits
            the tasks.
        say: prints a line for a person.

    Returns:
        What stands in `comparison.json`.

    Raises:
        UserError: a mistake in the options or the data; or a method that
            failed, when all the others are done.

    Example:
    ```python
    plan = Plan(["binary_soft_targets"], trials=4, seeds=5)
    compare(RankingConfig(), "runs/mine", plan)["test"]["methods"]
    ```
    """
    taking_part = named_contenders(plan.methods, config)
    with contextlib.closing(Run(run_dir, config)) as run:
        return RankingComparison(run, plan, taking_part, say).run_all()


class RankingComparison(Comparison):
    """A comparison of rankers in its run folder; see `Comparison`."""

    teachers_type: ClassVar[type] = RankingTeachers
    trainings_type: ClassVar[type] = RankingTrainings

    def prepared(self, seed: int) -> RankingPrepared:
        """Data as split for a seed; synthetic ones are those of the first."""
        config = self.config
        if self._prepared is None:
            fresh = prepare(config.data, config.evaluation, seed)
            self.run.check_data(fresh.fingerprint())
            self._prepared = seed, fresh
        elif self._prepared[0] != seed and self._draws_split:
            fresh = prepare(config.data, config.evaluation, seed)
            self._prepared = seed, fresh
        return self._prepared[1]

    @property
    def _draws_split(self) -> bool:
        """Whether another seed splits the same data otherwise."""
        data, split = self.config.data, self._prepared[1].split
        if data.dataset == "synthetic" or split.interactions is None:
            return False
        timed = split.interactions.schema.time is not None
        return data.split in _DRAWN or (data.split == "auto" and not timed)

    @cached_property
    def monitor(self) -> str:
        """See `Comparison.monitor`."""
        return monitored(
            self.config.evaluation.monitor, self.prepared(self.config.seed)
        )

    def fitting(self, prepared: RankingPrepared) -> list[Contender]:
        """See `Comparison.fitting`."""
        self._kinds = {task.name: task.kind for task in prepared.tasks}
        self.monitor  # noqa: B018 - a mistake shows before anything trains
        return fitting_contenders(self.plan.methods, self.config, prepared)

    def finish(self) -> None:
        """Compresses the distilled student that validation likes best."""
        one = self._best() if self.plan.compress else None
        if one is None:
            return
        first = self.config.seed
        for seed in range(first, first + self.plan.seeds):
            with self._guarded(one):
                self.trainings.compress(
                    one, self.chosen(one), seed, self.prepared(seed)
                )
                self.say(f"seed {seed}: {one.name} pruned, and as int8")

    def _best(self) -> Contender | None:
        """By the mean over the seeds, of validation examples alone."""
        sign = -1.0 if self.monitor in ERRORS else 1.0
        rows = self._findings(0).rows
        values = {
            one.name: sign
            * np.mean([r["validation"][self.monitor] for r in rows[one.name]])
            for one in self.contenders
            if one.name != ALONE and one.name in rows
        }
        if not values:
            return None
        best = max(values, key=values.get)
        return next(one for one in self.contenders if one.name == best)

    def report(self, *, final: bool = False) -> dict[str, Any]:
        """See `Comparison.report`."""
        draws = self.config.evaluation.bootstrap if final else 0
        return comparison_report.write(
            self.run,
            self._findings(draws),
            self.plan.seeds,
            self.trials,
            self.monitor,
        )

    def markdown(self, found: Mapping[str, Any]) -> str:
        """See `Comparison.markdown`."""
        return comparison_report.markdown(found)

    def _findings(self, draws: int) -> Findings:
        return Findings(
            self.run.directory,
            self.config.flat(),
            self._kinds,
            self.teachers.networks,
            draws,
        )
