"""What each stage of a run keeps of the teacher, and what it saves."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from kd_tfrs.evaluation.lead import lead_kept, quality_kept

Row = dict[str, Any]


def with_ratios(
    rows: Sequence[Mapping[str, Any]],
    *,
    metric: str,
    p_value: float | None,
    is_error: bool = False,
    teacher: str = "teacher",
    alone: str = "student",
    baselines: Collection[str] = (),
) -> list[Row]:
    """Rows of the stage table with their shares of the teacher.

    Args:
        rows: of stages, with `metrics` and, where it is known, `model_bytes`;
            that of the teacher also with `model_bytes_int8`.
        metric: the headline metric.
        p_value: of a paired test of the teacher against the student alone;
            `None` where there was none.
        is_error: whether less of the metric is better.
        teacher: name of the teacher's stage.
        alone: name of the stage of the student alone.
        baselines: names of stages that are no students.

    Returns:
        Copies of the rows with `kept` ("quality" and "lead", see
        `quality_kept` and `lead_kept`), `times_smaller` and
        `times_smaller_int8`; each is `None` where it does not apply. A
        baseline has no share of the lead.

    Example:
    >>> rows = [
    ...     {"stage": "teacher", "metrics": {"auc": 0.8}, "model_bytes": 800},
    ...     {"stage": "int8", "metrics": {"auc": 0.76}, "model_bytes": 100},
    ... ]
    >>> small = with_ratios(rows, metric="auc", p_value=None)[1]
    >>> small["times_smaller"], round(small["kept"]["quality"], 2)
    (8.0, 0.95)
    """
    named = {row["stage"]: row for row in rows}
    whole = named.get(teacher, {})
    reference, base = (
        (named.get(n) or {}).get("metrics", {}).get(metric)
        for n in (teacher, alone)
    )
    found = []
    for row in rows:
        value = row["metrics"].get(metric)
        quality = None if is_error else quality_kept(value, reference)
        lead = lead_kept(value, base, reference, p_value, is_error=is_error)
        kept = {"quality": quality, "lead": lead}
        if row["stage"] == teacher:
            kept = {"quality": None, "lead": None}
        elif row["stage"] in baselines:
            del kept["lead"]
        size = None if row["stage"] == teacher else row.get("model_bytes")
        found.append(
            {
                **row,
                "kept": kept,
                "times_smaller": _ratio(whole.get("model_bytes"), size),
                "times_smaller_int8": _ratio(
                    whole.get("model_bytes_int8"), size
                ),
            }
        )
    return found


def _ratio(whole: float | None, part: float | None) -> float | None:
    return whole / part if whole and part else None
