"""Methods side by side, against the teacher and the student alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from kd_tfrs.errors import UserError

# Okabe and Ito's colours can be told apart by the colour-blind as well; the
# markers say the same without colour.
_STYLES = {
    "gain": ("#009E73", "o"),
    "unclear": ("#E69F00", "s"),
    "no gain": ("#777777", "D"),
    "worse": ("#D55E00", "v"),
    None: ("#0072B2", "o"),
}
# More panels beside each other could not be read on a page.
_COLUMNS = 3
_LINES = (("#000000", "-"), ("#CC79A7", "--"), ("#56B4E9", ":"))


def plot_comparison(
    methods: Sequence[Mapping[str, Any]],
    references: Mapping[str, Mapping[str, float]],
    path: str | Path,
    *,
    metrics: Sequence[str],
    note: str = "",
) -> None:
    """Draws the methods from the best to the worst, a panel a metric.

    Args:
        methods: one dict each: "method", "metrics" with "mean" and
            "deviation" by name, and "verdict" by name, or none.
        references: metrics by name of what is drawn as a line, such as the
            teacher and the student alone.
        path: the PNG to write.
        metrics: names; the first one gives the order.
        note: stands below, such as what the bars are.

    Raises:
        UserError: no methods or no metrics.

    Example:
    ```python
    plot_comparison(
        [{"method": "rrd",
          "metrics": {"mrr": {"mean": 0.3, "deviation": 0.01}}}],
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
    ordered = sorted(methods, key=lambda one: _mean(one, metrics[0]))
    columns = min(_COLUMNS, len(metrics))
    rows = -(-len(metrics) // columns)
    figure = Figure(
        figsize=(2.2 + 3.8 * columns, 1 + rows * (0.6 + 0.3 * len(ordered))),
        layout="constrained",
    )
    panels = figure.subplots(rows, columns, sharey=True, squeeze=False).ravel()
    for panel, metric in zip(panels, metrics, strict=False):
        _draw(panel, ordered, references, metric)
    for panel in panels[len(metrics) :]:
        panel.set_visible(False)
    panels[0].set_yticks(
        range(len(ordered)), [str(one["method"]) for one in ordered]
    )
    handles = {
        handle.get_label(): handle
        for panel in panels
        for handle in panel.get_legend_handles_labels()[0]
    }
    figure.legend(
        handles.values(),
        handles.keys(),
        loc="outside lower center",
        ncols=min(6, len(handles)),
        frameon=False,
        title=note or None,
        title_fontsize="small",
        fontsize="small",
    )
    figure.savefig(path, format="png", dpi=144, metadata={"Software": None})


def _draw(
    axes: Axes,
    methods: Sequence[Mapping[str, Any]],
    references: Mapping[str, Mapping[str, float]],
    metric: str,
) -> None:
    """One panel: a line a reference, and a point with a bar a method."""
    lines = zip(references.items(), _LINES, strict=False)
    for (name, values), (colour, style) in lines:
        axes.axvline(values[metric], color=colour, linestyle=style, label=name)
    for place, method in enumerate(methods):
        verdict = (method.get("verdict") or {}).get(metric)
        colour, marker = _STYLES[verdict]
        axes.errorbar(
            _mean(method, metric),
            place,
            xerr=method["metrics"][metric]["deviation"] or None,
            color=colour,
            marker=marker,
            linestyle="",
            capsize=3,
            label=verdict or "method",
        )
    axes.set_title(metric, fontsize=10)
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.set_ylim(-0.7, len(methods) - 0.3)
    axes.grid(visible=True, color="0.92", zorder=0)
    axes.spines[["top", "right"]].set_visible(False)


def _mean(method: Mapping[str, Any], metric: str) -> float:
    return method["metrics"][metric]["mean"]
