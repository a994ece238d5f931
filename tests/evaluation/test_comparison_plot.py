"""The plot of a comparison is drawn, and refuses nothing."""

import pytest

from kd_tfrs.errors import UserError
from kd_tfrs.evaluation import comparison_plot, plot_comparison

METRICS = ("ndcg@20", "recall@50")


def method(name, mean, deviation=0.01, **verdict):
    spread = {"mean": mean, "deviation": deviation}
    return {
        "method": name,
        "metrics": dict.fromkeys(METRICS, spread),
        "verdict": {metric: verdict.get("verdict") for metric in METRICS},
    }


@pytest.fixture
def figures(monkeypatch):
    """The figures that are drawn, to be looked at."""
    drawn = []

    class Kept(comparison_plot.Figure):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            drawn.append(self)

    monkeypatch.setattr(comparison_plot, "Figure", Kept)
    return drawn


def test_the_best_method_is_on_top(figures, tmp_path):
    methods = [
        method("bad", 0.1, verdict="worse"),
        method("good", 0.3, verdict="gain"),
        method("new", 0.2, deviation=None),
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
    lines = [
        line.get_xdata()[0]
        for line in panels[0].get_lines()
        if line.get_label() in references
    ]
    assert lines == [0.4, 0.15]


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
