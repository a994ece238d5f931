"""Plots of a run, drawn without a display and without global state."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullFormatter
from scipy.optimize import isotonic_regression

from kd_tfrs.errors import UserError
from kd_tfrs.evaluation.report import Stage, format_bytes, stage_value
from kd_tfrs.evaluation.stage_style import StageStyle, stage_styles

# More panels in a row are too small to read on a page.
COLUMNS = 3
# Height of a label, in inches.
_LABEL_HEIGHT = 0.29
# Distance of two markers, as a part of the width of the axes.
_MARKER_GAP = 0.02
_SIZES = {
    "model_bytes": "model bytes",
    "size_bytes": "size",
    "size_bytes_gzip": "size, gzip",
}
Interval = tuple[float, float]


@dataclass(frozen=True)
class _Point:
    """Position and style of a stage in a plot; a line where size is None."""

    name: str
    size: float | None
    value: float
    interval: Interval | None
    style: StageStyle


def plot_stages(
    stages: Sequence[Stage],
    path: str | Path,
    *,
    metric: str = "ndcg@10",
    size: str | None = None,
) -> None:
    """Draws quality against size, one labelled point for each stage.

    The axis of the metric starts at 0; where every stage has an interval it
    may start anywhere. A stage without a size, such as a baseline, is a dotted
    line. The points of stages with equal or nearly equal sizes are drawn side
    by side.

    Args:
        stages: one dict for each stage; see `kd_tfrs.evaluation.report`.
            Intervals are under "intervals": 95 %, `[low, high]` by metric.
        path: the PNG to write.
        metric: the metric on the vertical axis.
        size: the size on the logarithmic horizontal axis: "model_bytes",
            "size_bytes_gzip", "size_bytes", "parameters" or
            "nonzero_parameters". By default model bytes where all stages
            with a size have them, else the bytes after gzip.

    Raises:
        UserError: no stage has the metric.

    Example:
    ```python
    plot_stages(json.load(open("metrics.json"))["stages"], "stages.png")
    ```
    """
    shown = [s for s in stages if stage_value(s, metric) is not None]
    if not shown:
        raise UserError(
            f"`metric` should be one that a stage has. Received: {metric!r}. "
            "Plot one of the metrics in the table."
        )
    size = size or _common_size(shown)
    points = _points(shown, metric, size)
    height = max(4.5, 0.7 + _LABEL_HEIGHT * len(points))
    figure, (axes,) = panels(1, 8, height, margin=(0, 0))
    _frame_sizes(axes, [p.size for p in points if p.size is not None], size)
    for point, x in zip(points, _places(axes, points), strict=True):
        _draw_stage(axes, point, x)
    axes.margins(y=0.08)
    if any(point.interval is None for point in points):
        start_at_zero(axes, "y")
    some = any(point.interval for point in points)
    axes.set_ylabel(f"{metric}, 95 % interval" if some else metric)
    _label_beside(axes, points, _LABEL_HEIGHT / (height - 0.7))
    save_png(figure, path)


def plot_curves(
    history: Mapping[str, Sequence[Mapping[str, float]] | Any],
    path: str | Path,
) -> None:
    """Draws learning curves: one panel for each quantity, one line by stage.

    The axis of a metric starts at 0. The axis of a loss does not, since the
    smallest possible loss is above 0 and differs between losses.

    Args:
        history: by stage, what Keras's `fit` returns, or epochs as dicts with
            "epoch" and values by name. An epoch may lack a value. A name that
            contains "loss" is a loss.
        path: the PNG to write.

    Raises:
        UserError: nothing to draw.

    Example:
    ```python
    plot_curves({"student": [{"epoch": 1, "loss": 2.0}]}, "curves.png")
    ```
    """
    history = {name: _epochs(stage) for name, stage in history.items()}
    epochs = [epoch for stage in history.values() for epoch in stage]
    names = dict.fromkeys(name for epoch in epochs for name in epoch)
    names = [name for name in names if name != "epoch"]
    if not names:
        raise UserError(
            "`history` should hold epochs with values. Received: none. Train "
            "for one epoch at least."
        )
    figure, drawn = panels(len(names))
    for panel, name in zip(drawn, names, strict=True):
        _draw_curves(panel, history, name)
    legend_below(figure, 2 * min(COLUMNS, len(names)))
    save_png(figure, path)


def _epochs(stage: Any) -> Sequence[Mapping[str, float]]:
    """The epochs of a Keras history as dicts."""
    if isinstance(stage, Sequence):
        return stage
    columns = stage.history
    return [
        {"epoch": place + 1, **dict(zip(columns, values, strict=True))}
        for place, values in enumerate(zip(*columns.values(), strict=True))
    ]


def panels(
    count: int,
    width: float = 3.6,
    height: float = 2.8,
    margin: tuple[float, float] = (0.8, 0.6),
    **shared: bool,
) -> tuple[Figure, Sequence[Axes]]:
    """A figure of panels, at most three in a row.

    Args:
        count: of the panels.
        width: of a panel, in inches.
        height: of a panel.
        margin: width and height that are added to those of the panels.
        **shared: `sharex` and `sharey`, see matplotlib.

    Returns:
        The figure, and its panels row by row.

    Example:
    >>> len(panels(4)[1])
    4
    """
    columns = min(COLUMNS, count)
    rows = math.ceil(count / columns)
    figure = Figure(
        figsize=(margin[0] + width * columns, margin[1] + height * rows),
        layout="constrained",
    )
    axes = figure.subplots(rows, columns, squeeze=False, **shared).ravel()
    for panel in axes[:count]:
        panel.grid(visible=True, color="0.92")
        panel.spines[["top", "right"]].set_visible(False)
    for panel in axes[count:]:
        panel.set_visible(False)
    return figure, axes[:count]


def legend_below(figure: Figure, columns: int, **options: Any) -> None:
    """One legend of all panels, below them.

    Args:
        figure: after all is drawn.
        columns: at most so many names stand side by side.
        **options: see `Figure.legend`.

    Example:
    ```python
    legend_below(figure, columns=6)
    ```
    """
    handles = {
        handle.get_label(): handle
        for panel in figure.axes
        for handle in panel.get_legend_handles_labels()[0]
    }
    figure.legend(
        handles.values(),
        handles.keys(),
        loc="outside lower center",
        ncols=min(columns, len(handles)),
        frameon=False,
        **options,
    )


def start_at_zero(axes: Axes, which: str) -> None:
    """Starts an axis at 0 where no value is negative.

    Args:
        axes: after all is drawn.
        which: "x" or "y".

    Example:
    ```python
    start_at_zero(axes, "y")
    ```
    """
    data = axes.dataLim
    if which == "x" and data.x0 >= 0:
        axes.set_xlim(0, 1.05 * data.x1 or 1)
    if which == "y" and data.y0 >= 0:
        axes.set_ylim(0, 1.05 * data.y1 or 1)


def _common_size(stages: Sequence[Stage]) -> str:
    """The kind of size that every stage with a size has."""
    sized = [s for s in stages if any(stage_value(s, key) for key in _SIZES)]
    everywhere = all(stage_value(stage, "model_bytes") for stage in sized)
    return "model_bytes" if sized and everywhere else "size_bytes_gzip"


def _points(stages: Sequence[Stage], metric: str, size: str) -> list[_Point]:
    """Stages with a metric, as points."""
    names = [str(stage.get("stage", "")) for stage in stages]
    styles = stage_styles(names)
    return [
        _Point(
            name,
            stage_value(stage, size) or None,
            stage_value(stage, metric),
            interval_of(stage, metric),
            styles[name],
        )
        for name, stage in zip(names, stages, strict=True)
    ]


def interval_of(row: Mapping, metric: str) -> Interval | None:
    """The 95 % interval of a metric.

    Args:
        row: holds `[low, high]` by metric under "intervals", or nothing.
        metric: its name.

    Returns:
        Both ends; None where the row does not have them.

    Example:
    >>> interval_of({"intervals": {"mrr": [0.1, 0.2]}}, "mrr")
    (0.1, 0.2)
    """
    ends = (row.get("intervals") or {}).get(metric)
    return None if ends is None or None in ends else tuple(ends)


def _places(axes: Axes, points: Sequence[_Point]) -> list[float | None]:
    """Positions on the horizontal axis, moved so that no markers overlap."""
    sized = [i for i, point in enumerate(points) if point.size is not None]
    low, high = np.log10(axes.get_xlim()) if sized else (0, 1)
    wanted = [(math.log10(points[i].size) - low) / (high - low) for i in sized]
    places: list[float | None] = [None] * len(points)
    ends = _MARKER_GAP, 1 - _MARKER_GAP
    moved = spread(np.array(wanted), _MARKER_GAP, *ends)
    for i, place in zip(sized, moved, strict=True):
        places[i] = float(10 ** (low + place * (high - low)))
    return places


def _draw_stage(axes: Axes, point: _Point, x: float | None) -> None:
    """A point, or a line without a size, with its interval."""
    style, ends = point.style, point.interval
    if x is None:
        axes.axhline(
            point.value, color=style.colour, linestyle=":", linewidth=1.2
        )
        if ends:
            axes.axhspan(*ends, color=style.colour, alpha=0.1, linewidth=0)
        return
    axes.errorbar(
        x,
        point.value,
        yerr=error_bar(point.value, ends),
        color=style.colour,
        marker=style.marker,
        markersize=8,
        linestyle="",
        elinewidth=1.2,
        capsize=3,
        zorder=3,
    )


def error_bar(value: float, ends: Interval | None) -> list[list[float]] | None:
    """Distances from a value to its interval, as matplotlib draws them.

    Args:
        value: the value, which may be outside of a percentile bootstrap
            interval.
        ends: of the interval.

    Returns:
        `[[below], [above]]`, none negative; None without an interval.

    Example:
    >>> error_bar(2.0, (1.5, 3.0))
    [[0.5], [1.0]]
    """
    if ends is None:
        return None
    return [[max(0.0, value - ends[0])], [max(0.0, ends[1] - value)]]


def _frame_sizes(axes: Axes, sizes: list[float], size: str) -> None:
    """Sets up the logarithmic axis of sizes, with room at both ends."""
    axes.set_xlabel(_SIZES.get(size, size.replace("_", " ")))
    axes.grid(visible=True, which="both", color="0.92", zorder=0)
    if not sizes:
        axes.set_xticks([])
        return
    axes.set_xscale("log")
    axes.set_xlim(min(sizes) / 2, max(sizes) * 2)
    write = format_bytes if size in _SIZES else "{:,.0f}".format
    # A decade has one major tick: name more of them where there is room.
    low, high = np.log10(axes.get_xlim())
    ticks = [
        m * 10.0**e
        for e in range(math.floor(low), math.ceil(high) + 1)
        for m in ((1, 2, 5) if high - low < 2 else (1, 3))
    ]
    axes.set_xticks([t for t in ticks if low <= math.log10(t) <= high])
    axes.xaxis.set_major_formatter(
        FuncFormatter(lambda x, _: write(x).replace(".0 ", " "))
    )
    axes.xaxis.set_minor_formatter(NullFormatter())


def _label_beside(axes: Axes, points: Sequence[_Point], gap: float) -> None:
    """Labels the points to the right of the axes, without overlap."""
    low, high = axes.get_ylim()
    wanted = np.array([(p.value - low) / (high - low) for p in points])
    heights = spread(wanted, gap, 0.0, 1.0)
    places = _places(axes, points)
    for point, x, height in zip(points, places, heights, strict=True):
        axes.annotate(
            f"{point.name} {point.value:.4f}",
            xy=(1.0 if x is None else x, point.value),
            xycoords=axes.get_yaxis_transform() if x is None else "data",
            xytext=(1.04, height),
            textcoords="axes fraction",
            va="center",
            color=point.style.colour,
            arrowprops={
                "arrowstyle": "-",
                "color": point.style.colour,
                "linewidth": 0.6,
                "alpha": 0.6,
                "relpos": (0, 0.5),
            },
        )


def spread(
    heights: np.ndarray,
    gap: float,
    low: float = -math.inf,
    high: float = math.inf,
) -> np.ndarray:
    """Moves heights apart as little as needed to keep a gap.

    Args:
        heights: [n], as parts of the axes.
        gap: smallest distance of two heights.
        low: smallest height; the gap has priority where there is no room.
        high: largest height.

    Returns:
        [n], in the same order as `heights`.

    Example:
    >>> spread(np.array([0.5, 0.5]), 0.5).tolist()
    [0.25, 0.75]
    """
    order = np.argsort(heights, kind="stable")
    steps = gap * np.arange(len(heights))
    # Keeping a gap is being ascending once the gaps are taken off; the
    # nearest ascending values are those of isotonic regression.
    moved = np.empty(len(heights))
    if len(heights):
        kept = isotonic_regression(heights[order] - steps).x
        # Clipping keeps values ascending.
        room = max(low, high - gap * (len(heights) - 1))
        moved[order] = np.clip(kept, low, room) + steps
    return moved


def _draw_curves(
    axes: Axes,
    history: Mapping[str, Sequence[Mapping[str, float]]],
    name: str,
) -> None:
    """One panel: the values of one name over the epochs."""
    styles = stage_styles(history)
    for stage, epochs in history.items():
        pairs = [(e["epoch"], e[name]) for e in epochs if name in e]
        if pairs:
            style = styles[stage]
            axes.plot(
                *zip(*pairs, strict=True),
                **style.curve(),
                markersize=4,
                markevery=max(1, len(pairs) // 12),
                label=stage,
            )
    if "loss" not in name:
        start_at_zero(axes, "y")
    axes.set_title(name, fontsize=10)
    axes.set_xlabel("epoch")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def save_png(figure: Figure, path: str | Path) -> None:
    """Writes a PNG without the version of matplotlib in its metadata.

    Example:
    ```python
    save_png(figure, "curves.png")
    ```
    """
    figure.savefig(path, format="png", dpi=144, metadata={"Software": None})
