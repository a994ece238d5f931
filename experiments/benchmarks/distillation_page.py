"""The page of distillation.py, and what others have published."""

from __future__ import annotations

from collections.abc import Mapping

import common

# Seconds of an epoch in PyTorch on a CPU such as ours, on this data set and
# with these widths: research code made faster, and the authors' own.
REFERENCE_DATA = "citeulike-full"
REFERENCES = {
    "student": (0.31, 0.69),
    "rrd": (3.9, 6.0),
    "de": (19.0, 88.0),
    "htd": (128.0, 128.0),
}


def to_markdown(result: dict) -> str:
    """The result as a page."""
    return "\n".join(
        [
            "# Training steps and epochs with distillation",
            "",
            "{dataset}: {events:,} training events, {users:,} users, {items:,} "
            "items; {steps_per_epoch} steps of {batch_size} events an epoch; "
            "student {student_dim}, teacher {teacher_dim} wide, "
            "{teacher}.".format(**result["data"]),
            "",
            f"A step: {result['repeats']} turns of {result['steps']}, after "
            f"{result['warmup']} of warm-up each; data pipeline included.",
            "",
            *_step_table(result["step"]),
            "",
            "An epoch, without validation: steps times the median step, and "
            f"by the clock (median of {result['epoch_repeats']}). Published, "
            f"on {REFERENCE_DATA} alone: PyTorch on a CPU, made faster and "
            "the authors' own.",
            "",
            *_epoch_table(result["epoch"]),
            "",
            *common.table(
                ["required", "measured", "at most", "holds"],
                [
                    [
                        row["bound"],
                        _number(row["value"]),
                        f"{row['limit']:g}",
                        "yes" if row["holds"] else "NO",
                    ]
                    for row in result["bounds"]
                ],
            ),
            "",
            *common.closing(result),
        ]
    )


def _step_table(rows: Mapping[str, Mapping]) -> list[str]:
    header = "method,candidates,p50 ms,p95 ms,p99 ms,p50 / student's"
    keys = ("p50_ms", "p95_ms", "p99_ms", "ratio")
    return common.table(
        header.split(","),
        [
            [name, f"{row['candidates']:,}", *(_number(row[k]) for k in keys)]
            for name, row in rows.items()
        ],
    )


def _epoch_table(rows: Mapping[str, Mapping]) -> list[str]:
    header = (
        "method,steps x p50 s,by the clock s,/ student's,"
        "published s (faster),published s"
    )
    keys = ("steps_s", "timed_s", "ratio", "published_fast_s", "published_s")
    return common.table(
        header.split(","),
        [
            [name, *(_number(row[k]) for k in keys)]
            for name, row in rows.items()
        ],
    )


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"
