"""The findings of a comparison: means, paired tests and verdicts."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from kd_tfrs.evaluation import PairedTest, holm, lead_kept, paired_test
from kd_tfrs.evaluation.tables import mean_and_deviation
from kd_tfrs.workflow.comparison.contenders import ALONE, TEACHER
from kd_tfrs.workflow.run import read_json

LEVEL = 0.05
UNITS = ("seeds", "users")
_LOSSES = "distillation_losses"
# Fields of a trial's record that only a search needs.
_INNER = ("number", "state", "values")
_SIZES = ("parameters", "nonzero_parameters", "size_bytes")
Row = dict[str, Any]
Rows = Mapping[str, Sequence[Row]]
# By model and seed: arrays by name.
TestArrays = dict[str, dict[int, dict[str, np.ndarray]]]
# Of baseline, challenger, metric, common seeds, and the difference of the
# means: a row such as `paired_row`, or `None` if there are no users.
UserTest = Callable[[str, str, str, tuple[int, ...], float], Row | None]


@dataclasses.dataclass(frozen=True)
class Roles:
    """The compared models that are neither a method nor the student alone.

    Args:
        members: names of the networks of an ensemble teacher.
        baselines: names of models that do not distil.
        compressed: endings of the names of compressed students.
    """

    members: Sequence[str] = ()
    baselines: Sequence[str] = ()
    compressed: tuple[str, ...] = ()

    @property
    def references(self) -> tuple[str, ...]:
        """The models that learn from no teacher, but the student alone."""
        return (TEACHER, *self.members, *self.baselines)


def read_results(
    directory: Path, flat: Mapping[str, Any], roles: Roles
) -> tuple[dict[str, list[Row]], TestArrays]:
    """Reads the test results of a run folder.

    Args:
        directory: the run folder.
        flat: options of the comparison by flag name.
        roles: models that are no methods.

    Returns:
        Rows by model in the order of seeds, with "changed_flags" instead of
        "flags"; and the arrays beside them.
    """
    rows: dict[str, list[Row]] = {}
    arrays: TestArrays = {}
    for path in sorted((directory / "results").glob("*/seed-*.json")):
        row = with_changes(read_json(path), flat, roles)
        rows.setdefault(row["method"], []).append(row)
        with np.load(path.with_suffix(".npz")) as file:
            arrays.setdefault(row["method"], {})[row["seed"]] = dict(file)
    for of_model in rows.values():
        of_model.sort(key=lambda row: row["seed"])
    return rows, arrays


def screening(
    directory: Path, flat: Mapping[str, Any], roles: Roles
) -> list[Row]:
    """The best trial of each contender, by validation metrics alone."""
    rows = []
    for folder in sorted((directory / "trials").glob("*")):
        records = [read_json(path) for path in sorted(folder.glob("t*.json"))]
        done = [r for r in records if r["state"] == "complete"]
        if not done:
            continue
        best = max(done, key=lambda record: record["value"])
        row = {
            "method": folder.name.replace("=", ":"),
            "trials": len(records),
            "pruned": len(records) - len(done),
            "best_trial": best["number"],
            **{k: v for k, v in best.items() if k not in _INNER},
        }
        rows.append(with_changes(row, flat, roles))
    return sorted(rows, key=lambda row: -row["value"])


def flag_text(value: Any) -> str:
    """A value as its flag is written.

    Example:
    >>> flag_text(["rrd:1", "de:0.5"])
    'rrd:1,de:0.5'
    """
    if isinstance(value, (list, tuple)):
        return ",".join(map(str, value))
    return "" if value is None else str(value)


def with_changes(row: Row, flat: Mapping[str, Any], roles: Roles) -> Row:
    """Replaces all flags of a row by those that differ from the comparison.

    The losses of a method are always listed. Flags of distillation are left
    out for models that learn from no teacher.
    """
    flags = row.pop("flags")
    is_distilled = row["method"] not in (ALONE, *roles.references)
    changed = {
        name: value
        for name, value in flags.items()
        if (is_distilled or not name.startswith("distill"))
        and name != "seed"
        and (value != flat.get(name) or (is_distilled and name == _LOSSES))
    }
    return {**row, "changed_flags": changed}


def means(rows: Sequence[Row]) -> Row:
    """Means and standard deviations over seeds."""
    names = dict.fromkeys(n for row in rows for n in row["metrics"])
    sizes = {}
    for key in _SIZES:
        values = [row[key] for row in rows if row.get(key) is not None]
        if values:
            sizes[key] = float(np.mean(values))
    return {
        "seeds": [row["seed"] for row in rows],
        "metrics": {
            n: mean_and_deviation([r["metrics"].get(n) for r in rows])
            for n in names
        },
        "train_seconds": mean_and_deviation([r["train_seconds"] for r in rows])[
            "mean"
        ],
        "epochs": mean_and_deviation([r["epochs"] for r in rows])["mean"],
        **sizes,
        "rows": list(rows),
    }


def paired_row(test: PairedTest) -> Row:
    """A paired t-test as JSON.

    Args:
        test: the test.

    Returns:
        "test", "pairs", "difference", "interval", "p_value" and
        "wilcoxon_p_value".
    """
    return {
        "test": "t",
        "pairs": test.num_pairs,
        "difference": test.difference,
        "interval": list(test.interval),
        "p_value": test.t_p_value,
        "wilcoxon_p_value": test.wilcoxon_p_value,
    }


class Findings:
    """Compares all tested models with the student alone.

    Two models are compared on the seeds that both have.

    Args:
        rows: see `read_results`; the student alone is one of the models.
        metrics: tested metrics, each with whether less is better.
        roles: models that are no methods.
        test_users: paired test over users.

    Example:
    ```python
    Findings(rows, {"ndcg@20": False}, Roles(), test_users).summarise()
    ```
    """

    def __init__(
        self,
        rows: Rows,
        metrics: Mapping[str, bool],
        roles: Roles,
        test_users: UserTest,
    ) -> None:
        self.rows = rows
        self.metrics = metrics
        self.roles = roles
        self._test_users = test_users
        self._lead_p_values = {m: self._lead_p_value(m) for m in metrics}

    def summarise(self) -> dict[str, Any]:
        """Means, tests against the student alone, verdicts and costs.

        The p-values of the methods have Holm's correction over the methods,
        for each metric and unit separately. All other models are tested
        without a correction.

        Returns:
            "teacher", "student", "members", "baselines", "methods" (the best
            one first), "compressed", and "other_tests" of further pairs. Each
            model has "metrics" (mean and deviation), "train_seconds",
            "epochs" and "rows", and apart from the student "tests",
            "gain_kept" and "verdict"; the teacher "has_lead", and a method
            "cost_rank".
        """
        models = {n: self._tested(n) for n in self.rows if n != ALONE}
        endings = self.roles.compressed
        compressed = [
            model
            for ending in endings
            for name, model in models.items()
            if name.endswith(ending)
        ]
        methods = [
            model
            for name, model in models.items()
            if name not in self.roles.references and not name.endswith(endings)
        ]
        others = [m for m in models.values() if m not in methods]
        for group in (methods, *([m] for m in others)):
            _correct(group)
        for model in models.values():
            model["verdict"] = {
                metric: verdict(model["tests"][metric], is_error)
                for metric, is_error in self.metrics.items()
            }
        if TEACHER in models:
            models[TEACHER]["has_lead"] = {
                m: None if p is None else self.gain_kept(TEACHER, m) is not None
                for m, p in self._lead_p_values.items()
            }
        by_cost = sorted(methods, key=lambda method: method["train_seconds"])
        for place, method in enumerate(by_cost, 1):
            method["cost_rank"] = place
        first, is_error = next(iter(self.metrics.items()))
        return {
            TEACHER: models.get(TEACHER),
            ALONE: {"method": ALONE, **means(self.rows[ALONE])},
            "members": [models[n] for n in self.roles.members if n in models],
            "baselines": [
                models[n] for n in self.roles.baselines if n in models
            ],
            "methods": sorted(
                methods,
                key=lambda method: method["metrics"][first]["mean"],
                reverse=not is_error,
            ),
            "compressed": compressed,
            "other_tests": self._other_tests(compressed),
        }

    def tests(
        self, baseline: str, challenger: str, metric: str
    ) -> dict[str, Row]:
        """The paired tests of two models, without a correction."""
        seeds, (a, b) = self._values(metric, baseline, challenger)
        if not seeds:
            return {}
        tests = {}
        users = self._test_users(
            baseline, challenger, metric, seeds, float(np.mean(b) - np.mean(a))
        )
        if users is not None:
            tests["users"] = users
        if len(seeds) > 1:
            tests["seeds"] = paired_row(paired_test(a, b, unit="seeds"))
        return tests

    def gain_kept(self, name: str, metric: str) -> float | None:
        """The share of the teacher's lead over the student alone."""
        _, values = self._values(metric, name, ALONE, TEACHER)
        return lead_kept(
            *(float(np.mean(v)) if v else None for v in values),
            self._lead_p_values[metric],
            is_error=self.metrics[metric],
            level=LEVEL,
        )

    def _lead_p_value(self, metric: str) -> float | None:
        """Of the teacher against the student alone, over users if possible."""
        if TEACHER not in self.rows:
            return None
        tests = self.tests(ALONE, TEACHER, metric)
        return (tests.get("users") or tests.get("seeds") or {}).get("p_value")

    def _tested(self, name: str) -> Row:
        return {
            "method": name,
            **means(self.rows[name]),
            "tests": {m: self.tests(ALONE, name, m) for m in self.metrics},
            "gain_kept": {m: self.gain_kept(name, m) for m in self.metrics},
        }

    def _values(
        self, metric: str, *names: str
    ) -> tuple[tuple[int, ...], list[list[float]]]:
        """Values of models on common seeds; none if one of them is missing."""
        by_seed = [
            {row["seed"]: row["metrics"][metric] for row in self.rows[name]}
            for name in names
            if name in self.rows
        ]
        seeds = tuple(sorted(set.intersection(*map(set, by_seed))))
        values = [[of_model[s] for s in seeds] for of_model in by_seed]
        if len(values) < len(names) or any(None in v for v in values):
            return (), [[] for _ in names]
        return seeds, values

    def _other_tests(self, compressed: Sequence[Row]) -> list[Row]:
        """Tests of baselines, and of what compression costs."""
        pairs = [
            (baseline, challenger)
            for baseline in self.roles.baselines
            for challenger in (TEACHER, ALONE)
        ]
        names = [model["method"] for model in compressed]
        pairs += [(name.rpartition(" ")[0], name) for name in names]
        return [
            {
                "baseline": a,
                "challenger": b,
                "tests": {m: self.tests(a, b, m) for m in self.metrics},
            }
            for a, b in pairs
            if a in self.rows and b in self.rows
        ]


def _correct(models: Sequence[Row]) -> None:
    """Adds Holm's p-values over the models to all tests."""
    for metric in models[0]["tests"] if models else ():
        for unit in UNITS:
            tests = [
                model["tests"][metric][unit]
                for model in models
                if unit in model["tests"][metric]
            ]
            corrected = holm([test["p_value"] for test in tests])
            for test, value in zip(tests, corrected, strict=True):
                test["holm_p_value"] = value


def verdict(tests: Mapping[str, Row], is_error: bool = False) -> str:
    """The verdict that follows from the tests of all units.

    A difference should be significant over users and, if there are several
    seeds, over seeds.
    """
    if not tests:
        return "unclear"
    significant = [
        test["holm_p_value"] is not None and test["holm_p_value"] < LEVEL
        for test in tests.values()
    ]
    first = tests.get("users") or next(iter(tests.values()))
    difference = -first["difference"] if is_error else first["difference"]
    if all(significant) and difference:
        return "gain" if difference > 0 else "worse"
    if any(significant) and difference > 0:
        return "unclear"
    return "no gain"
