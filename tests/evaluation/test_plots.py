"""Plots of a run: what is drawn where, and that nothing overlaps."""

import itertools

import numpy as np
import pytest
import tensorflow as tf

from kd_tfrs.errors import UserError
from kd_tfrs.evaluation import plot_curves, plot_stages
from kd_tfrs.evaluation.plots import spread
from kd_tfrs.evaluation.stage_style import stage_style

STAGES = [
    {"stage": "popularity", "metrics": {"ndcg@10": 0.02}},
    {
        "stage": "teacher",
        "metrics": {"ndcg@10": 0.1, "x": None},
        "parameters": 1_000_000,
        "model_bytes": 4_000_000,
        "size_bytes_gzip": 3_000_000,
    },
    {
        "stage": "distilled",
        "metrics": {"ndcg@10": 0.09},
        "parameters": 100_000,
        "model_bytes": 40_000,
        "size_bytes_gzip": 90_000,
    },
]


def is_png(path):
    return path.read_bytes().startswith(b"\x89PNG") and (
        path.stat().st_size > 5_000
    )


def with_intervals(stages):
    """Intervals of 10 % to both sides."""
    return [
        {**s, "intervals": {"ndcg@10": [0.9 * y, 1.1 * y]}}
        for s in stages
        for y in [s["metrics"]["ndcg@10"]]
    ]


def points_of(axes):
    """Places of the points by colour."""
    return {
        container[0].get_color(): container[0].get_xydata()[0]
        for container in axes.containers
    }


def test_plots_are_written_and_repeatable(tmp_path):
    for name in ("one.png", "two.png"):
        plot_stages(STAGES, tmp_path / name)
    assert is_png(tmp_path / "one.png")
    one, two = ((tmp_path / n).read_bytes() for n in ("one.png", "two.png"))
    assert one == two
    plot_stages(STAGES[:1], tmp_path / "no_sizes.png")
    assert is_png(tmp_path / "no_sizes.png")
    with pytest.raises(UserError, match="nothing@10"):
        plot_stages(STAGES, tmp_path / "x.png", metric="nothing@10")


def test_stages_are_drawn_in_their_colours_at_their_sizes(figures, tmp_path):
    plot_stages(STAGES, tmp_path / "stages.png")
    (axes,) = figures[0].axes
    points = points_of(axes)
    for stage in STAGES[1:]:
        np.testing.assert_allclose(
            points[stage_style(stage["stage"]).colour],
            [stage["model_bytes"], stage["metrics"]["ndcg@10"]],
        )
    assert len(points) == 2
    (line,) = [line for line in axes.get_lines() if line.get_linestyle() == ":"]
    assert line.get_color() == stage_style("popularity").colour
    assert set(line.get_ydata()) == {0.02}
    labels = {text.get_text(): text.get_color() for text in axes.texts}
    assert labels["teacher 0.1000"] == stage_style("teacher").colour


def test_size_is_in_model_bytes_where_all_have_them(figures, tmp_path):
    plot_stages(STAGES, tmp_path / "stages.png")
    assert figures[0].axes[0].get_xlabel() == "model bytes"
    # A teacher of one's own has the bytes of its folder alone.
    own = {k: v for k, v in STAGES[1].items() if k != "model_bytes"}
    plot_stages([STAGES[0], own, STAGES[2]], tmp_path / "stages.png")
    assert figures[1].axes[0].get_xlabel() == "size, gzip"
    teacher = points_of(figures[1].axes[0])[stage_style("teacher").colour]
    assert teacher[0] == pytest.approx(3_000_000)
    plot_stages(STAGES, tmp_path / "stages.png", size="parameters")
    assert figures[2].axes[0].get_xlabel() == "parameters"


def test_the_metric_starts_at_0_if_not_all_have_intervals(figures, tmp_path):
    both = with_intervals(STAGES[1:])
    for stages in (STAGES[1:], [STAGES[0], *both], both):
        plot_stages(stages, tmp_path / "stages.png")
    lows = [figure.axes[0].get_ylim()[0] for figure in figures]
    assert lows[:2] == [0, 0]
    # The lowest interval ends at 0.9 * 0.09.
    assert 0.06 < lows[2] < 0.081
    names = [figure.axes[0].get_ylabel() for figure in figures]
    assert names == ["ndcg@10", *["ndcg@10, 95 % interval"] * 2]


def test_intervals_are_drawn(figures, tmp_path):
    plot_stages(with_intervals(STAGES), tmp_path / "stages.png")
    (axes,) = figures[0].axes
    bars = {
        container[0].get_color(): container[2][0].get_segments()[0][:, 1]
        for container in axes.containers
    }
    np.testing.assert_allclose(
        bars[stage_style("teacher").colour], [0.09, 0.11]
    )
    (band,) = axes.patches
    assert band.get_y() == pytest.approx(0.9 * 0.02)
    assert band.get_height() == pytest.approx(0.2 * 0.02)


def test_an_interval_without_ends_is_none(figures, tmp_path):
    stage = {**STAGES[1], "intervals": {"ndcg@10": [None, None]}}
    plot_stages([stage], tmp_path / "stages.png")
    assert figures[0].axes[0].get_ylim()[0] == 0


