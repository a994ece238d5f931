"""The stage table: what each step cost in quality and won in size and time.

A stage is a dict as in `metrics.json`: "stage", "metrics" (name to value),
"parameters", "nonzero_parameters", "size_bytes", "size_bytes_gzip",
"latency_ms" ("p50", "p95", "p99") and "train_seconds". Whatever is missing or
None is left open in the table.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from kd_tfrs.errors import UserError

Stage = Mapping[str, Any]
# Title, key for `stage_value`, and how to write a value.
Column = tuple[str, str, Callable[[float], str]]

METRICS = (
    "recall@10",
    "recall@50",
    "ndcg@10",
    "ndcg@20",
    "mrr",
    "coverage@10",
    "diversity@10",
)
CONSOLE_METRICS = ("recall@10", "ndcg@10", "coverage@10")
_MISSING = "-"


def stages_markdown(
    stages: Sequence[Stage],
    *,
    metrics: Sequence[str] = METRICS,
    reference: str = "teacher",
    percentiles: Sequence[str] = ("p50",),
) -> str:
    """Writes the stage table in Markdown, with each value as a part of 100 %.

    Args:
        stages: one dict a stage, in the order of the rows.
        metrics: names of the metrics to show.
        reference: the stage that is 100 %.
        percentiles: of the latency.

    Returns:
        The table, with a line break at the end.

    Raises:
        UserError: no stages.

    Example:
    >>> print(stages_markdown([{"stage": "teacher", "metrics": {"mrr": 0.5}}],
    ...                       metrics=["mrr"]).splitlines()[-1])
    | teacher | 0.5000 |
    """
    columns = _full_columns(metrics, percentiles)
    header, *rows = _cells(stages, columns, reference)
    rule = [":--"] + ["--:"] * (len(header) - 1)
    return "".join(f"| {' | '.join(row)} |\n" for row in [header, rule, *rows])


def stages_text(
    stages: Sequence[Stage],
    *,
    metrics: Sequence[str] = CONSOLE_METRICS,
    reference: str = "teacher",
) -> str:
    """Writes the stage table for a console, in aligned columns.

    Args:
        stages: one dict a stage, in the order of the rows.
        metrics: names of the metrics to show.
        reference: the stage that is 100 %.

    Returns:
        The table, with a line break at the end.

    Raises:
        UserError: no stages.

    Example:
    >>> stages_text([{"stage": "teacher", "metrics": {}}]).split()[0]
    'stage'
    """
    rows = _cells(stages, _short_columns(metrics), reference)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    rows.insert(1, ["-" * width for width in widths])
    return "".join(
        "  ".join(
            cell.rjust(width) if i else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        + "\n"
        for row in rows
    )


def format_bytes(count: float) -> str:
    """Writes a number of bytes with a decimal unit.

    Args:
        count: bytes.

    Returns:
        Such as "1.5 MB".

    Example:
    >>> format_bytes(1_500_000)
    '1.5 MB'
    """
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{count:.0f} B" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} GB"


def stage_value(stage: Stage, key: str) -> float | None:
    """Looks a value up in a stage: a metric, a key, or "latency_ms.p50".

    Args:
        stage: the dict of the stage.
        key: name of the value; a metric of that name comes first.

    Returns:
        The value; None where the stage does not have it.

    Example:
    >>> stage_value({"latency_ms": {"p50": 1.5}}, "latency_ms.p50")
    1.5
    """
    metrics = stage.get("metrics") or {}
    if key in metrics:
        return metrics[key]
    outer, _, inner = key.partition(".")
    value = stage.get(outer)
    return (value or {}).get(inner) if inner else value


def _full_columns(
    metrics: Sequence[str], percentiles: Sequence[str] = ("p50",)
) -> list[Column]:
    """Everything that is known of a stage."""
    return [
        *((name, name, "{:.4f}".format) for name in metrics),
        ("parameters", "parameters", "{:,.0f}".format),
        ("non-zero", "nonzero_parameters", "{:,.0f}".format),
        ("size", "size_bytes", format_bytes),
        ("gzip", "size_bytes_gzip", format_bytes),
        *((f"{p} ms", f"latency_ms.{p}", "{:.2f}".format) for p in percentiles),
        ("train s", "train_seconds", "{:.1f}".format),
    ]


def _short_columns(metrics: Sequence[str]) -> list[Column]:
    """What fits into the width of a console."""
    full = _full_columns(metrics)
    return [
        column
        for column in full
        if column[0] not in ("parameters", "size", "train s")
    ]


def _cells(
    stages: Sequence[Stage], columns: Sequence[Column], reference: str
) -> list[list[str]]:
    """The header and one row of texts a stage."""
    if not stages:
        raise UserError(
            "`stages` should hold at least one stage. Received: none. Measure "
            "one first."
        )
    columns = [
        column
        for column in columns
        if any(stage_value(stage, column[1]) is not None for stage in stages)
    ]
    base = next((s for s in stages if s.get("stage") == reference), None)
    rows = [["stage", *(title for title, _, _ in columns)]]
    for stage in stages:
        row = [_cell(stage, base, key, write) for _, key, write in columns]
        rows.append([str(stage.get("stage", _MISSING)), *row])
    return rows


def _cell(
    stage: Stage,
    base: Stage | None,
    key: str,
    write: Callable[[float], str],
) -> str:
    """One value, and in brackets what part of the reference it is."""
    value = stage_value(stage, key)
    if value is None:
        return _MISSING
    whole = None if base is None else stage_value(base, key)
    if not whole or stage is base:
        return write(value)
    return f"{write(value)} ({100 * value / whole:.1f} %)"
