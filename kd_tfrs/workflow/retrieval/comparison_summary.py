"""What a comparison found: means, tests against the student alone, verdicts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from kd_tfrs.evaluation import (
    PairedTest,
    holm,
    paired_test,
    paired_test_over_seeds,
)
from kd_tfrs.workflow.retrieval.contenders import ALONE
from kd_tfrs.workflow.run import read_json

TESTED = ("ndcg@20", "recall@50")
LEVEL = 0.05
TEACHER = "teacher"
UNITS = ("seeds", "users")
_LOSSES = "distillation_losses"
_KEPT = (
    "point",
    "value",
    "validation",
    "train_seconds",
    "epochs",
    "best_epoch",
    "flags",
    "commit",
)
Row = dict[str, Any]
# For each seed: user numbers, and [users] values by metric.
PerUser = dict[int, dict[str, np.ndarray]]


def collect(
    directory: Path, flat: Mapping[str, Any]
) -> tuple[dict[str, list[Row]], dict[str, PerUser]]:
    """Reads the tested rows of a run folder.

    Args:
        directory: the run folder.
        flat: the comparison's own options by flag name.

    Returns:
        Rows by method in the order of seeds, their flags as far as they are
        other than the comparison's; and values by user.
    """
    rows: dict[str, list[Row]] = {}
    per_user: dict[str, PerUser] = {}
    for path in (directory / "results").glob("*/seed-*.json"):
        row = with_changes(read_json(path), flat)
        rows.setdefault(row["method"], []).append(row)
        with np.load(path.with_suffix(".npz")) as arrays:
            values = dict(arrays)
        per_user.setdefault(row["method"], {})[row["seed"]] = values
    for found in rows.values():
        found.sort(key=lambda row: row["seed"])
    return rows, per_user


def summarise(
    rows: Mapping[str, list[Row]], per_user: Mapping[str, PerUser]
) -> dict[str, Any]:
    """Means, tests against the student alone, verdicts and costs.

    A method and the student alone are compared over the seeds that both have:
    over seeds by the means of each, and over users by each user's mean over
    the seeds. p-values are Holm's over the methods, for each metric and kind
    of test by itself.

    Args:
        rows: see `collect`.
        per_user: likewise.

    Returns:
        "teacher", "student", and "methods" from the best to the worst by
        NDCG@20, each with "metrics" (mean and deviation), "train_seconds",
        "epochs", "rows"; a method also with "tests", "gain_kept", "verdict"
        and "cost_rank".
    """
    found: dict[str, Any] = {
        name: means(rows[name]) if name in rows else None
        for name in (TEACHER, ALONE)
    }
    methods = [
        {"method": name, **means(rows[name])}
        for name in rows
        if name not in found
    ]
    for method in methods:
        method["tests"] = {
            metric: _tests(per_user[ALONE], per_user[method["method"]], metric)
            for metric in TESTED
        }
        method["gain_kept"] = {
            metric: gain_kept(rows, method["method"], metric)
            for metric in TESTED
        }
    correct(methods, TESTED)
    rank(methods)
    for method in methods:
        method["verdict"] = {
            metric: verdict(method["tests"][metric]) for metric in TESTED
        }
    methods.sort(key=lambda one: -one["metrics"][TESTED[0]]["mean"])
    return {**found, "methods": methods}


def screening(directory: Path, flat: Mapping[str, Any]) -> list[Row]:
    """The best trial of everybody, by validation metrics alone.

    Args:
        directory: the run folder.
        flat: see `collect`.

    Returns:
        A row for each, the best one first.
    """
    found = []
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
            **{k: v for k, v in best.items() if k in _KEPT},
        }
        found.append(with_changes(row, flat))
    return sorted(found, key=lambda row: -row["value"])


def flag_text(value: Any) -> str:
    """A value as its flag is written.

    Args:
        value: of an option; a list has commas.

    Returns:
        Text without spaces of its own.

    Example:
    >>> flag_text(["rrd:1", "de:0.5"])
    'rrd:1,de:0.5'
    """
    if isinstance(value, (list, tuple)):
        return ",".join(map(str, value))
    return "" if value is None else str(value)


def with_changes(
    row: Row,
    flat: Mapping[str, Any],
    without_teacher: Sequence[str] = (TEACHER, ALONE),
) -> Row:
    """Names the flags that are the row's own, instead of all of them.

    What a method is called is told even where it was given. Who hears no
    teacher has nothing to do with flags of those who do.

    Args:
        row: with all its flags, which are taken out of it.
        flat: the comparison's own options by flag name.
        deaf: names of those who hear no teacher.

    Returns:
        The row with "changed_flags".
    """
    mine = row.pop("flags")
    hears = row["method"] not in without_teacher
    changed = {
        name: value
        for name, value in mine.items()
        if (hears or not name.startswith("distill"))
        and name != "seed"
        and (value != flat.get(name) or (hears and name == _LOSSES))
    }
    return {**row, "changed_flags": changed}


def means(rows: Sequence[Row]) -> Row:
    """Mean and deviation of all that was measured with several seeds.

    Args:
        rows: of one method.

    Returns:
        "seeds", "metrics", "train_seconds", "epochs" and "rows".
    """
    names = dict.fromkeys(n for row in rows for n in row["metrics"])
    return {
        "seeds": [row["seed"] for row in rows],
        "metrics": {
            n: _spread([r["metrics"].get(n) for r in rows]) for n in names
        },
        "train_seconds": _spread([r["train_seconds"] for r in rows])["mean"],
        "epochs": _spread([r["epochs"] for r in rows])["mean"],
        "rows": list(rows),
    }


def _spread(values: Sequence[float | None]) -> dict[str, float | None]:
    if any(value is None for value in values):
        return {"mean": None, "deviation": None}
    several = len(values) > 1
    return {
        "mean": float(np.mean(values)),
        "deviation": float(np.std(values, ddof=1)) if several else 0.0,
    }


def _tests(alone: PerUser, other: PerUser, metric: str) -> dict[str, Any]:
    """The paired tests over seeds and over users, not corrected yet."""
    seeds = sorted(alone.keys() & other.keys())
    tests = {
        "users": paired_test(
            *(_by_user(runs, seeds, metric) for runs in (alone, other))
        )
    }
    if len(seeds) > 1:
        tests["seeds"] = paired_test_over_seeds(
            *([runs[s][metric] for s in seeds] for runs in (alone, other))
        )
    return {unit: paired_row(test) for unit, test in tests.items()}


def paired_row(test: PairedTest) -> dict[str, Any]:
    """What a paired test found, for JSON."""
    return {
        "pairs": test.num_pairs,
        "difference": test.difference,
        "interval": list(test.interval),
        "t_p_value": test.t_p_value,
        "wilcoxon_p_value": test.wilcoxon_p_value,
    }


def _by_user(runs: PerUser, seeds: Sequence[int], metric: str) -> np.ndarray:
    """Each user's mean over the seeds in which he was asked for."""
    users = np.concatenate([runs[seed]["user"] for seed in seeds])
    values = np.concatenate([runs[seed][metric] for seed in seeds])
    return pd.Series(values).groupby(users).mean().to_numpy()