def test_points_of_the_same_size_stand_beside_each_other(figures, tmp_path):
    stages = [
        {**STAGES[2], "stage": name}
        for name in ("student", "distilled", "pruned", "int8")
    ]
    plot_stages([STAGES[1], *stages], tmp_path / "stages.png")
    (axes,) = figures[0].axes
    width = axes.bbox.width * 72 / figures[0].dpi
    places = sorted(
        axes.transAxes.inverted().transform(axes.transData.transform(xy))[0]
        for xy in points_of(axes).values()
    )
    # In points, as the size of a marker: 8, with a sixth less for its edges.
    assert np.diff(places).min() * width > 8 * 5 / 6
    # The middle of those that were moved is where they belong.
    exact = axes.transData.transform([40_000, 0.09])
    exact = axes.transAxes.inverted().transform(exact)[0]
    assert np.mean(places[:4]) == pytest.approx(exact)


@pytest.mark.parametrize("count", [3, 10, 25])
def test_labels_do_not_overlap(figures, tmp_path, count):
    stages = [
        {**STAGES[2], "stage": f"s{i}", "metrics": {"ndcg@10": 0.09}}
        for i in range(count)
    ]
    plot_stages([*STAGES, *stages], tmp_path / "stages.png")
    (axes,) = figures[0].axes
    figures[0].draw_without_rendering()
    # The text alone: the line to its point is part of an annotation.
    boxes = [super(type(text), text).get_window_extent() for text in axes.texts]
    boxes.sort(key=lambda box: box.y0)
    assert len(boxes) == count + 3
    for below, above in itertools.pairwise(boxes):
        assert below.y1 <= above.y0 + 1
    assert boxes[0].y0 >= 0
    assert boxes[-1].y1 <= figures[0].bbox.y1


def test_curves_are_written(figures, tmp_path):
    history = {
        "teacher": [{"epoch": e, "loss": 1 / e} for e in (1, 2, 3)],
        "distilled": [
            {"epoch": 1, "loss": 2.0, "soft": 1.0},
            {"epoch": 2, "loss": 1.0},
        ],
        "pruned": [],
    }
    plot_curves(history, tmp_path / "curves.png")
    assert is_png(tmp_path / "curves.png")
    lines = figures[0].axes[0].get_lines()
    styles = [stage_style(name) for name in ("teacher", "distilled")]
    assert [line.get_color() for line in lines] == [s.colour for s in styles]
    assert [line.get_marker() for line in lines] == [s.marker for s in styles]
    with pytest.raises(UserError, match="epochs with values"):
        plot_curves({"teacher": []}, tmp_path / "x.png")


def test_curves_of_metrics_start_at_0_and_those_of_losses_do_not(
    figures, tmp_path
):
    history = {
        "teacher": [
            {"epoch": e, "loss on labels": 5.0 - e, "auc": 0.7 + 0.01 * e}
            for e in (1, 2, 3)
        ]
    }
    plot_curves(history, tmp_path / "curves.png")
    loss, auc = figures[0].axes
    assert loss.get_ylim()[0] > 1
    assert auc.get_ylim() == (0, pytest.approx(1.05 * 0.73))


def test_plots_leave_the_state_of_pyplot_alone(tmp_path):
    import matplotlib.pyplot as plt

    plot_stages(STAGES, tmp_path / "stages.png")
    assert plt.get_fignums() == []


def test_labels_are_spread_as_little_as_needed():
    np.testing.assert_allclose(
        spread(np.array([0.9, 0.1, 0.1, 0.1]), 0.1), [0.9, 0.0, 0.1, 0.2]
    )
    moved = np.sort(spread(np.random.default_rng(0).random(9), 0.2))
    assert (np.diff(moved) > 0.2 - 1e-9).all()


def test_labels_stay_between_two_heights():
    # Three of 0.95 need 0.85, 0.95 and 1.05: all go down by 0.05.
    np.testing.assert_allclose(
        spread(np.array([0.95, 0.95, 0.95, 0.0]), 0.1, 0.0, 1.0),
        [0.8, 0.9, 1.0, 0.0],
    )
    np.testing.assert_allclose(
        spread(np.array([0.0, 0.0]), 0.1, 0.0, 1.0), [0.0, 0.1]
    )
    assert spread(np.array([]), 0.1).shape == (0,)


def test_curves_of_a_keras_history(tmp_path):
    history = tf.keras.callbacks.History()
    history.history = {"loss": [2.0, 1.0], "ndcg@10": [0.1, 0.2]}
    rows = [
        {"epoch": 1, "loss": 2.0, "ndcg@10": 0.1},
        {"epoch": 2, "loss": 1.0, "ndcg@10": 0.2},
    ]
    for name, stage in (("keras", history), ("rows", rows)):
        plot_curves({"student": stage}, tmp_path / f"{name}.png")
    one, other = (tmp_path / f"{n}.png" for n in ("keras", "rows"))
    assert one.read_bytes() == other.read_bytes()
