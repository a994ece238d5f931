"""What a comparison found, as a CSV file and as a picture."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from kd_tfrs.evaluation import plot_comparison
from kd_tfrs.workflow.comparison_summary import TEACHER, TESTED
from kd_tfrs.workflow.contenders import ALONE

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
    test = found["test"]
    if test and test["methods"]:
        references = {
            title: {m: test[name]["metrics"][m]["mean"] for m in tested}
            for name, title in ((TEACHER, TEACHER), (ALONE, "student alone"))
            if test[name]
        }
        note = f"test, mean and deviation over {len(found['seeds'])} seeds"
        methods = test["methods"]
    else:
        references, methods = _validated(found, tested)
        note = f"validation, seed {found['seed']}"
    if methods:
        plot_comparison(methods, references, path, metrics=tested, note=note)


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
