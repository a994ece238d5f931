"""Paired tests of ranking models over users of all seeds."""

from __future__ import annotations

import functools
from collections.abc import Mapping

import numpy as np
import scipy.stats

from kd_tfrs.evaluation.ranking.bootstrap import resampled
from kd_tfrs.evaluation.ranking.protocol import pooled_metrics, user_metrics
from kd_tfrs.evaluation.ranking.scored_rows import ScoredRows
from kd_tfrs.evaluation.ranking.statistics import Statistic
from kd_tfrs.workflow.comparison.findings import Row, TestArrays, UserTest

_SEED = 0
_ENDS = (0.025, 0.975)
Arrays = Mapping[str, np.ndarray]


class UserDraws:
    """Draws users with replacement, the same ones for every model and seed.

    A metric such as AUC is not a mean over users, so it is measured on each
    draw. The value of a draw is the mean over the seeds.

    Args:
        test_rows: by seed, `label_<task>`, `weight` and `user` of the test
            examples.
        kinds: kinds of the tasks by name.
        num_resamples: number of draws; 0 for no tests over users.
    """

    def __init__(
        self,
        test_rows: Mapping[int, Arrays],
        kinds: Mapping[str, str],
        num_resamples: int,
    ) -> None:
        self._rows = test_rows
        self._kinds = kinds
        self._count = num_resamples
        grouped = all("user" in rows for rows in test_rows.values())
        self.is_possible = bool(num_resamples and test_rows and grouped)
        self._users = np.empty(0, np.int64)
        if self.is_possible:
            shown = [r["user"][r["weight"] > 0] for r in test_rows.values()]
            self._users = np.unique(np.concatenate(shown))

    def values(
        self, task: str, metric: str, logits: Mapping[int, np.ndarray]
    ) -> np.ndarray:
        """The metric of a model on each draw.

        Args:
            task: name of the task.
            metric: name of the metric, such as "auc".
            logits: `[test examples]` by seed.

        Returns:
            `[draws]`.
        """
        statistics = [
            _statistic(metric, self._kinds[task], self._scored(task, seed, z))
            for seed, z in logits.items()
        ]
        drawn = resampled(statistics, len(self._users), self._count, _SEED)
        return drawn.mean(axis=0)

    def test(self, a: np.ndarray, b: np.ndarray, difference: float) -> Row:
        r"""Tests b against a by their values on the draws.

        $$z = \frac{d}{\operatorname{sd}(b - a)}$$

        The standard error is that of the draws. A share of draws beyond 0
        could not become small enough for Holm's correction.

        Args:
            a: `[draws]`, values of the baseline.
            b: `[draws]`, values of the challenger.
            difference: $d$, of b to a on all users.

        Returns:
            "test", "pairs", "difference", the 95 % "interval" (percentiles)
            and the "p_value" of the z-test.
        """
        gains = (b - a)[~np.isnan(b - a)]
        row = {
            "test": "z",
            "pairs": len(self._users),
            "difference": difference,
        }
        if not len(gains):
            return {**row, "interval": [None, None], "p_value": None}
        error, p_value = float(gains.std(ddof=1)), 1.0
        if error:
            p_value = float(2 * scipy.stats.norm.sf(abs(difference) / error))
        elif difference:
            p_value = 0.0
        ends = [float(end) for end in np.quantile(gains, _ENDS)]
        return {**row, "interval": ends, "p_value": p_value}

    def _scored(self, task: str, seed: int, logits: np.ndarray) -> ScoredRows:
        rows = self._rows[seed]
        labels = np.float64(rows[f"label_{task}"])
        known = ~np.isnan(labels) & (rows["weight"] > 0)
        return ScoredRows(
            labels[known],
            np.float64(logits[known]),
            np.float64(rows["weight"][known]),
            np.searchsorted(self._users, rows["user"][known]),
            len(self._users),
        )


def paired_over_users(
    draws: UserDraws,
    tasks: Mapping[str, tuple[str, str]],
    logits: TestArrays,
) -> UserTest:
    """The paired z-test over users; see `UserDraws.test`.

    Args:
        draws: draws of users.
        tasks: task and plain name of each metric, by its name in a row.
        logits: by model and seed, `[test examples]` by task.

    Returns:
        The test.
    """

    @functools.cache
    def values(name: str, metric: str, seeds: tuple[int, ...]) -> np.ndarray:
        task, plain = tasks[metric]
        by_seed = {seed: logits[name][seed][task] for seed in seeds}
        return draws.values(task, plain, by_seed)

    def test(
        baseline: str,
        challenger: str,
        metric: str,
        seeds: tuple[int, ...],
        difference: float,
    ) -> Row | None:
        if not draws.is_possible:
            return None
        a, b = (values(name, metric, seeds) for name in (baseline, challenger))
        return draws.test(a, b, difference)

    return test


def _statistic(metric: str, kind: str, rows: ScoredRows) -> Statistic:
    pooled = pooled_metrics(kind)
    if metric in pooled:
        return pooled[metric](rows)
    return user_metrics(kind, ())[metric](rows).statistic()
