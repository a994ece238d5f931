"""What a comparison of rankers found: means, tests, verdicts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from kd_tfrs.workflow.ranking.comparison_tests import UserDraws, over_seeds
from kd_tfrs.workflow.ranking.comparison_training import LIGHTGBM, ROWS
from kd_tfrs.workflow.retrieval.comparison_summary import (
    TEACHER,
    Row,
    correct,
    gain_kept,
    means,
    rank,
    verdict,
    with_changes,
)
from kd_tfrs.workflow.retrieval.contenders import ALONE
from kd_tfrs.workflow.run import read_json
from kd_tfrs.workflow.training import ERRORS

# Metrics of each kind of task that are told and tested.
TESTED = {"binary": ("auc", "gauc", "log_loss"), "rating": ("rmse", "mae")}
COMPRESSED = (" pruned", " int8")
Logits = dict[str, dict[int, dict[str, np.ndarray]]]


class Findings:
    """The tested rows of a comparison, read from its folder.

    Args:
        directory: the run folder.
        flat: the comparison's own options by flag name.
        kinds: of the tasks by name, the first one first.
        members: names of the networks that teach.
        num_resamples: draws of users for tests; 0 for none.
    """

    def __init__(
        self,
        directory: Path,
        flat: Mapping[str, Any],
        kinds: Mapping[str, str],
        members: Sequence[str],
        num_resamples: int,
    ) -> None:
        self.kinds = dict(kinds)
        self.members = tuple(members)
        without_teacher = (TEACHER, ALONE, LIGHTGBM, *members)
        self.rows: dict[str, list[Row]] = {}
        self.logits: Logits = {}
        for path in (directory / "results").glob("*/seed-*.json"):
            row = with_changes(read_json(path), flat, without_teacher)
            self.rows.setdefault(row["method"], []).append(row)
            with np.load(path.with_suffix(".npz")) as arrays:
                mine = self.logits.setdefault(row["method"], {})
                mine[row["seed"]] = dict(arrays)
        for found in self.rows.values():
            found.sort(key=lambda row: row["seed"])
        self._draws = UserDraws(
            _test_rows(directory), self.kinds, num_resamples
        )
        self._drawn: dict[tuple, np.ndarray] = {}

    @property
    def tested(self) -> dict[str, tuple[str, str]]:
        """Task and plain name of each metric, by its name in a row."""
        found = {}
        first = next(iter(self.kinds))
        measured = self.rows[ALONE][0]["metrics"]
        for task, kind in self.kinds.items():
            for metric in TESTED[kind]:
                name = metric if task == first else f"{task}/{metric}"
                if measured.get(name) is not None:
                    found[name] = task, metric
        return found

    def summarise(self) -> dict[str, Any]:
        """Means, tests against the student alone, verdicts and costs.

        p-values of the methods are Holm's over the methods, for each metric
        and kind of test by itself. What is not distilled, and what was made
        of the best student, is tested by itself.

        Returns:
            "teacher", "student", "members", "baselines", "methods" (the best
            one first) and "compressed", see
            the `summarise` of retrieval; and "beside", tests of other pairs.
        """
        methods, compressed = [], []
        for name in self.rows:
            if name not in (TEACHER, ALONE, LIGHTGBM, *self.members):
                small = name.endswith(COMPRESSED)
                (compressed if small else methods).append(self._tested(name))
        others = {n: self._optional(n) for n in (TEACHER, ALONE)}
        references = [self._tested(n) for n in self.members if n in self.rows]
        trees = [self._tested(LIGHTGBM)] if LIGHTGBM in self.rows else []
        if others[TEACHER]:
            others[TEACHER] = self._tested(TEACHER)
        self._judge(methods)
        alone = [others[TEACHER], *references, *trees, *compressed]
        for one in filter(None, alone):
            self._judge([one])
        _no_lead_no_share(others[TEACHER], [*methods, *filter(None, alone)])
        first = next(iter(self.tested))
        sign = sign_of(first)
        methods.sort(key=lambda m: -sign * m["metrics"][first]["mean"])
        compressed.sort(key=lambda one: one["method"].endswith(COMPRESSED[1]))
        return {
            **others,
            "members": references,
            "baselines": trees,
            "methods": methods,
            "compressed": compressed,
            "beside": self._beside(compressed),
        }

    def _optional(self, name: str) -> Row | None:
        if name not in self.rows:
            return None
        return {"method": name, **self._means(name)}

    def _means(self, name: str) -> Row:
        row = means(self.rows[name])
        for key in ("parameters", "nonzero_parameters", "size_bytes"):
            values = [r[key] for r in self.rows[name] if r.get(key) is not None]
            if values:
                row[key] = float(np.mean(values))
        return row

    def _tested(self, name: str) -> Row:
        """Means, and the tests against the student alone."""
        return {
            "method": name,
            **self._means(name),
            "tests": {m: self.tests(ALONE, name, m) for m in self.tested},
            "gain_kept": {
                m: gain_kept(self.rows, name, m, sign_of(m))
                for m in self.tested
            },
        }

    def _judge(self, family: Sequence[Row]) -> None:
        correct(family, list(self.tested))
        rank(family)
        for one in family:
            one["verdict"] = {
                m: verdict(one["tests"][m], sign_of(m)) for m in self.tested
            }

    def _beside(self, compressed: Sequence[Row]) -> list[dict[str, Any]]:
        """Pairs that are no method against the student alone."""
        names = [one["method"] for one in compressed]
        pairs = [(LIGHTGBM, TEACHER), (LIGHTGBM, ALONE)]
        for name in names:
            whole = name.rpartition(" ")[0]
            pairs.append((whole, name))
        return [
            {
                "baseline": a,
                "challenger": b,
                "tests": {m: self.tests(a, b, m) for m in self.tested},
            }
            for a, b in pairs
            if a in self.rows and b in self.rows
        ]

    def tests(self, one: str, other: str, metric: str) -> dict[str, Any]:
        """The paired tests of two models, not corrected.

        Args:
            one: the baseline.
            other: the challenger.
            metric: as in a row.

        Returns:
            By unit, "seeds" and "users", as far as there are.
        """
        values = [
            {row["seed"]: row["metrics"][metric] for row in self.rows[name]}
            for name in (one, other)
        ]
        seeds = tuple(sorted(values[0].keys() & values[1].keys()))
        a, b = ([v[seed] for seed in seeds] for v in values)
        if not seeds or None in a or None in b:
            return {}
        found = {}
        if self._draws.is_possible:
            drawn = [self._drawn_values(n, metric, seeds) for n in (one, other)]
            difference = float(np.mean(b) - np.mean(a))
            found["users"] = self._draws.test(*drawn, difference)
        if len(seeds) > 1:
            found["seeds"] = over_seeds(a, b)
        return found

    def _drawn_values(
        self, name: str, metric: str, seeds: tuple[int, ...]
    ) -> np.ndarray:
        key = (name, metric, seeds)
        if key not in self._drawn:
            task, plain = self.tested[metric]
            logits = {seed: self.logits[name][seed][task] for seed in seeds}
            self._drawn[key] = self._draws.values(task, plain, logits)
        return self._drawn[key]


def sign_of(metric: str) -> float:
    """-1 of a metric of which less is better, else 1.

    Args:
        metric: as in a row, such as "rating/rmse".

    Returns:
        The sign.

    Example:
    >>> sign_of("rating/rmse"), sign_of("auc")
    (-1.0, 1.0)
    """
    return -1.0 if metric.rpartition("/")[2] in ERRORS else 1.0


def _test_rows(directory: Path) -> dict[int, dict[str, np.ndarray]]:
    found = {}
    for path in (directory / "results" / ROWS).glob("seed-*.npz"):
        with np.load(path) as arrays:
            found[int(path.stem.partition("-")[2])] = dict(arrays)
    return found


def _no_lead_no_share(teacher: Row | None, rows: Sequence[Row]) -> None:
    """Takes shares of a lead away that may be none: they mean nothing."""
    verdict = teacher["verdict"] if teacher else {}
    for row in rows:
        for metric in row["gain_kept"]:
            if verdict.get(metric) not in ("gain", "unclear"):
                row["gain_kept"][metric] = None
