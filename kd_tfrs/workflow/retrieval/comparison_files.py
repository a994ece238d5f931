"""What a comparison found, as a CSV file and as a picture."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import scipy.stats

from kd_tfrs.evaluation import plot_comparison
from kd_tfrs.workflow.retrieval.comparison_summary import TEACHER, TESTED
from kd_tfrs.workflow.retrieval.contenders import ALONE

# What the table of rankers has besides.
_MORE = ("members", "baselines", "compressed")


def as_csv(found: Mapping[str, Any], tested: Sequence[str] = TESTED) -> str:
    """A line for every tested row, and for every best trial.

    Args:
        found: see `write`.
        tested: metrics that come first.

    Returns:
        The text of a CSV file.
    """
    text = io.StringIO()
    seed, test = found["seed"], found["test"] or {"methods": []}
    lines = [
        {"events": "validation", "seed": seed, **row, **row["validation"]}
        for row in found["validation"]["methods"]
    ]
    more = [one for kind in _MORE for one in test.get(kind, ())]
    models = [test.get(TEACHER), test.get(ALONE), *test["methods"], *more]
    lines += [
        {"events": "test", **row, **row["metrics"]}
        for one in filter(None, models)
        for row in one["rows"]
    ]
    columns = ["events", "method", "seed", *tested, "train_seconds", "epochs"]
    columns += ["best_epoch", "commit"]
    others = sorted(
        {n for line in lines for n, v in line.items() if isinstance(v, float)}
        - set(columns)
    )
    writer = csv.DictWriter(
        text, [*columns, *others], extrasaction="ignore", lineterminator="\n"
    )
    writer.writeheader()
    writer.writerows(lines)
    return text.getvalue()


def plot(
    found: Mapping[str, Any], path: Path, tested: Sequence[str] = TESTED
) -> None:
    """Of the test events where they were asked, else of validation events.

    Args:
        found: see `write`.
        path: the PNG.
        tested: metrics, a panel each.
    """
    test, intervals = found["test"], {}
    if test and test["methods"]:
        rows = {
            title: with_intervals(test[name], tested)
            for name, title in ((TEACHER, TEACHER), (ALONE, "student alone"))
            if test[name]
        }
        references = {
            title: {m: row["metrics"][m]["mean"] for m in tested}
            for title, row in rows.items()
        }
        intervals = {t: row.get("intervals", {}) for t, row in rows.items()}
        count = len(found["seeds"])
        note = f"test, mean and 95 % interval over {count} seeds"
        note = note if count > 1 else f"test, seed {found['seed']}"
        methods = [with_intervals(one, tested) for one in test["methods"]]
    else:
        references, methods = _validated(found, tested)
        note = f"validation, seed {found['seed']}"
    if methods:
        plot_comparison(
            methods,
            references,
            path,
            metrics=tested,
            note=note,
            reference_intervals=intervals,
        )


def with_intervals(
    row: Mapping[str, Any], metrics: Sequence[str]
) -> dict[str, Any]:
    r"""Adds the 95 % interval of the mean over seeds.

    $$m \pm t_{0.975, n - 1} \frac{s}{\sqrt{n}}$$

    Args:
        row: "seeds" ($n$ of them), and "metrics" with "mean" ($m$) and
            "deviation" ($s$) by name.
        metrics: names.

    Returns:
        The row with "intervals", `[low, high]` by name; of fewer than two
        seeds, without.

    Example:
    >>> spread = {"mean": 0.5, "deviation": 0.1}
    >>> row = {"seeds": [0, 1, 2, 3], "metrics": {"mrr": spread}}
    >>> low, high = with_intervals(row, ["mrr"])["intervals"]["mrr"]
    >>> round(low, 3), round(high, 3)
    (0.341, 0.659)
    """
    count = len(row["seeds"])
    if count < 2:
        return {**row}
    factor = scipy.stats.t.ppf(0.975, count - 1) / np.sqrt(count)
    spreads = {metric: row["metrics"][metric] for metric in metrics}
    return {
        **row,
        "intervals": {
            metric: [
                float(one["mean"] + sign * factor * one["deviation"])
                for sign in (-1, 1)
            ]
            for metric, one in spreads.items()
        },
    }


def _validated(
    found: Mapping[str, Any], tested: Sequence[str]
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Lines and points of validation events."""
    rows = {row["method"]: row for row in found["validation"]["methods"]}
    references = {
        title: values
        for title, values in (
            (TEACHER, found["validation"]["teacher"]),
            ("student alone", rows.pop(ALONE, {}).get("validation")),
        )
        if values
    }
    methods = [
        {
            "method": name,
            "metrics": {
                metric: {"mean": row["validation"][metric], "deviation": None}
                for metric in tested
            },
        }
        for name, row in rows.items()
    ]
    return references, methods
