"""The plot of a comparison is drawn, and refuses nothing."""

import pytest

from kd_tfrs.errors import UserError
from kd_tfrs.evaluation import plot_comparison
from kd_tfrs.evaluation.stage_style import stage_style

METRICS = ("ndcg@20", "recall@50")


def method(name, mean, half=0.01, **verdict):
    return {
        "method": name,
        "metrics": {metric: {"mean": mean} for metric in METRICS},
        "intervals": half
        and {metric: [mean - half, mean + half] for metric in METRICS},
        "verdict": {metric: verdict.get("verdict") for metric in METRICS},
    }


def test_the_best_method_is_on_top(figures, tmp_path):
    methods = [
        method("bad", 0.1, verdict="worse"),
        method("good", 0.3, verdict="gain"),
        method("new", 0.2, half=None),
    ]
    references = {
        "teacher": dict.fromkeys(METRICS, 0.4),
        "student alone": dict.fromkeys(METRICS, 0.15),
    }
    path = tmp_path / "plot.png"
    plot_comparison(methods, references, path, metrics=METRICS, note="3 seeds")
    assert path.read_bytes().startswith(b"\x89PNG")
    panels = figures[0].axes
    assert [panel.get_title() for panel in panels] == list(METRICS)
    names = [label.get_text() for label in panels[0].get_yticklabels()]
    assert names == ["bad", "new", "good"]
    legend = {text.get_text() for text in figures[0].legends[0].get_texts()}
    assert legend == {"teacher", "student alone", "gain", "worse", "method"}
    lines = {
        line.get_color(): line.get_xdata()[0]
        for line in panels[0].get_lines()
        if line.get_label() in references
    }
    assert lines == {
        stage_style("teacher").colour: 0.4,
        stage_style("student").colour: 0.15,
    }


def test_an_axis_starts_at_0_if_not_all_methods_have_intervals(
    figures, tmp_path
):
    some = [method("one", 0.3), method("other", 0.31, half=None)]
    for methods in (some, some[:1]):
        plot_comparison(methods, {}, tmp_path / "plot.png", metrics=METRICS)
    lows = [figure.axes[0].get_xlim()[0] for figure in figures]
    assert lows[0] == 0
    assert 0.25 < lows[1] < 0.29


def test_intervals_are_drawn_of_methods_and_of_references(figures, tmp_path):
    plot_comparison(
        [method("one", 0.3, half=0.02)],
        {"teacher": dict.fromkeys(METRICS, 0.4)},
        tmp_path / "plot.png",
        metrics=METRICS,
        reference_intervals={"teacher": {"ndcg@20": [0.38, 0.43]}},
    )
    first, second = figures[0].axes
    (bar,) = first.containers[0][2]
    assert bar.get_segments()[0][:, 0] == pytest.approx([0.28, 0.32])
    (band,) = first.patches
    assert band.get_x() == pytest.approx(0.38)
    assert band.get_width() == pytest.approx(0.05)
    assert not second.patches


def test_verdicts_differ_in_more_than_colour(figures, tmp_path):
    verdicts = ("gain", "unclear", "no gain", "worse")
    methods = [
        method(verdict, 0.1 * i, verdict=verdict)
        for i, verdict in enumerate(verdicts)
    ]
    plot_comparison(methods, {}, tmp_path / "plot.png", metrics=METRICS)
    drawn = {
        container.get_label(): container[0]
        for container in figures[0].axes[0].containers
    }
    assert set(drawn) == set(verdicts)
    distilled = stage_style("distilled")
    for name in ("gain", "unclear"):
        assert drawn[name].get_color() == distilled.colour
        assert drawn[name].get_marker() == distilled.marker
    assert drawn["gain"].get_markerfacecolor() == distilled.colour
    assert drawn["unclear"].get_markerfacecolor() == "white"
    assert drawn["worse"].get_marker() != drawn["no gain"].get_marker()


def test_the_same_plot_is_the_same_file(tmp_path):
    for name in ("a.png", "b.png"):
        plot_comparison(
            [method("one", 0.1)], {}, tmp_path / name, metrics=METRICS
        )
    pictures = [(tmp_path / n).read_bytes() for n in ("a.png", "b.png")]
    assert pictures[0] == pictures[1]


def test_nothing_to_draw_is_a_mistake(tmp_path):
    with pytest.raises(UserError, match="0 and 2"):
        plot_comparison([], {}, tmp_path / "plot.png", metrics=METRICS)


def test_many_metrics_stand_three_in_a_row(figures, tmp_path):
    names = tuple("abcde")
    one = method("one", 0.1)
    one = {**one, "metrics": dict.fromkeys(names, one["metrics"]["ndcg@20"])}
    plot_comparison([one], {}, tmp_path / "plot.png", metrics=names)
    shown = [panel for panel in figures[0].axes if panel.get_visible()]
    assert [panel.get_title() for panel in shown] == list(names)
    places = [panel.get_subplotspec().colspan.start for panel in shown]
    assert places == [0, 1, 2, 0, 1]