def gain_kept(
    rows: Mapping[str, list[Row]], name: str, metric: str, sign: float = 1.0
) -> float | None:
    """Share of what the teacher has more than the student alone.

    Args:
        rows: by method.
        name: of the method.
        metric: which.
        sign: -1 where less is better.

    Returns:
        The share over the seeds that all three have; `None` where the
        teacher has not more.
    """
    by_seed = [
        {row["seed"]: row["metrics"][metric] for row in rows.get(one, ())}
        for one in (TEACHER, ALONE, name)
    ]
    common = set.intersection(*(set(values) for values in by_seed))
    if not common:
        return None
    values = [[values[seed] for seed in common] for values in by_seed]
    if any(value is None for found in values for value in found):
        return None
    teacher, alone, mine = (np.mean(found) for found in values)
    if sign * (teacher - alone) <= 0:
        return None
    return float((mine - alone) / (teacher - alone))


def correct(methods: Sequence[Row], tested: Sequence[str]) -> None:
    """Adds Holm's p-values, over all methods.

    Args:
        methods: with "tests"; they are changed.
        tested: metrics.
    """
    for metric in tested:
        for unit in UNITS:
            tests = [
                m["tests"][metric][unit]
                for m in methods
                if unit in m["tests"][metric]
            ]
            corrected = holm([test["t_p_value"] for test in tests])
            for test, value in zip(tests, corrected, strict=True):
                test["holm_p_value"] = value


def rank(methods: Sequence[Row]) -> None:
    """Adds the place by cost, 1 being the cheapest.

    Args:
        methods: they are changed.
    """
    by_cost = sorted(methods, key=lambda one: one["train_seconds"])
    for place, method in enumerate(by_cost, 1):
        method["cost_rank"] = place


def verdict(tests: Mapping[str, Any], sign: float = 1.0) -> str:
    """In a word, what all tests agree on.

    A difference has to be beyond the luck of the users and, where there are
    several seeds, beyond the luck of the seed.

    Args:
        tests: by unit, corrected.
        sign: -1 where less is better.

    Returns:
        "gain", "worse", "unclear" or "no gain".
    """
    significant = [
        test["holm_p_value"] is not None and test["holm_p_value"] < LEVEL
        for test in tests.values()
    ]
    if not tests:
        return "unclear"
    first = tests.get("users") or next(iter(tests.values()))
    difference = sign * first["difference"]
    if all(significant) and difference:
        return "gain" if difference > 0 else "worse"
    if any(significant) and difference > 0:
        return "unclear"
    return "no gain"
