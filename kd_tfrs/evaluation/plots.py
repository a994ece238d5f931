"""Plots of a run, drawn without a display and without global state."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullFormatter

from kd_tfrs.errors import UserError
from kd_tfrs.evaluation.report import Stage, format_bytes, stage_value

# Okabe and Ito's colours can be told apart by the colour-blind as well.
COLOURS = (
    "#0072B2",
    "#E69F00",
    "#009E73",
    "#D55E00",
    "#CC79A7",
    "#56B4E9",
    "#000000",
)
_MARKERS = "osD^vP*"
# Distance of two labels, as a part of the height of the axes.
_LABEL_GAP = 0.075


def plot_stages(
    stages: Sequence[Stage],
    path: str | Path,
    *,
    metric: str = "ndcg@10",
    size: str = "size_bytes_gzip",
) -> None:
    """Draws quality against size, one labelled point a stage.

    A stage that has no size, such as a baseline, is a dotted line.

    Args:
        stages: one dict a stage; see `kd_tfrs.evaluation.report`.
        path: the PNG to write.
        metric: what is up.
        size: what is to the right, on a logarithmic axis: "size_bytes_gzip",
            "size_bytes", "parameters" or "nonzero_parameters".

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
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.subplots()
    points = [
        _draw_stage(axes, i, s, metric, size) for i, s in enumerate(shown)
    ]
    _frame_sizes(axes, [x for x, _ in points if x is not None], size)
    axes.set_ylabel(metric)
    axes.margins(y=0.15)
    _label_beside(axes, shown, points)
    save_png(figure, path)


def plot_curves(
    history: Mapping[str, Sequence[Mapping[str, float]]], path: str | Path
) -> None:
    """Draws learning curves: a panel a quantity, a line a stage.

    Args:
        history: for each stage its epochs, as dicts with "epoch" and values
            by name; an epoch may lack a value.
        path: the PNG to write.

    Raises:
        UserError: nothing to draw.

    Example:
    ```python
    plot_curves({"student": [{"epoch": 1, "loss": 2.0}]}, "curves.png")
    ```
    """
    epochs = [epoch for stage in history.values() for epoch in stage]
    names = dict.fromkeys(name for epoch in epochs for name in epoch)
    names = [name for name in names if name != "epoch"]
    if not names:
        raise UserError(
            "`history` should hold epochs with values. Received: none. Train "
            "for one epoch at least."
        )
    columns = min(3, len(names))
    rows = math.ceil(len(names) / columns)
    figure = Figure(
        figsize=(0.8 + 3.6 * columns, 0.6 + 2.8 * rows), layout="constrained"
    )
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    for panel, name in zip(panels, names, strict=False):
        _draw_curves(panel, history, name)
    for panel in panels[len(names) :]:
        panel.set_axis_off()
    lines = {line.get_label(): line for p in panels for line in p.get_lines()}
    figure.legend(
        lines.values(),
        lines.keys(),
        loc="outside lower center",
        ncols=min(6, len(lines)),
        frameon=False,
    )
    save_png(figure, path)


def _draw_stage(
    axes: Axes, place: int, stage: Stage, metric: str, size: str
) -> tuple[float | None, float]:
    """Draws a point, or a line without a size; returns where."""
    x, y = stage_value(stage, size), stage_value(stage, metric)
    colour = COLOURS[place % len(COLOURS)]
    if x:
        marker = _MARKERS[place % len(_MARKERS)]
        axes.plot(x, y, marker, color=colour, markersize=8, zorder=3)
    else:
        axes.axhline(y, color=colour, linestyle=":", linewidth=1.2)
    return (x or None), y


