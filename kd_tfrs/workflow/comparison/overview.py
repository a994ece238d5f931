"""Comparisons on several data sets, side by side."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from kd_tfrs.errors import UserError
from kd_tfrs.evaluation.tables import (
    MISSING,
    as_cells,
    as_markdown,
    column,
)
from kd_tfrs.workflow.comparison.contenders import ALONE, TEACHER
from kd_tfrs.workflow.comparison.experiment import (
    Comparison,
    Plan,
    Say,
    compare,
)
from kd_tfrs.workflow.comparison.report import share_text
from kd_tfrs.workflow.options import FlatConfig
from kd_tfrs.workflow.run import read_json

Results = Mapping[str, Any]


def compare_data_sets(
    task: type[Comparison],
    configs: Mapping[str, FlatConfig],
    run_dir: str | os.PathLike,
    plan: Plan,
    *,
    say: Say = print,
) -> dict[str, Any]:
    """Runs a comparison on each of several data sets, and an overview.

    Raises:
        UserError: see `compare`; raised after the other data sets.
    """
    results, mistakes = {}, []
    for config in configs.values():
        task.named(plan.methods, config)
    for name, config in configs.items():
        say(f"\n{name}")
        own = plan
        if plan.teacher_dir:
            teachers = Path(plan.teacher_dir) / name
            own = dataclasses.replace(plan, teacher_dir=teachers)
        folder = Path(run_dir) / name
        try:
            results[name] = compare(task, config, folder, own, say=say)
        except UserError as error:
            say(f"{name}: {error}")
            mistakes.append(f"{name}: {error}")
            # The methods that did not fail are part of the overview.
            if (folder / "comparison.json").exists():
                results[name] = read_json(folder / "comparison.json")
    content = overview(results)
    text = overview_markdown(content)
    file = Path(run_dir) / "overview.json"
    file.write_text(json.dumps(content, indent=1) + "\n", "utf-8")
    file.with_suffix(".md").write_text(text, "utf-8")
    say(f"\n{text}")
    if mistakes:
        raise UserError(" ".join(mistakes))
    return content


def overview(results: Mapping[str, Results]) -> dict[str, Any]:
    """The difference of each method on each data set, and its mean rank.

    The test counts where there is one, otherwise the screening.

    Args:
        results: content of `comparison.json` by data set.

    Returns:
        "events" and "metric" by data set, and "methods", the best mean rank
        first: "method", "mean_rank" over the data sets it was compared on,
        "data_sets" with "value", "difference" to the student alone,
        "gain_kept", "has_lead", "verdict" and "rank".
    """
    columns = {name: _column(of_data) for name, of_data in results.items()}
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
    # Methods that are missing on a data set come last.
    methods.sort(key=lambda m: (-len(m["data_sets"]), m["mean_rank"]))
    return {
        "events": {data: c["events"] for data, c in columns.items()},
        "metric": {data: c["metric"] for data, c in columns.items()},
        "methods": methods,
    }


def overview_markdown(content: Mapping[str, Any]) -> str:
    """The overview as Markdown."""
    columns = [
        column("method", "method"),
        *(
            column(
                f"{data} ({content['metric'][data]}, {events})",
                f"data_sets.{data}",
                _cell,
            )
            for data, events in content["events"].items()
        ),
        column("mean rank", "mean_rank", "{:.1f}".format),
    ]
    return (
        "# Methods over data sets\n\nDifference to the student alone in "
        "percent of it, share of the teacher's lead that is kept (n.s. where "
        "this lead is not significant), and verdict; see the table of each "
        "data set. Sorted by mean rank.\n\n"
        + as_markdown(as_cells(content["methods"], columns))
    )


def _column(results: Results) -> dict[str, Any]:
    """The methods of a data set, the best one first as in the results."""
    test, metric = results["test"], results["monitor"]
    if test:
        metric = results["tested"][0]
        has_lead = (test[TEACHER] or {}).get("has_lead", {}).get(metric)
        cells = {
            model["method"]: {
                "value": model["metrics"][metric]["mean"],
                "gain_kept": model.get("gain_kept", {}).get(metric),
                "has_lead": has_lead,
                "verdict": model.get("verdict", {}).get(metric),
            }
            for model in (*test["methods"], test[ALONE])
        }
    else:
        unknown = dict.fromkeys(("gain_kept", "has_lead", "verdict"))
        rows = results["validation"]["methods"]
        cells = {r["method"]: {"value": r["value"], **unknown} for r in rows}
    alone = cells.pop(ALONE)["value"]
    for rank, cell in enumerate(cells.values(), 1):
        gain = cell["value"] - alone
        relative = gain / abs(alone) if alone else None
        cell |= {"difference": gain, "relative": relative, "rank": rank}
    events = "test" if test else "validation"
    return {"events": events, "metric": metric, "methods": cells}


def _cell(cell: Mapping[str, Any]) -> str:
    relative = cell["relative"]
    kept = share_text(cell["gain_kept"], cell["has_lead"])
    parts = [
        "" if relative is None else f"{100 * relative:+.1f} %",
        "" if kept == MISSING else f"kept {kept}",
        cell["verdict"] or "",
    ]
    return ", ".join(filter(None, parts)) or MISSING
