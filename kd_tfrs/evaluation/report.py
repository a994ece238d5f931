"""The stage table: quality, size and latency of each stage.

A stage is a dict as in `metrics.json`: "stage", "metrics" (name to value),
"kept" ("quality" and "lead": shares of the teacher's metric and of its lead
over the student alone), "parameters", "nonzero_parameters", "model_bytes",
"size_bytes", "size_bytes_gzip", "times_smaller" (than the teacher),
"times_smaller_int8" (than the teacher in 8 bits), "latency_ms" and
"latency_ms_100k" ("p50", "p95", "p99"), "times_faster" (see
`kd_tfrs.evaluation.times_faster`) and "train_seconds". A value that is
missing or None is left open in the table.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from kd_tfrs.errors import UserError
from kd_tfrs.evaluation.latency_ratio import within_noise
from kd_tfrs.evaluation.tables import (
    MISSING,
    Column,
    as_cells,
    as_markdown,
    as_text,
)

Stage = Mapping[str, Any]

METRICS = (
    "recall@10",
    "recall@50",
    "ndcg@10",
    "ndcg@20",
    "mrr",
    "coverage@10",
    "diversity@10",
)
CONSOLE_METRICS = ("recall@10", "ndcg@10")
_CONSOLE = ("kept", "lead kept", "x smaller", "x int8", "p50 ms", "x faster")
_CONSOLE_WIDTH = 100
_NAME_WIDTH = 30


def stages_markdown(
    stages: Sequence[Stage],
    *,
    metrics: Sequence[str] = METRICS,
    reference: str = "teacher",
    percentiles: Sequence[str] = ("p50",),
) -> str:
    """Writes the stage table in Markdown, with all available columns.

    The shares under "kept" have columns of their own. Where no stage has
    "kept", each value is also a percentage of the reference.

    Args:
        stages: one dict for each stage, in the order of the rows.
        metrics: names of the metrics to show.
        reference: the stage that is 100 % where no stage has "kept".
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
    base = next((s for s in stages if s.get("stage") == reference), None)
    if any(stage.get("kept") for stage in stages):
        base = None
    columns = _columns(stages, metrics, percentiles, base)
    return as_markdown(_cells(stages, columns))


def stages_text(
    stages: Sequence[Stage], *, metrics: Sequence[str] = CONSOLE_METRICS
) -> str:
    """Writes the stage table for a console, at most 100 characters wide.

    Empty columns are left out. A table that is too wide gets titles of two
    lines. If it is still too wide, columns are dropped in this order: "x int8",
    "gzip", "p50 ms", "model bytes", the metrics from the last to the second,
    "lead kept", "x faster", "x smaller", "kept". Long names of stages are
    shortened in the middle. "n.s." means that the teacher has no significant
    lead, "~1 (noise)" that two latencies differ by less than the noise.

    Args:
        stages: one dict for each stage, in the order of the rows.
        metrics: names of the metrics to show.

    Returns:
        The table, with a line break at the end.

    Raises:
        UserError: no stages.

    Example:
    >>> print(stages_text([{"stage": "student", "metrics": {"ndcg@10": 0.1},
    ...                     "kept": {"quality": 0.8, "lead": 0.0}}]), end="")
    stage    ndcg@10  kept  lead kept
    -------  -------  ----  ---------
    student   0.1000  80 %        0 %
    """
    has_bytes = any(stage_value(s, "model_bytes") is not None for s in stages)
    shown = {*metrics, *_CONSOLE, "model bytes" if has_bytes else "gzip"}
    every = _columns(stages, metrics, decimals=0)
    rows = _cells(stages, [column for column in every if column[0] in shown])
    columns = {cells[0]: list(cells) for cells in zip(*rows, strict=True)}
    columns["stage"] = [_shortened(name) for name in columns["stage"]]
    dropped = ["x int8", "gzip", "p50 ms", "model bytes", *metrics[:0:-1]]
    dropped += ["lead kept", "x faster", "x smaller", "kept"]
    lines = as_text(columns)
    # Titles of two lines come before any column is left out.
    for title in ("", *dropped):
        if max(map(len, lines)) <= _CONSOLE_WIDTH:
            break
        columns.pop(title, None)
        lines = as_text(columns, two_lines=True)
    return "".join(f"{line}\n" for line in lines)


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


