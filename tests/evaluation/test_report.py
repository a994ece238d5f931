import numpy as np
import pytest

from kd_tfrs.errors import UserError
from kd_tfrs.evaluation import (
    plot_curves,
    plot_stages,
    stages_markdown,
    stages_text,
)
from kd_tfrs.evaluation.plots import spread
from kd_tfrs.evaluation.report import format_bytes, stage_value

STAGES = [
    {"stage": "popularity", "metrics": {"recall@10": 0.05, "ndcg@10": 0.02}},
    {
        "stage": "teacher",
        "metrics": {"recall@10": 0.2, "ndcg@10": 0.1, "x": None},
        "parameters": 1_000_000,
        "nonzero_parameters": 1_000_000,
        "size_bytes": 4_000_000,
        "size_bytes_gzip": 3_000_000,
        "latency_ms": {"p50": 2.0, "p95": 3.0, "p99": 4.0},
        "train_seconds": 60.0,
    },
    {
        "stage": "pruned",
        "metrics": {"recall@10": 0.15, "ndcg@10": 0.09},
        "parameters": 100_000,
        "nonzero_parameters": 20_000,
        "size_bytes": 400_000,
        "size_bytes_gzip": 90_000,
        "latency_ms": {"p50": 1.0},
        "train_seconds": None,
    },
]


def test_markdown_shows_each_stage_as_a_part_of_the_teacher():
    lines = stages_markdown(STAGES).splitlines()
    assert lines[0].startswith("| stage | recall@10 | ndcg@10 | parameters |")
    assert len({line.count("|") for line in lines}) == 1
    assert "| 0.2000 | 0.1000 | 1,000,000 |" in lines[3]
    assert "0.1500 (75.0 %)" in lines[4]
    assert "20,000 (2.0 %)" in lines[4]
    assert "90.0 kB (3.0 %)" in lines[4]
    assert lines[4].endswith("| 1.00 (50.0 %) | - |")
    assert lines[2].startswith("| popularity | 0.0500 (25.0 %) |")


def test_text_is_aligned_and_has_no_column_that_nobody_fills():
    lines = stages_text(STAGES).splitlines()
    assert "coverage@10" not in lines[0]
    assert lines[1].startswith("-" * len("popularity") + "  ")
    end = lines[0].index("recall@10") + len("recall@10")
    assert lines[3][:end].endswith(" 0.2000")
    assert max(map(len, lines)) <= 100


def test_without_a_teacher_there_is_no_percentage():
    assert "%" not in stages_text(STAGES[:1])
    assert "(" not in stages_markdown(STAGES[2:])


def test_a_teacher_of_zero_gives_no_percentage():
    stages = [
        {"stage": "teacher", "metrics": {"mrr": 0.0}},
        {"stage": "student", "metrics": {"mrr": 0.1}},
    ]
    assert "| student | 0.1000 |" in stages_markdown(stages)


def test_no_stages_are_told():
    with pytest.raises(UserError, match="at least one stage"):
        stages_markdown([])


def test_bytes_and_values():
    assert format_bytes(999) == "999 B"
    assert format_bytes(1_500) == "1.5 kB"
    assert format_bytes(2_340_000_000_000) == "2340.0 GB"
    assert stage_value(STAGES[1], "latency_ms.p95") == 3.0
    assert stage_value(STAGES[0], "latency_ms.p95") is None
    assert stage_value(STAGES[1], "x") is None


def is_png(path):
    return path.read_bytes().startswith(b"\x89PNG") and (
        path.stat().st_size > 5_000
    )


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


def test_curves_are_written(tmp_path):
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
    with pytest.raises(UserError, match="epochs with values"):
        plot_curves({"teacher": []}, tmp_path / "x.png")


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
