"""The plots of scores are written, and their axes hold the data."""

import numpy as np
import pytest
from matplotlib.colors import to_rgba

from kd_tfrs.errors import UserError
from kd_tfrs.evaluation.ranking import (
    plot_calibration,
    plot_roc,
    plot_scores,
)
from kd_tfrs.evaluation.ranking.calibration import calibration_curve
from kd_tfrs.evaluation.ranking.metrics import auc, roc_curve
from kd_tfrs.evaluation.stage_style import stage_style


def models(size=400):
    random = np.random.default_rng(0)
    labels = random.integers(0, 2, size)
    weights = random.exponential(size=size)
    scores = {
        "teacher": random.normal(2.0 * labels - 3, 1),
        "student": np.round(random.normal(1.0 * labels - 2, 1)),
    }
    return scores, labels, weights


def is_png(path):
    return path.read_bytes().startswith(b"\x89PNG")


def lines_of(axes):
    return {
        line.get_label(): line
        for line in axes.get_lines()
        if not line.get_label().startswith("_")
    }


def test_roc_curves(figures, tmp_path):
    scores, labels, weights = models()
    path = tmp_path / "roc.png"
    plot_roc(scores, labels, path, weights=weights)
    assert is_png(path)
    (axes,) = figures[0].axes
    lines = lines_of(axes)
    for name, values in scores.items():
        line = lines[f"{name} {auc(labels, values, weights):.4f}"]
        x, y = roc_curve(labels, values, weights)
        assert line.get_color() == stage_style(name).colour
        assert line.get_marker() == stage_style(name).marker
        # Indistinguishable points may be left out; no area is lost.
        np.testing.assert_allclose(
            np.interp(x, *line.get_data()), np.interp(x, x, y), atol=2e-3
        )
        area = np.trapezoid(*line.get_data()[::-1])
        assert area == pytest.approx(auc(labels, values, weights), abs=2e-3)
    legend = [text.get_text() for text in axes.get_legend().get_texts()]
    assert legend == list(lines)


def test_curves_of_many_rows_are_thinned(figures, tmp_path):
    scores, labels, _ = models(50_000)
    plot_roc({"teacher": scores["teacher"]}, labels, tmp_path / "roc.png")
    (line,) = lines_of(figures[0].axes[0]).values()
    assert len(line.get_xdata()) <= 4002
    assert line.get_xdata()[[0, -1]].tolist() == [0, 1]
    assert line.get_ydata()[[0, -1]].tolist() == [0, 1]
    area = np.trapezoid(*line.get_data()[::-1])
    assert area == pytest.approx(auc(labels, scores["teacher"]), abs=1e-3)


@pytest.mark.parametrize("equal_mass", [False, True])
def test_calibration_curves(figures, tmp_path, equal_mass):
    logits, labels, weights = models()
    path = tmp_path / "calibration.png"
    plot_calibration(
        logits, labels, path, weights=weights, bins=8, equal_mass=equal_mass
    )
    assert is_png(path)
    (axes,) = figures[0].axes
    for name, line in lines_of(axes).items():
        curve = calibration_curve(
            labels, logits[name], weights, bins=8, equal_mass=equal_mass
        )
        np.testing.assert_array_equal(line.get_xdata(), curve.predicted)
        np.testing.assert_array_equal(line.get_ydata(), curve.observed)
        assert line.get_color() == stage_style(name).colour
        assert line.get_marker() == stage_style(name).marker
    assert list(lines_of(axes)) == list(logits)


def test_small_probabilities_fill_the_picture(figures, tmp_path):
    logits = np.random.default_rng(0).normal(-5, 0.5, 1000)
    labels = np.arange(1000) % 100 == 0
    plot_calibration({"student": logits}, labels, tmp_path / "small.png")
    (line,) = lines_of(figures[0].axes[0]).values()
    highest = max(line.get_xdata().max(), line.get_ydata().max())
    assert figures[0].axes[0].get_xlim()[1] == pytest.approx(1.1 * highest)


def test_score_distributions_of_each_class(figures, tmp_path):
    scores, labels, weights = models()
    path = tmp_path / "scores.png"
    plot_scores(scores, path, labels=labels, weights=weights, bins=20)
    assert is_png(path)
    panels = figures[0].axes
    assert [panel.get_title() for panel in panels] == list(scores)
    for panel, (name, values) in zip(panels, scores.items(), strict=True):
        colours = [patch.get_edgecolor() for patch in panel.patches]
        assert colours[1] == to_rgba(stage_style(name).colour)
        assert colours[0] != colours[1]
        for label, stairs in enumerate(panel.patches):
            heights, edges, _ = stairs.get_data()
            assert len(heights) == 20
            expected, _ = np.histogram(
                values[labels == label],
                edges,
                weights=weights[labels == label],
                density=True,
            )
            np.testing.assert_allclose(heights, expected)
    names = [text.get_text() for text in figures[0].legends[0].get_texts()]
    assert names == ["negative", "positive"]


def test_scores_without_labels_and_of_one_class(figures, tmp_path):
    scores, *_ = models()
    path = tmp_path / "scores.png"
    plot_scores(scores, path, xlabel="rating")
    assert [len(panel.patches) for panel in figures[0].axes] == [1, 1]
    assert figures[0].axes[0].get_xlabel() == "rating"
    assert not figures[0].legends
    plot_scores({"student": [1.0, 1.0]}, path, labels=[0, 0])
    heights, edges, _ = figures[1].axes[0].patches[0].get_data()
    assert (heights * np.diff(edges)).sum() == pytest.approx(1)
    assert not figures[1].axes[0].patches[1].get_data().values.any()


def test_the_same_plot_is_the_same_file(tmp_path):
    scores, labels, _ = models()
    for name in ("a.png", "b.png"):
        plot_roc(scores, labels, tmp_path / name)
    pictures = [(tmp_path / n).read_bytes() for n in ("a.png", "b.png")]
    assert pictures[0] == pictures[1]


def test_nothing_to_draw_is_a_mistake(tmp_path):
    path = tmp_path / "plot.png"
    for plot in (plot_roc, plot_calibration):
        with pytest.raises(UserError, match="one or more models"):
            plot({}, [1, 0], path)
        with pytest.raises(UserError, match="0 or 1"):
            plot({"student": [1.0, 2.0]}, [1, 2], path)
    with pytest.raises(UserError, match="one or more models"):
        plot_scores({}, path)
    with pytest.raises(UserError, match="both classes"):
        plot_roc({"student": [1.0, 2.0]}, [1, 1], path)
    with pytest.raises(UserError, match="one or more rows"):
        plot_calibration({"student": []}, [], path)
    with pytest.raises(UserError, match="one or more rows"):
        plot_scores({"student": []}, path)
    assert not path.exists()