def _frame_sizes(axes: Axes, sizes: list[float], size: str) -> None:
    """Sets up the logarithmic axis of sizes, with room at both ends."""
    titles = {"size_bytes": "size", "size_bytes_gzip": "size, gzip"}
    axes.set_xlabel(titles.get(size, size.replace("_", " ")))
    axes.grid(visible=True, which="both", color="0.92", zorder=0)
    axes.spines[["top", "right"]].set_visible(False)
    if not sizes:
        axes.set_xticks([])
        return
    axes.set_xscale("log")
    axes.set_xlim(min(sizes) / 2, max(sizes) * 2)
    write = format_bytes if size in titles else "{:,.0f}".format
    # Less than a decade has few major ticks: name 1, 2 and 5 of each.
    low, high = np.log10(axes.get_xlim())
    ticks = [
        m * 10.0**e
        for e in range(math.floor(low), math.ceil(high) + 1)
        for m in ((1, 2, 5) if high - low < 2.5 else (1,))
    ]
    axes.set_xticks([t for t in ticks if low <= math.log10(t) <= high])
    axes.xaxis.set_major_formatter(
        FuncFormatter(lambda x, _: write(x).replace(".0 ", " "))
    )
    axes.xaxis.set_minor_formatter(NullFormatter())


def _label_beside(
    axes: Axes,
    stages: Sequence[Stage],
    points: list[tuple[float | None, float]],
) -> None:
    """Names the points to the right of the axes, where names never overlap."""
    low, high = axes.get_ylim()
    heights = np.array([(y - low) / (high - low) for _, y in points])
    for i, height in enumerate(spread(heights, _LABEL_GAP)):
        x, y = points[i]
        axes.annotate(
            f"{stages[i].get('stage', '')} {y:.4f}",
            xy=(1.0, y) if x is None else (x, y),
            xycoords=axes.get_yaxis_transform() if x is None else "data",
            xytext=(1.04, height),
            textcoords="axes fraction",
            va="center",
            color=COLOURS[i % len(COLOURS)],
            arrowprops={
                "arrowstyle": "-",
                "color": COLOURS[i % len(COLOURS)],
                "linewidth": 0.6,
                "alpha": 0.6,
                "relpos": (0, 0.5),
            },
        )


def spread(heights: np.ndarray, gap: float) -> np.ndarray:
    """Moves heights apart as little as needed to keep a gap.

    Args:
        heights: [n], as parts of the axes.
        gap: smallest distance of two.

    Returns:
        [n], in the same order as `heights`.

    Example:
    >>> spread(np.array([0.5, 0.5]), 0.5).tolist()
    [0.25, 0.75]
    """
    order = np.argsort(heights, kind="stable")
    steps = gap * np.arange(len(heights))
    # Keeping a gap is being ascending once the gaps are taken off; the
    # nearest ascending values are the means of blocks (isotonic regression).
    blocks: list[list[float]] = []
    for value in heights[order] - steps:
        blocks.append([value])
        while len(blocks) > 1 and np.mean(blocks[-2]) >= np.mean(blocks[-1]):
            blocks[-2].extend(blocks.pop())
    moved = np.empty(len(heights))
    moved[order] = np.concatenate(
        [np.full(len(block), np.mean(block)) for block in blocks]
    )
    moved[order] += steps
    return moved


def _draw_curves(
    axes: Axes,
    history: Mapping[str, Sequence[Mapping[str, float]]],
    name: str,
) -> None:
    """One panel: the values of one name over the epochs."""
    for i, (stage, epochs) in enumerate(history.items()):
        pairs = [(e["epoch"], e[name]) for e in epochs if name in e]
        if pairs:
            axes.plot(
                *zip(*pairs, strict=True),
                color=COLOURS[i % len(COLOURS)],
                marker="." if len(pairs) < 40 else "",
                linewidth=1.5,
                label=stage,
            )
    axes.set_title(name, fontsize=10)
    axes.set_xlabel("epoch")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(visible=True, color="0.92")
    axes.spines[["top", "right"]].set_visible(False)


def save_png(figure: Figure, path: str | Path) -> None:
    """Writes a PNG that depends on the figure alone, not on versions.

    Args:
        figure: what was drawn.
        path: the PNG to write.

    Example:
    ```python
    save_png(figure, "curves.png")
    ```
    """
    figure.savefig(path, format="png", dpi=144, metadata={"Software": None})
