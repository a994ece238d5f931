"""What a comparison of rankers writes down."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from kd_tfrs.workflow.ranking.comparison_summary import (
    COMPRESSED,
    TESTED,
    Findings,
)
from kd_tfrs.workflow.retrieval.comparison_files import as_csv, plot
from kd_tfrs.workflow.retrieval.comparison_report import (
    budget,
    findings,
    table,
    title,
    validation_lines,
    write_chosen,
)
from kd_tfrs.workflow.retrieval.comparison_summary import (
    LEVEL,
    TEACHER,
    UNITS,
    Row,
)
from kd_tfrs.workflow.retrieval.contenders import ALONE
from kd_tfrs.workflow.run import Run


def write(
    run: Run, kept: Findings, seeds: int, trials: int, monitor: str
) -> dict[str, Any]:
    """Writes `comparison.json`, `.md`, `.csv`, `.png` and the chosen flags.

    Args:
        run: the comparison's.
        kept: the tested rows.
        seeds: repeats that were asked for.
        trials: of each.
        monitor: the validation metric that decided.

    Returns:
        What stands in `comparison.json`.
    """
    test = kept.summarise() if ALONE in kept.rows else None
    found = findings(run, kept.rows, test, seeds, trials, monitor)
    found["tasks"] = kept.kinds
    found["tested"] = list(kept.tested) if test else _planned(kept.kinds)
    run.write_json("comparison.json", found)
    run.write_text("comparison.md", markdown(found))
    run.write_text("comparison.csv", as_csv(found, found["tested"]))
    write_chosen(run, found)
    plot(found, run.path("comparison.png"), found["tested"])
    return found


def markdown(found: Mapping[str, Any]) -> str:
    """The comparison as Markdown.

    Args:
        found: see `write`.

    Returns:
        Text with a line break at the end.
    """
    environment = found["environment"]
    tasks = ", ".join(f"{n} ({kind})" for n, kind in found["tasks"].items())
    lines = [
        f"# {found['dataset']}: rankers against the student alone",
        "",
        f"Tasks: {tasks}. Commit {environment['commit']}, "
        f"{environment['processor']}.",
    ]
    if found["test"]:
        lines += ["", *_quality_lines(found), "", *_test_lines(found)]
    if found["validation"]["methods"]:
        lines += ["", *validation_lines(found, _validated(found))]
    return "\n".join(lines) + "\n"


def _planned(kinds: Mapping[str, str]) -> list[str]:
    """Metrics of the first task, before anything was tested."""
    return [m for m in TESTED[next(iter(kinds.values()))] if m != "gauc"]


def _validated(found: Mapping[str, Any]) -> list[str]:
    """Tested metrics that the validation examples have a value of, too."""
    validation = found["validation"]
    rows = [row["validation"] for row in validation["methods"]]
    rows += [validation["teacher"]] if validation["teacher"] else []
    return [m for m in found["tested"] if all(m in row for row in rows)]


def _models(test: Mapping[str, Any]) -> Iterator[tuple[str, Row]]:
    """Everybody in the table, by name."""
    listed = [*test["baselines"], *test["members"], test[TEACHER], test[ALONE]]
    for one in filter(None, [*listed, *test["methods"], *test["compressed"]]):
        yield one["method"], one


def _quality_lines(found: Mapping[str, Any]) -> list[str]:
    tested, first = found["tested"], found["tested"][0]
    lines = [
        "## Test examples",
        "",
        f"Seeds {', '.join(map(str, found['seeds']))}; mean (standard "
        f"deviation over seeds). {budget(found)} Gain kept: what part of the "
        f"teacher's lead over the student alone in {first}, where some test "
        f"shows one; verdict in {first}, see below. Parameters: the weights "
        "that are trained; of a pruned one, those that are not zero; of "
        "LightGBM, its leaves and splits.",
        "",
    ]
    header = ["model", "parameters", *tested, "gain kept", "verdict"]
    header += ["epochs", "train s"]
    body = []
    for name, row in _models(found["test"]):
        spread = (row["metrics"][metric] for metric in tested)
        body.append(
            [
                title(name, row, found),
                _parameters(row),
                *map(_spread, spread),
                _share(row.get("gain_kept", {}).get(first)),
                row.get("verdict", {}).get(first, "-"),
                *(_number(row[key]) for key in ("epochs", "train_seconds")),
            ]
        )
    return [*lines, *table(header, body)]


def _test_lines(found: Mapping[str, Any]) -> list[str]:
    test = found["test"]
    lines = [
        "## Tests",
        "",
        "Differences to the student alone if not said otherwise, with the "
        "95 % interval over users drawn with replacement (the mean over seeds "
        "of each draw). p over seeds: paired t-test; over users: z-test with "
        "the standard error of the draws. Of the distilled students both are "
        f"after Holm's correction over them ({len(test['methods'])}). A gain "
        f"is one that both tests show (p < {LEVEL}); unclear, one of them.",
        "",
    ]
    header = ["pair", "metric", "difference", "interval over users"]
    header += ["p seeds", "p users", "gain kept", "verdict"]
    body = []
    for name, row in _models(test):
        for metric, tests in row.get("tests", {}).items():
            kept, said = row["gain_kept"][metric], row["verdict"][metric]
            cells = _cells(tests, "holm_p_value")
            body.append([name, metric, *cells, _share(kept), said])
    for pair in test["beside"]:
        name = f"{pair['challenger']} against {pair['baseline']}"
        for metric, tests in pair["tests"].items():
            cells = _cells(tests, "t_p_value")
            body.append([name, metric, *cells, "-", "-"])
    return [*lines, *table(header, body)]


def _cells(tests: Mapping[str, Any], p_name: str) -> list[str]:
    """Difference, interval and p-values of a pair."""
    if not tests:
        return ["-"] * 4
    first = tests.get("users") or tests["seeds"]
    low, high = tests.get("users", {}).get("interval") or (None, None)
    p_values = [tests.get(unit, {}).get(p_name) for unit in UNITS]
    return [
        f"{first['difference']:+.4f}",
        "-" if low is None else f"{low:+.4f} to {high:+.4f}",
        *("-" if p is None else f"{p:.2g}" for p in p_values),
    ]


def _spread(found: Mapping[str, float | None]) -> str:
    if found["mean"] is None:
        return "-"
    return f"{found['mean']:.4f} ({found['deviation']:.4f})"


def _share(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.0f} %"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.0f}"


def _parameters(row: Row) -> str:
    """Weights; of a pruned one those that are not zero; bytes of a file."""
    compressed = row["method"].endswith(COMPRESSED)
    count = row.get("nonzero_parameters" if compressed else "parameters")
    if count is None:
        return "-"
    size = row.get("size_bytes")
    return f"{count:,.0f}" + (f", {size / 1024:,.0f} KB" if size else "")
