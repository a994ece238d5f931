"""Plots of scored impressions, for several models in one figure."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from kd_tfrs.errors import UserError
from kd_tfrs.evaluation.plots import COLUMNS, panels, save_png
from kd_tfrs.evaluation.ranking.calibration import calibration_curve
from kd_tfrs.evaluation.ranking.metrics import auc, roc_curve
from kd_tfrs.evaluation.ranking.scored_rows import (
    ScoredRows,
    check_binary,
    scored_rows,
)
from kd_tfrs.evaluation.stage_style import StageStyle, stage_styles

_NEGATIVE, _POSITIVE = "0.75", "0.25"
# A curve has at most twice this number of points, beyond the resolution.
_STEPS = 1000


def plot_roc(
    scores: Mapping[str, Any],
    labels: Any,
    path: str | Path,
    *,
    weights: Any = None,
) -> None:
    """Draws ROC curves, one line for each model, with the AUC.

    Args:
        scores: scores [n] by model.
        labels: [n], 0 or 1.
        path: the PNG to write.
        weights: [n], at least 0; ones by default.

    Raises:
        UserError: no model, shapes that do not fit, or labels of one class.

    Example:
    ```python
    plot_roc({"teacher": teacher, "student": student}, labels, "roc.png")
    ```
    """
    figure, axes = _square(scores, "false positive rate", "true positive rate")
    styles = stage_styles(scores)
    for place, (name, values) in enumerate(scores.items()):
        curve = roc_curve(labels, values, weights)
        if curve is None:
            raise UserError(
                "`labels` should hold both classes. Received: one only. A "
                "curve needs a positive and a negative row of some weight."
            )
        axes.plot(
            *_thinned(*curve),
            **styles[name].curve(),
            markersize=5,
            # Shifted, so that markers of similar curves do not overlap.
            markevery=(0.1 + 0.2 * place / len(scores), 0.2),
            label=f"{name} {auc(labels, values, weights):.4f}",
        )
    axes.legend(loc="lower right", frameon=False, title="AUC")
    save_png(figure, path)


def plot_calibration(
    logits: Mapping[str, Any],
    labels: Any,
    path: str | Path,
    *,
    weights: Any = None,
    bins: int = 15,
    equal_mass: bool = True,
) -> None:
    """Draws the share of positives over the probability, by model.

    Args:
        logits: logits [n] by model.
        labels: [n], 0 or 1.
        path: the PNG to write.
        weights: [n], at least 0; ones by default.
        bins: largest number of points of a line.
        equal_mass: whether bins have the same weight; otherwise they have the
            same width.

    Raises:
        UserError: no model, no row, shapes that do not fit, or labels that
            are not 0 or 1.

    Example:
    ```python
    plot_calibration({"student": student}, labels, "calibration.png")
    ```
    """
    figure, axes = _square(logits, "mean probability", "share of positives")
    highest, styles = 0.0, stage_styles(logits)
    for name, values in logits.items():
        curve = calibration_curve(
            labels, values, weights, bins=bins, equal_mass=equal_mass
        )
        _check_rows(len(curve.weights))
        axes.plot(
            curve.predicted,
            curve.observed,
            **styles[name].curve(),
            markersize=4,
            label=name,
        )
        highest = max(highest, curve.predicted.max(), curve.observed.max())
    # Probabilities of clicks are small, so the axes end at the largest value.
    limit = min(1.0, 1.1 * highest) or 1.0
    axes.set(xlim=(0, limit), ylim=(0, limit))
    axes.legend(frameon=False)
    save_png(figure, path)


def plot_scores(
    scores: Mapping[str, Any],
    path: str | Path,
    *,
    labels: Any = None,
    weights: Any = None,
    bins: int = 50,
    xlabel: str = "logit",
) -> None:
    """Draws the distribution of scores, one panel for each model.

    Args:
        scores: scores [n] by model.
        path: the PNG to write.
        labels: [n], 0 or 1, to draw each class separately; by default one
            distribution for all rows, as for ratings.
        weights: [n], at least 0; ones by default.
        bins: number of bars across the common range of all models.
        xlabel: name of the scores.

    Raises:
        UserError: no model, no row, shapes that do not fit, or labels that
            are not 0 or 1.

    Example:
    ```python
    plot_scores({"student": student}, "scores.png", labels=labels)
    ```
    """
    _check_models(scores)
    rows = {
        name: _rows(labels, values, weights) for name, values in scores.items()
    }
    everything = np.concatenate([scored.scores for scored in rows.values()])
    _check_rows(len(everything))
    edges = np.histogram_bin_edges(everything, bins)
    figure, drawn = panels(len(rows), sharex=True, sharey=True)
    styles = stage_styles(rows)
    for panel, (name, scored) in zip(drawn, rows.items(), strict=True):
        _draw_scores(panel, scored, edges, styles[name], labels is not None)
        panel.set_title(name, fontsize=10)
        panel.set_xlabel(xlabel)
    for panel in drawn[::COLUMNS]:
        panel.set_ylabel("density")
    if labels is not None:
        figure.legend(
            [Patch(color=_NEGATIVE), Line2D([], [], color=_POSITIVE)],
            ["negative", "positive"],
            loc="outside lower center",
            ncols=2,
            frameon=False,
        )
    save_png(figure, path)


def _rows(labels: Any, scores: Any, weights: Any) -> ScoredRows:
    """Checked rows; all of class 0 where there are no labels."""
    if labels is None:
        labels = np.zeros(len(scores))
    rows = scored_rows(labels, scores, weights)
    check_binary(rows)
    return rows


def _draw_scores(
    axes: Axes,
    rows: ScoredRows,
    edges: np.ndarray,
    style: StageStyle,
    classes: bool,
) -> None:
    """One panel: the density of each class, or of all."""
    # With two classes, the positive class has the model's colour.
    drawn = [(_NEGATIVE, True)] if classes else [(style.colour, True)]
    drawn += [(style.colour, False)] if classes else []
    for label, (colour, fill) in enumerate(drawn):
        part = rows.take(rows.labels == label)
        heights, _ = np.histogram(part.scores, edges, weights=part.weights)
        # Density: the area of each class is 1, however rare it is.
        total = max(heights.sum(), np.finfo(float).tiny)
        axes.stairs(
            heights / total / np.diff(edges),
            edges,
            color=colour,
            fill=fill,
            linewidth=1.5,
        )
    # The bars are drawn above the grid.
    axes.set_axisbelow(True)


def _square(
    models: Mapping[str, Any], xlabel: str, ylabel: str
) -> tuple[Figure, Axes]:
    """A square with its diagonal, for lines of models."""
    _check_models(models)
    figure, (axes,) = panels(1, 5, 4.8, margin=(0, 0))
    axes.axline((0, 0), slope=1, color="0.6", linestyle=":", linewidth=1.2)
    axes.set(xlabel=xlabel, ylabel=ylabel, xlim=(0, 1), ylim=(0, 1))
    axes.set_aspect("equal")
    return figure, axes


def _thinned(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Leaves out points that are indistinguishable from the previous one."""
    cells = np.floor(x * _STEPS) * (_STEPS + 1) + np.floor(y * _STEPS)
    kept = np.append(True, cells[1:] != cells[:-1])
    # Points before a jump are kept, so that the line keeps its shape.
    kept[:-1] |= kept[1:]
    kept[-1] = True
    return x[kept], y[kept]


def _check_models(models: Mapping[str, Any]) -> None:
    if not models:
        raise UserError(
            "A plot should show one or more models. Received: none. Give "
            "their scores by name."
        )


def _check_rows(count: int) -> None:
    if not count:
        raise UserError(
            "A plot should show one or more rows. Received: none of positive "
            "weight. Give the held-out rows."
        )
