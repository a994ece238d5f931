"""The files of a comparison: JSON, Markdown, CSV, plot and chosen flags."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import scipy.stats

from kd_tfrs.evaluation import plot_comparison
from kd_tfrs.evaluation.tables import (
    MISSING,
    Column,
    as_cells,
    as_csv,
    as_markdown,
    column,
    mean_cell,
)
from kd_tfrs.workflow.comparison.contenders import (
    ALONE,
    TEACHER,
    folder_name,
)
from kd_tfrs.workflow.comparison.findings import (
    LEVEL,
    UNITS,
    Row,
    flag_text,
)
from kd_tfrs.workflow.run import Run

_TESTS = {
    "t": "paired t-test",
    "z": "z-test with the standard error of the draws",
}
_WHOLE = "{:.0f}".format
Results = Mapping[str, Any]


def write(run: Run, results: Results) -> None:
    """Writes `comparison.json`, `.md`, `.csv`, `.png` and `best/*.flags`."""
    run.write_json("comparison.json", results)
    run.write_text("comparison.md", markdown(results))
    run.write_text("comparison.csv", csv_text(results))
    chosen = [*results["validation"]["methods"]]
    if results["test"]:
        tested = (results["test"][ALONE], *results["test"]["methods"])
        chosen += [model["rows"][0] for model in tested]
    for row in chosen:
        file = f"best/{folder_name(row['method'])}.flags"
        run.write_text(file, flag_lines(row["changed_flags"]))
    plot(results, run.path("comparison.png"))


def markdown(results: Results) -> str:
    """The comparison as Markdown."""
    environment, tasks = results["environment"], results["tasks"].items()
    listed = ", ".join(f"{name} ({kind})" for name, kind in tasks)
    parts = [
        f"# {results['dataset']}: methods against the student alone\n\n"
        + (f"Tasks: {listed}. " if listed else "")
        + f"Commit {environment['commit']}, {environment['processor']}.\n"
    ]
    if results["test"]:
        parts += [_quality_text(results), _tests_text(results)]
    if results["validation"]["methods"]:
        parts.append(_validation_text(results))
    return "\n".join(parts)


def _models(test: Mapping[str, Any]) -> list[Row]:
    """All tested models in the order of the tables."""
    references = (*test["baselines"], *test["members"], test[TEACHER])
    others = (test[ALONE], *test["methods"], *test["compressed"])
    return [*filter(None, references), *others]


def _quality_text(results: Results) -> str:
    test, further = results["test"], results["further"]
    models, metrics = _models(test), [*results["tested"], *further["metrics"]]
    first = metrics[0]
    has_sizes = any("parameters" in model for model in models)
    columns: list[Column] = [
        ("model", lambda model: _title(model, results)),
        ("parameters", lambda model: _parameters(model, test)),
        *(column(name, f"metrics.{name}", mean_cell) for name in metrics),
        ("gain kept", lambda model: _share(model, first, test)),
        column("verdict", f"verdict.{first}"),
        column("epochs", "epochs", _WHOLE),
        column("train s", "train_seconds", _WHOLE),
        column("cost", "cost_rank"),
    ]
    return (
        f"## Test data\n\nSeeds {', '.join(map(str, results['seeds']))}; mean "
        f"(standard deviation over seeds). {_budget(results)} Gain kept: the "
        f"share of the teacher's lead over the student alone in {first}; n.s. "
        f"where this lead is not significant. Verdict in {first}, see the "
        "tests below. Cost: rank of the methods by training time, 1 is the "
        "shortest."
        + (
            " Parameters: the trained weights; of a pruned model, those that "
            "are not zero; of trees, their leaves and splits."
            if has_sizes
            else ""
        )
        + (f" {further['note']}" if further["metrics"] else "")
        + f"\n\n{as_markdown(as_cells(models, columns))}"
    )


def _tests_text(results: Results) -> str:
    test, rows = results["test"], []
    kinds: dict[str, str] = {}
    for model in _models(test):
        for metric, tests in model.get("tests", {}).items():
            kinds |= {unit: row["test"] for unit, row in tests.items()}
            cells = _test_cells(tests, "holm_p_value")
            share = _share(model, metric, test)
            verdict = model["verdict"][metric]
            rows.append([model["method"], metric, *cells, share, verdict])
    for pair in test["other_tests"]:
        name = f"{pair['challenger']} against {pair['baseline']}"
        for metric, tests in pair["tests"].items():
            rows.append([name, metric, *_test_cells(tests), MISSING, MISSING])
    header = ["pair", "metric", "difference", "interval over users"]
    header += ["p seeds", "p users", "gain kept", "verdict"]
    named = [f"over {unit}: {_TESTS[kind]}" for unit, kind in kinds.items()]
    return (
        "## Tests\n\nDifferences to the student alone if no other model is "
        "named, with the 95 % interval over users drawn with replacement (of "
        "their means over seeds). p "
        f"{'; p '.join(named) or 'needs users or seeds'}. The p-values of the "
        "methods are after Holm's correction over them "
        f"({len(test['methods'])}). A gain is significant in all tests (p < "
        f"{LEVEL}), an unclear one in one of two. Gain kept: n.s. where the "
        "teacher's lead over the student alone is not significant.\n\n"
        + as_markdown([header, *rows])
    )


def _test_cells(tests: Mapping[str, Row], key: str = "p_value") -> list[str]:
    """Difference, interval and p-values of a pair."""
    if not tests:
        return [MISSING] * 4
    first = tests.get("users") or tests["seeds"]
    low, high = tests.get("users", {}).get("interval") or (None, None)
    p_values = [tests.get(unit, {}).get(key) for unit in UNITS]
    return [
        f"{first['difference']:+.4f}",
        MISSING if low is None else f"{low:+.4f} to {high:+.4f}",
        *(MISSING if p is None else f"{p:.2g}" for p in p_values),
    ]


def _validation_text(results: Results) -> str:
    """The table of the best trials, by validation metrics alone."""
    monitor, rows = results["monitor"], _validation_rows(results)
    alone = next((r["value"] for r in rows if r["method"] == ALONE), None)
    if alone is not None:
        rows = [
            {**row, "difference": row["value"] - alone}
            if row["method"] not in (ALONE, TEACHER)
            else row
            for row in rows
        ]
    columns: list[Column] = [
        ("model", _name),
        *(
            column(name, f"validation.{name}", "{:.4f}".format)
            for name in _validated(results)
        ),
        column("difference", "difference", "{:+.4f}".format),
        *(column(name, name) for name in ("trials", "pruned", "epochs")),
        column("train s", "train_seconds", _WHOLE),
        column("flags", "changed_flags", _flags_cell),
    ]
    return (
        f"## Validation data\n\nThe best trial by {monitor}, seed "
        f"{results['seed']}. {_budget(results)} This table uses no test data."
        f"\n\n{as_markdown(as_cells(rows, columns))}"
    )


def _validation_rows(results: Results) -> list[Row]:
    """The teacher, if it was validated, and the best trial of the others."""
    validation = results["validation"]
    teacher = {"method": TEACHER, "validation": validation["teacher"]}
    return [*([teacher] * bool(validation["teacher"])), *validation["methods"]]


def _validated(results: Results) -> list[str]:
    """The monitored metric, and tested ones that all validations have."""
    rows = [row["validation"] for row in _validation_rows(results)]
    names = [m for m in results["tested"] if all(m in row for row in rows)]
    return list(dict.fromkeys([results["monitor"], *names]))


def _budget(results: Results) -> str:
    """How the contenders are tuned, in a sentence."""
    if results["trials"] < 2:
        return "Not tuned: the given flags, and the methods' own defaults."
    return (
        f"Tuned with {results['trials']} trials each on validation data of "
        f"seed {results['seed']}."
    )


def _name(row: Mapping[str, Any]) -> str:
    return "student alone" if row["method"] == ALONE else row["method"]


def _title(model: Row, results: Results) -> str:
    """The name of a model; its seeds too, if some are missing."""
    if model["seeds"] == results["seeds"]:
        return _name(model)
    return f"{_name(model)} (seeds {', '.join(map(str, model['seeds']))})"


def share_text(share: float | None, has_lead: bool | None) -> str:
    """The share of the teacher's lead that is kept, as text.

    Args:
        share: see `lead_kept`.
        has_lead: whether the teacher's lead is significant; `None` if it is
            not tested.

    Returns:
        A percentage, "n.s." or "-".

    Example:
    >>> share_text(0.79, True), share_text(None, False), share_text(None, None)
    ('79 %', 'n.s.', '-')
    """
    if share is not None:
        return f"{100 * share:.0f} %"
    return "n.s." if has_lead is False else "-"


def _share(model: Row, metric: str, test: Mapping[str, Any]) -> str:
    if not model.get("tests", {}).get(metric) or not test[TEACHER]:
        return "-"
    has_lead = test[TEACHER]["has_lead"][metric]
    return share_text(model["gain_kept"][metric], has_lead)


def _parameters(model: Row, test: Mapping[str, Any]) -> str:
    """Weights; of a compressed model those that are not zero, and bytes."""
    is_compressed = model in test["compressed"]
    count = model.get("nonzero_parameters" if is_compressed else "parameters")
    if count is None:
        return "-"
    size = model.get("size_bytes")
    return f"{count:,.0f}" + (f", {size / 1024:,.0f} KB" if size else "")


def flag_lines(changes: Mapping[str, Any]) -> str:
    r"""Flags as the lines of a flag file.

    Example:
    >>> flag_lines({"distillation_losses": ["rrd:1"]})
    '--distillation_losses=rrd:1\n'
    """
    return "".join(f"--{k}={flag_text(v)}\n" for k, v in changes.items())


def _flags_cell(changes: Mapping[str, Any]) -> str:
    return " ".join(flag_lines(changes).split()) or MISSING


def csv_text(results: Results) -> str:
    """One line per tested row, and per best trial."""
    seed, test = results["seed"], results["test"]
    lines = [
        {"events": "validation", "seed": seed, **row, **row["validation"]}
        for row in results["validation"]["methods"]
    ]
    lines += [
        {"events": "test", **row, **row["metrics"]}
        for model in (_models(test) if test else ())
        for row in model["rows"]
    ]
    columns = ["events", "method", "seed", *results["tested"]]
    columns += ["train_seconds", "epochs", "best_epoch", "commit"]
    others = sorted(
        {n for line in lines for n, v in line.items() if isinstance(v, float)}
        - set(columns)
    )
    return as_csv(lines, [*columns, *others])


def plot(results: Results, path: Path) -> None:
    """Plots the test metrics if there are some, else the validation metrics."""
    test, metrics = results["test"], results["tested"]
    if test and test["methods"]:
        rows = [test[TEACHER], test[ALONE], *test["methods"]]
        count = len(results["seeds"])
        note = f"test, mean and 95 % interval over {count} seeds"
        note = note if count > 1 else f"test, seed {results['seed']}"
    else:
        rows = [
            {
                "method": row["method"],
                "metrics": {m: {"mean": row["validation"][m]} for m in metrics},
            }
            for row in _validation_rows(results)
        ]
        note = f"validation, seed {results['seed']}"
    rows = [with_intervals(row, metrics) for row in rows if row]
    methods = [r for r in rows if r["method"] not in (TEACHER, ALONE)]
    lines = {_name(row): row for row in rows if row not in methods}
    if methods:
        plot_comparison(
            methods,
            {
                name: {m: row["metrics"][m]["mean"] for m in metrics}
                for name, row in lines.items()
            },
            path,
            metrics=metrics,
            note=note,
            reference_intervals={
                name: row.get("intervals", {}) for name, row in lines.items()
            },
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
        The row with "intervals", `[low, high]` by name; without them if there
        are fewer than two seeds.

    Example:
    >>> spread = {"mean": 0.5, "deviation": 0.1}
    >>> row = {"seeds": [0, 1, 2, 3], "metrics": {"mrr": spread}}
    >>> low, high = with_intervals(row, ["mrr"])["intervals"]["mrr"]
    >>> round(low, 3), round(high, 3)
    (0.341, 0.659)
    """
    count = len(row.get("seeds", ()))
    if count < 2:
        return {**row}
    factor = scipy.stats.t.ppf(0.975, count - 1) / np.sqrt(count)
    intervals = {}
    for metric in metrics:
        spread = row["metrics"][metric]
        half = factor * spread["deviation"]
        ends = spread["mean"] - half, spread["mean"] + half
        intervals[metric] = [float(end) for end in ends]
    return {**row, "intervals": intervals}
