"""Comparisons on several data sets, side by side."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from kd_tfrs.workflow.retrieval.comparison_summary import TESTED
from kd_tfrs.workflow.retrieval.contenders import ALONE
from kd_tfrs.workflow.training import ERRORS

Found = Mapping[str, Any]


def overview(found: Mapping[str, Found]) -> dict[str, Any]:
    """What each method did on each data set, and its mean rank.

    Of data sets whose test events were asked, the test counts; of the others,
    the screening.

    Args:
        found: what stands in `comparison.json`, by name of the data set.

    Returns:
        "events" and "metric" by data set, and "methods", the best mean rank
        first: "method", "mean_rank" over the data sets it was compared on,
        "data_sets" with "value", "difference" to the student alone,
        "gain_kept", "verdict" and "rank".
    """
    columns = {name: _column(one) for name, one in found.items()}
    names = dict.fromkeys(m for c in columns.values() for m in c["methods"])
    methods = []
    for name in names:
        cells = {
            data: column["methods"][name]
            for data, column in columns.items()
            if name in column["methods"]
        }
        rank = float(np.mean([cell["rank"] for cell in cells.values()]))
        methods.append({"method": name, "mean_rank": rank, "data_sets": cells})
    # Those that are missing somewhere come after those that are not.
    methods.sort(key=lambda m: (-len(m["data_sets"]), m["mean_rank"]))
    return {
        "events": {data: c["events"] for data, c in columns.items()},
        "metric": {data: c["metric"] for data, c in columns.items()},
        "methods": methods,
    }


def overview_markdown(table: Mapping[str, Any]) -> str:
    """The overview as Markdown.

    Args:
        table: see `overview`.

    Returns:
        Text with a line break at the end.
    """
    data_sets = list(table["events"])
    lines = [
        "# Methods over data sets",
        "",
        "Difference to the student alone in percent of it, part of the "
        "teacher's gain kept, and verdict; see the table of each data set. "
        "Sorted by mean rank.",
        "",
        "| method | "
        + " | ".join(
            f"{d} ({table['metric'][d]}, {table['events'][d]})"
            for d in data_sets
        )
        + " | mean rank |",
        "| :-- |" + " --: |" * (len(data_sets) + 1),
    ]
    for method in table["methods"]:
        cells = [_cell(method["data_sets"].get(data)) for data in data_sets]
        lines.append(
            f"| {method['method']} | {' | '.join(cells)} | "
            f"{method['mean_rank']:.1f} |"
        )
    return "\n".join(lines) + "\n"


def _column(found: Found) -> dict[str, Any]:
    """A data set's methods, the best one first."""
    test, sign = found["test"], 1.0
    if test:
        metric = found.get("tested", TESTED)[0]
        # Of rankers that rate, less is better.
        sign = -1.0 if metric in ERRORS else 1.0
        alone = test[ALONE]["metrics"][metric]["mean"]
        rows = [
            (
                m["method"],
                m["metrics"][metric]["mean"],
                m["gain_kept"][metric],
                m["verdict"][metric],
            )
            for m in test["methods"]
        ]
    else:
        metric = found["monitor"]
        values = {
            row["method"]: row["value"]
            for row in found["validation"]["methods"]
        }
        alone = values.pop(ALONE)
        rows = [(name, value, None, None) for name, value in values.items()]
    rows.sort(key=lambda row: -sign * row[1])
    cells = {
        name: {
            "value": value,
            "difference": value - alone,
            "relative": (value - alone) / abs(alone) if alone else None,
            "gain_kept": kept,
            "verdict": verdict,
            "rank": rank,
        }
        for rank, (name, value, kept, verdict) in enumerate(rows, 1)
    }
    events = "test" if test else "validation"
    return {"events": events, "metric": metric, "methods": cells}


def _cell(cell: Mapping[str, Any] | None) -> str:
    if cell is None:
        return "-"
    relative, kept = cell["relative"], cell["gain_kept"]
    parts = [
        "" if relative is None else f"{100 * relative:+.1f} %",
        "" if kept is None else f"kept {100 * kept:.0f} %",
        cell["verdict"] or "",
    ]
    return ", ".join(filter(None, parts)) or "-"
