"""What a comparison writes down: JSON, Markdown, CSV and the chosen flags."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from kd_tfrs.workflow.retrieval.comparison_files import as_csv, plot
from kd_tfrs.workflow.retrieval.comparison_summary import (
    LEVEL,
    TEACHER,
    TESTED,
    UNITS,
    Row,
    collect,
    flag_text,
    screening,
    summarise,
)
from kd_tfrs.workflow.retrieval.contenders import ALONE
from kd_tfrs.workflow.run import Run


def write(run: Run, seeds: int, trials: int) -> dict[str, Any]:
    """Writes `comparison.json`, `.md`, `.csv`, `.png` and the chosen flags.

    Args:
        run: the comparison's.
        seeds: repeats that were asked for.
        trials: of each.

    Returns:
        What stands in `comparison.json`.
    """
    found = _found(run, seeds, trials)
    run.write_json("comparison.json", found)
    run.write_text("comparison.md", markdown(found))
    run.write_text("comparison.csv", as_csv(found))
    write_chosen(run, found)
    plot(found, run.path("comparison.png"))
    return found


def write_chosen(run: Run, found: Mapping[str, Any]) -> None:
    """Writes the flags that were chosen for each, `best/*.flags`.

    Args:
        run: the comparison's.
        found: see `write`.
    """
    chosen = [*found["validation"]["methods"]]
    if found["test"]:
        tested = (found["test"][ALONE], *found["test"]["methods"])
        chosen += [one["rows"][0] for one in tested]
    for one in chosen:
        name = f"best/{one['method'].replace(':', '=')}.flags"
        run.write_text(name, flag_lines(one["changed_flags"]))


def _found(run: Run, seeds: int, trials: int) -> dict[str, Any]:
    flat = run.config.flat()
    rows, per_user = collect(run.directory, flat)
    test = summarise(rows, per_user) if ALONE in rows else None
    return findings(
        run, rows, test, seeds, trials, run.config.evaluation.monitor
    )


def findings(
    run: Run,
    rows: Mapping[str, list[Row]],
    test: Mapping[str, Any] | None,
    seeds: int,
    trials: int,
    monitor: str,
) -> dict[str, Any]:
    """What stands in `comparison.json`.

    Args:
        run: the comparison's.
        rows: tested rows by method.
        test: their summary; `None` of a screening.
        seeds: repeats that were asked for.
        trials: of each.
        monitor: the validation metric that decided.

    Returns:
        The same with all that was asked for and where it ran.
    """
    config = run.config
    flat = config.flat()
    data = run.read_json("data.json") or {}
    return {
        "dataset": config.data.dataset,
        "seed": config.seed,
        "seeds": [row["seed"] for row in rows.get(ALONE, [])],
        "seeds_asked": seeds,
        "trials": trials,
        "monitor": monitor,
        "flags": flat,
        "environment": run.read_json("environment.json"),
        "data_fingerprint": data.get("fingerprint"),
        "validation": {
            "teacher": run.read_json(f"teachers/validation-{config.seed}.json"),
            "methods": screening(run.directory, flat),
        },
        "test": test,
    }


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
        lines += ["", *_test_lines(found), *_sampled_lines(found)]
    if found["validation"]["methods"]:
        lines += ["", *validation_lines(found)]
    return "\n".join(lines) + "\n"


def _test_lines(found: Mapping[str, Any]) -> list[str]:
    test = found["test"]
    seeds = ", ".join(map(str, found["seeds"]))
    lines = [
        "## Test events",
        "",
        f"Seeds {seeds}; mean (standard deviation over seeds). "
        f"{budget(found)} Gain kept: what part of the teacher's lead over "
        "the student alone. p: paired t-tests against the student alone over "
        "seeds and over users, after Holm's correction over all methods here "
        f"({len(test['methods'])}). A gain is one that both tests show (p < "
        f"{LEVEL}); unclear, one of them. Cost 1 is the shortest training.",
        "",
    ]
    header = ["method"]
    for metric in TESTED:
        header += [metric, "gain kept", "p seeds", "p users", "verdict"]
    header += ["epochs", "train s", "cost"]
    named = [(name, test[name]) for name in (TEACHER, ALONE)]
    named += [(one["method"], one) for one in test["methods"]]
    body = [
        _test_cells(title(name, row, found), row) for name, row in named if row
    ]
    return [*lines, *table(header, body)]


def _sampled_lines(found: Mapping[str, Any]) -> list[str]:
    """Metrics among sampled negatives, where they were asked for."""
    test, count = found["test"], found["flags"]["eval_sampled_negatives"]
    named = [(name, test[name]) for name in (TEACHER, ALONE)]
    named += [(one["method"], one) for one in test["methods"]]
    named = [(name, row) for name, row in named if row]
    names = [n for n in named[0][1]["metrics"] if n.startswith("sampled_")]
    if not names:
        return []
    body = []
    for name, row in named:
        spread = (row["metrics"][n] for n in names)
        cells = [f"{x['mean']:.4f} ({x['deviation']:.4f})" for x in spread]
        body.append([title(name, row, found), *cells])
    note = (
        f"The same lists among {count} seeded negatives for each event, only "
        "to compare with papers that sample: such figures flatter."
    )
    header = ["method", *(n.removeprefix("sampled_") for n in names)]
    return ["", note, "", *table(header, body)]


def budget(found: Mapping[str, Any]) -> str:
    """How everybody was tuned, in a sentence."""
    if found["trials"] < 2:
        return "Not tuned: the given flags, and the methods' own defaults."
    return (
        f"Tuned with {found['trials']} trials each on validation events of "
        f"seed {found['seed']}."
    )


def title(name: str, row: Row, found: Mapping[str, Any]) -> str:
    """Its name; and its seeds, where it has not had all of them."""
    title = f"{name} alone" if name == ALONE else name
    if row["seeds"] == found["seeds"]:
        return title
    return f"{title} (seeds {', '.join(map(str, row['seeds']))})"


def _test_cells(title: str, row: Row) -> list[str]:
    cells = [title]
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


def validation_lines(
    found: Mapping[str, Any], tested: Sequence[str] = TESTED
) -> list[str]:
    """The table of the best trials, by validation events alone.

    Args:
        found: see `write`.
        tested: metrics to show beside the monitored one.

    Returns:
        Lines of Markdown.
    """
    rows, teacher = found["validation"]["methods"], found["validation"]
    monitor = found["monitor"]
    lines = [
        "## Validation events",
        "",
        f"The best trial by {monitor}, seed {found['seed']}. {budget(found)} "
        "No test event was asked for this table.",
        "",
    ]
    names = list(dict.fromkeys([monitor, *tested]))
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
                " ".join(flag_lines(row["changed_flags"]).split()) or "-",
            ]
        )
    return [*lines, *table(header, body)]


def flag_lines(changes: Mapping[str, Any]) -> str:
    r"""Flags as a flag file has them.

    Args:
        changes: values by flag name.

    Returns:
        A line a flag.

    Example:
    >>> flag_lines({"distillation_losses": ["rrd:1"]})
    '--distillation_losses=rrd:1\\n'
    """
    return "".join(f"--{k}={flag_text(v)}\n" for k, v in changes.items())


def table(header: list[str], body: list[list[str]]) -> list[str]:
    """Lines of a Markdown table, numbers to the right."""
    rule = [":--"] + ["--:"] * (len(header) - 1)
    return [f"| {' | '.join(row)} |" for row in [header, rule, *body]]