def stage_value(stage: Stage, key: str) -> Any:
    """Looks up a value of a stage: a metric, a key, or a path of two keys.

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


def _column(
    title: str,
    key: str,
    write: Callable[[Any], str],
    base: Stage | None = None,
) -> Column:
    """A column of values, each with its percentage of the base."""
    whole = None if base is None else stage_value(base, key)

    def cell(stage: Stage) -> str:
        value = stage_value(stage, key)
        if value is None:
            return MISSING
        if not whole or stage is base:
            return write(value)
        return f"{write(value)} ({100 * value / whole:.1f} %)"

    return title, cell


def _columns(
    stages: Sequence[Stage],
    metrics: Sequence[str],
    percentiles: Sequence[str] = ("p50",),
    base: Stage | None = None,
    decimals: int = 1,
) -> list[Column]:
    """All columns of a table; shares of the teacher with some decimals."""
    percent = functools.partial(_percent, decimals=decimals)
    latencies = {"latency_ms": "", "latency_ms_100k": ", 100k"}
    return [
        *(_column(name, name, "{:.4f}".format, base) for name in metrics),
        _column("kept", "kept.quality", percent),
        ("lead kept", _lead_cell(stages, percent)),
        _column("parameters", "parameters", "{:,.0f}".format, base),
        _column("non-zero", "nonzero_parameters", "{:,.0f}".format, base),
        _column("model bytes", "model_bytes", format_bytes, base),
        _column("size", "size_bytes", format_bytes, base),
        _column("gzip", "size_bytes_gzip", format_bytes, base),
        _column("x smaller", "times_smaller", "{:.1f}".format),
        _column("x int8", "times_smaller_int8", "{:.1f}".format),
        *(
            _column(f"{p} ms{title}", f"{key}.{p}", _milliseconds, base)
            for key, title in latencies.items()
            for p in percentiles
        ),
        _column("x faster", "times_faster", _faster),
        _column("x faster, interval", "times_faster", _faster_interval),
        _column("train s", "train_seconds", "{:.1f}".format, base),
    ]


def _lead_cell(
    stages: Sequence[Stage], write: Callable[[float], str]
) -> Callable[[Stage], str]:
    """The share of the teacher's lead; "n.s." without a significant lead."""
    # The lead is tested against the student alone.
    is_tested = any(stage.get("stage") == "student" for stage in stages)

    def cell(stage: Stage) -> str:
        kept = stage.get("kept") or {}
        if kept.get("lead") is not None:
            return write(kept["lead"])
        measured = kept.get("quality") is not None and "lead" in kept
        return "n.s." if is_tested and measured else MISSING

    return cell


def _percent(share: float, decimals: int) -> str:
    # Adding 0 makes a 0 of -0.
    return f"{round(100 * share, decimals) + 0.0:.{decimals}f} %"


def _milliseconds(value: float) -> str:
    return f"{value:.2f}" if value >= 0.1 else f"{value:.3f}"


def _faster(ratio: Mapping[str, Any]) -> str:
    # The interval decides where the measurement did not store a decision.
    is_noise = ratio.get("within_noise")
    if within_noise(ratio) if is_noise is None else is_noise:
        return "~1 (noise)"
    return f"{ratio['ratio']:.1f}"


def _faster_interval(ratio: Mapping[str, Any]) -> str:
    if ratio.get("low") is None or ratio.get("high") is None:
        return MISSING
    return f"{ratio['low']:.1f} to {ratio['high']:.1f}"


def _cells(
    stages: Sequence[Stage], columns: Sequence[Column]
) -> list[list[str]]:
    """The header and a row of texts by stage, without empty columns."""
    if not stages:
        raise UserError(
            "`stages` should hold at least one stage. Received: none. Measure "
            "one first."
        )
    name: Column = "stage", lambda stage: str(stage.get("stage", MISSING))
    return as_cells(stages, [name, *columns])


def _shortened(name: str) -> str:
    """A name without its middle, where it is long."""
    if len(name) <= _NAME_WIDTH:
        return name
    end = (_NAME_WIDTH - 3) // 2
    return f"{name[: _NAME_WIDTH - 3 - end]}...{name[-end:]}"
