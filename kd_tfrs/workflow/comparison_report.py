"""What a comparison writes down: JSON, Markdown, CSV and the chosen flags."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any

from kd_tfrs.workflow.comparison_summary import (
    LEVEL,
    TEACHER,
    TESTED,
    UNITS,
    Row,
    collect,
    screening,
    summarise,
)
from kd_tfrs.workflow.contenders import ALONE, Contender
from kd_tfrs.workflow.run import Run


def write(
    run: Run,
    contenders: Sequence[Contender],
    seeds: int,
    trials: int,
) -> dict[str, Any]:
    """Writes `comparison.json`, `.md` and `.csv` of a run folder.

    Args:
        run: the comparison's.
        contenders: who takes part.
        seeds: repeats that were asked for.
        trials: of each.

    Returns:
        What stands in `comparison.json`.
    """
    config = run.config
    rows, per_user = collect(run.directory)
    names = {one.folder: one.name for one in contenders}
    data = run.read_json("data.json") or {}
    first = config.seed
    found = {
        "dataset": config.data.dataset,
        "seed": first,
        "seeds": sorted({r["seed"] for r in rows.get(ALONE, [])}),
        "seeds_asked": seeds,
        "trials": trials,
        "monitor": config.evaluation.monitor,
        "flags": config.flat(),
        "environment": run.read_json("environment.json"),
        "data_fingerprint": data.get("fingerprint"),
        "validation": {
            "teacher": run.read_json(f"teachers/validation-{first}.json"),
            "methods": screening(run.directory, names),
        },
        "test": summarise(rows, per_user) if ALONE in rows else None,
    }
    run.write_json("comparison.json", found)
    run.write_text("comparison.md", markdown(found))
    run.write_text("comparison.csv", _csv(found))
    for one in found["validation"]["methods"]:
        folder = one["method"].replace(":", "=")
        run.write_text(f"best/{folder}.flags", _flag_lines(one["point"]))
    return found


def markdown(found: Mapping[str, Any]) -> str:
    """The comparison as Markdown.

    Args:
        found: see `write`.

    Returns:
        Text with a line break at the end.
    """
    environment = found["environment"]
    lines = [
        f"# {found['dataset']}: methods against the student alone",
        "",
        f"Commit {environment['commit']}, {environment['processor']}.",
    ]
    if found["test"]:
        lines += ["", *_test_lines(found)]
    if found["validation"]["methods"]:
        lines += ["", *_validation_lines(found)]
    return "\n".join(lines) + "\n"


def _test_lines(found: Mapping[str, Any]) -> list[str]:
    test = found["test"]
    seeds = ", ".join(map(str, found["seeds"]))
    lines = [
        "## Test events",
        "",
        f"Seeds {seeds}; mean (standard deviation over seeds). Tuned with "
        f"{found['trials']} trials each on validation events of seed "
        f"{found['seed']}. Gain kept: what part of the teacher's lead over "
        "the student alone. p: paired t-tests against the student alone over "
        "seeds and over users, after Holm's correction over "
        f"{len(test['methods'])} methods. A gain is one that both tests show "
        f"(p < {LEVEL}); unclear, one of them; cost 1 is the shortest "
        "training.",
        "",
    ]
    header = ["method"]
    for metric in TESTED:
        header += [metric, "gain kept", "p seeds", "p users", "verdict"]
    header += ["epochs", "train s", "cost"]
    body = [
        _test_cells(name, test[name]) for name in (TEACHER, ALONE) if test[name]
    ]
    body += [_test_cells(one["method"], one) for one in test["methods"]]
    return [*lines, *_table(header, body)]


def _test_cells(name: str, row: Row) -> list[str]:
    cells = [name + (" alone" if name == ALONE else "")]
    for metric in TESTED:
        spread = row["metrics"][metric]
        cells.append(f"{spread['mean']:.4f} ({spread['deviation']:.4f})")
        tests = row.get("tests", {}).get(metric, {})
        share = row.get("gain_kept", {}).get(metric)
        cells.append("-" if share is None else f"{100 * share:.0f} %")
        for unit in UNITS:
            value = tests.get(unit, {}).get("holm_p_value")
            cells.append("-" if value is None else f"{value:.2g}")
        cells.append(row.get("verdict", {}).get(metric, "-"))
    for key, style in (("epochs", ".0f"), ("train_seconds", ".0f")):
        cells.append("-" if row[key] is None else format(row[key], style))
    return [*cells, str(row.get("cost_rank", "-"))]


def _validation_lines(found: Mapping[str, Any]) -> list[str]:
    rows, teacher = found["validation"]["methods"], found["validation"]
    monitor = found["monitor"]
    lines = [
        "## Validation events",
        "",
        f"The best of {found['trials']} trials each, seed {found['seed']}, by "
        f"{monitor}; no test event was asked for this table.",
        "",
    ]
    names = list(dict.fromkeys([monitor, *TESTED]))
    header = ["method", *names, "difference", "trials", "pruned"]
    header += ["epochs", "train s", "flags"]
    body = []
    if teacher["teacher"]:
        values = [f"{teacher['teacher'][name]:.4f}" for name in names]
        body.append([TEACHER, *values, *"-" * 6])
    alone = next((r["value"] for r in rows if r["method"] == ALONE), None)
    for row in rows:
        is_alone = row["method"] == ALONE
        gain = "-" if alone is None else f"{row['value'] - alone:+.4f}"
        body.append(
            [
                row["method"] + (" alone" if is_alone else ""),
                *(f"{row['validation'][name]:.4f}" for name in names),
                "-" if is_alone else gain,
                str(row["trials"]),
                str(row["pruned"]),
                str(row["epochs"]),
                f"{row['train_seconds']:.0f}",
                " ".join(_flag_lines(row["point"]).split()),
            ]
        )
    return [*lines, *_table(header, body)]


def _flag_lines(point: Mapping[str, Any]) -> str:
    return "".join(f"--{name}={value}\n" for name, value in point.items())


def _table(header: list[str], body: list[list[str]]) -> list[str]:
    rule = [":--"] + ["--:"] * (len(header) - 1)
    return [f"| {' | '.join(row)} |" for row in [header, rule, *body]]


def _csv(found: Mapping[str, Any]) -> str:
    """A line for every tested row, and for every best trial."""
    text = io.StringIO()
    seed, test = found["seed"], found["test"] or {"methods": []}
    lines = [
        {"events": "validation", "seed": seed, **row, **row["validation"]}
        for row in found["validation"]["methods"]
    ]
    tested = [test.get(TEACHER), test.get(ALONE), *test["methods"]]
    lines += [
        {"events": "test", **row, **row["metrics"]}
        for one in filter(None, tested)
        for row in one["rows"]
    ]
    columns = ["events", "method", "seed", *TESTED, "train_seconds", "epochs"]
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
