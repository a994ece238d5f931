"""Methods side by side, against the teacher and the student alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from kd_tfrs.errors import UserError
from kd_tfrs.evaluation.plots import (
    error_bar,
    interval_of,
    legend_below,
    panels,
    save_png,
    start_at_zero,
)
from kd_tfrs.evaluation.stage_style import stage_style, stage_styles

# All methods are distilled students, with the colour and marker of that stage
# in all plots; fill, grey colour and turned markers show the verdict.
_DISTILLED = stage_style("distilled")
_GREY = "#777777"
_VERDICTS = {
    None: (_DISTILLED.colour, _DISTILLED.marker, True),
    "gain": (_DISTILLED.colour, _DISTILLED.marker, True),
    "unclear": (_DISTILLED.colour, _DISTILLED.marker, False),
    "no gain": (_GREY, _DISTILLED.marker, False),
    "worse": (_GREY, "v", True),
}
_LINES = ("-", "--", ":")


def plot_comparison(
    methods: Sequence[Mapping[str, Any]],
    references: Mapping[str, Mapping[str, float]],
    path: str | Path,
    *,
    metrics: Sequence[str],
    note: str = "",
    reference_intervals: Mapping[str, Mapping[str, Any]] | None = None,
) -> None:
    """Draws the methods from best to worst, one panel for each metric.

    An axis starts at 0, or at any value where all methods have an interval.

    Args:
        methods: one dict for each method: "method", "metrics" with "mean" by
            name, and optionally "intervals" with 95 % `[low, high]` by name
            and "verdict" by name.
        references: metrics by name of the models that are drawn as lines,
            such as the teacher and the student alone.
        path: the PNG to write.
        metrics: names of the metrics. The first metric orders the methods.
        note: text below the plot, for example what the bars are.
        reference_intervals: `[low, high]` by metric of references, drawn as
            bands.

    Raises:
        UserError: no methods or no metrics.

    Example:
    ```python
    plot_comparison(
        [{"method": "rrd",
          "metrics": {"mrr": {"mean": 0.3}},
          "intervals": {"mrr": [0.28, 0.32]}}],
        {"student alone": {"mrr": 0.2}},
        "comparison.png",
        metrics=["mrr"],
    )
    ```
    """
    if not methods or not metrics:
        raise UserError(
            "`methods` and `metrics` should each hold one or more. Received: "
            f"{len(methods)} and {len(metrics)}. Compare a method first."
        )
    ordered = sorted(methods, key=lambda row: _mean(row, metrics[0]))
    figure, drawn = panels(
        len(metrics),
        width=3.8,
        height=0.6 + 0.3 * len(ordered),
        margin=(2.2, 1),
        sharey=True,
    )
    for panel, metric in zip(drawn, metrics, strict=True):
        _draw_references(panel, references, reference_intervals or {}, metric)
        _draw_methods(panel, ordered, metric)
    drawn[0].set_yticks(
        range(len(ordered)), [str(row["method"]) for row in ordered]
    )
    legend_below(
        figure,
        6,
        title=note or None,
        title_fontsize="small",
        fontsize="small",
    )
    save_png(figure, path)


def _draw_references(
    axes: Axes,
    references: Mapping[str, Mapping[str, float]],
    intervals: Mapping[str, Mapping[str, Any]],
    metric: str,
) -> None:
    """A line a reference, with its interval as a band."""
    styles = stage_styles(references)
    for place, (name, values) in enumerate(references.items()):
        colour = styles[name].colour
        axes.axvline(
            values[metric],
            color=colour,
            linestyle=_LINES[place % len(_LINES)],
            label=name,
        )
        ends = interval_of({"intervals": intervals.get(name)}, metric)
        if ends:
            axes.axvspan(*ends, color=colour, alpha=0.12, linewidth=0)


def _draw_methods(
    axes: Axes, methods: Sequence[Mapping[str, Any]], metric: str
) -> None:
    """One panel: a point with a bar a method."""
    for place, method in enumerate(methods):
        verdict = (method.get("verdict") or {}).get(metric)
        colour, marker, filled = _VERDICTS[verdict]
        mean = _mean(method, metric)
        axes.errorbar(
            mean,
            place,
            xerr=error_bar(mean, interval_of(method, metric)),
            color=colour,
            marker=marker,
            markerfacecolor=colour if filled else "white",
            linestyle="",
            capsize=3,
            label=verdict or "method",
        )
    if any(interval_of(method, metric) is None for method in methods):
        start_at_zero(axes, "x")
    axes.set_title(metric, fontsize=10)
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.set_ylim(-0.7, len(methods) - 0.3)


def _mean(method: Mapping[str, Any], metric: str) -> float:
    return method["metrics"][metric]["mean"]
