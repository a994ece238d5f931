"""Paired tests between rankers over seeds, and over users of all seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import scipy.stats

from kd_tfrs.evaluation import paired_test
from kd_tfrs.evaluation.ranking.bootstrap import resampled
from kd_tfrs.evaluation.ranking.kinds import pooled_metrics, user_metrics
from kd_tfrs.evaluation.ranking.scored_rows import ScoredRows
from kd_tfrs.evaluation.ranking.statistics import Statistic
from kd_tfrs.workflow.retrieval.comparison_summary import Row, paired_row

_SEED = 0
_ENDS = (0.025, 0.975)
Arrays = Mapping[str, np.ndarray]


class UserDraws:
    """Draws the same users again and again, for every model and seed.

    A metric such as AUC is no mean over users, so that it is measured on
    users drawn with replacement; a model's value of a draw is its mean over
    the seeds.

    Args:
        test_rows: by seed, `label_<task>`, `weight` and `user` of the test
            examples.
        kinds: of the tasks, by name.
        num_resamples: draws; 0 for no tests over users.
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
        """A model's metric of each draw.

        Args:
            task: whose metric.
            metric: its name, such as "auc".
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
        """Tests b against a by their values of the draws.

        Args:
            a: see `values`; of the baseline.
            b: likewise of the challenger.
            difference: of b to a on the data as they are.

        Returns:
            Difference, 95 % interval (percentiles) and the p-value of a
            z-test with the standard error of the draws: a share of draws
            beyond 0 could not get small enough for Holm's correction.
        """
        gains = (b - a)[~np.isnan(b - a)]
        found = {"pairs": len(self._users), "difference": difference}
        if not len(gains):
            return {**found, "interval": [None, None], "t_p_value": None}
        error, p_value = float(gains.std(ddof=1)), 1.0
        if error:
            p_value = float(2 * scipy.stats.norm.sf(abs(difference) / error))
        elif difference:
            p_value = 0.0
        ends = [float(end) for end in np.quantile(gains, _ENDS)]
        return {**found, "interval": ends, "t_p_value": p_value}

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


def over_seeds(a: Sequence[float], b: Sequence[float]) -> dict[str, Any]:
    """The paired t-test of a metric over seeds.

    Args:
        a: the baseline's value of each seed.
        b: the challenger's, in the same order.

    Returns:
        Difference, interval and p-values.
    """
    return paired_row(paired_test(a, b, unit="seeds"))


def _statistic(metric: str, kind: str, rows: ScoredRows) -> Statistic:
    pooled = pooled_metrics(kind)
    if metric in pooled:
        return pooled[metric](rows)
    return user_metrics(kind, ())[metric](rows).statistic()
