"""Tables of stages: what stands in a cell, and how wide a table is."""

import pytest

from kd_tfrs.errors import UserError
from kd_tfrs.evaluation import stages_markdown, stages_text
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


def test_text_is_aligned_and_has_no_empty_column():
    lines = stages_text(STAGES).splitlines()
    assert lines[0].split() == [
        *("stage", "recall@10", "ndcg@10", "gzip", "p50", "ms")
    ]
    assert lines[1].startswith("-" * len("popularity") + "  ")
    end = lines[0].index("recall@10") + len("recall@10")
    assert lines[3][:end].endswith(" 0.2000")
    # No percentages in brackets: what is kept has columns of its own.
    assert "%" not in "".join(lines)


def test_without_a_teacher_there_is_no_percentage():
    assert "(" not in stages_markdown(STAGES[2:])


def kept_stage(stage, quality, lead, **more):
    """A stage with all columns; times are against a teacher of 64 kB."""
    return {
        "stage": stage,
        "metrics": {"recall@10": 0.2, "ndcg@10": 0.1 * quality},
        "kept": {"quality": quality, "lead": lead},
        "parameters": 4_000,
        "nonzero_parameters": 4_000,
        "model_bytes": 16_000,
        "size_bytes": 120_000,
        "size_bytes_gzip": 60_000,
        "times_smaller": 4.0,
        "times_smaller_int8": 1.0,
        "latency_ms": {"p50": 0.04, "p99": 0.2},
        "latency_ms_100k": {"p50": 3.0, "p99": 4.0},
        "times_faster": {"ratio": 9.04, "low": 8.71, "high": 9.35},
        "train_seconds": 30.0,
        **more,
    }


def cells_of(stages, **options):
    """Rows of a console table as dicts by title."""
    header, _, *rows = stages_text(stages, **options).splitlines()
    # Two spaces or more are between columns, one is inside of a cell.
    split = [
        [cell.strip() for cell in row.split("  ") if cell.strip()]
        for row in (header, *rows)
    ]
    return {row[0]: dict(zip(split[0], row, strict=True)) for row in split[1:]}


def test_text_has_the_share_that_a_stage_keeps():
    rows = cells_of(
        [
            {"stage": "als", "metrics": {"recall@10": 0.1, "ndcg@10": 0.05}},
            kept_stage("teacher", 1.0, 1.0),
            kept_stage("student", 0.7, 0.0),
            kept_stage("int8", 0.984, 0.947),
        ]
    )
    assert rows["int8"] == {
        "stage": "int8",
        "recall@10": "0.2000",
        "ndcg@10": "0.0984",
        "kept": "98 %",
        "lead kept": "95 %",
        "model bytes": "16.0 kB",
        "x smaller": "4.0",
        "x int8": "1.0",
        "p50 ms": "0.040",
        "x faster": "9.0",
    }
    assert rows["teacher"]["kept"] == rows["teacher"]["lead kept"] == "100 %"
    assert rows["student"]["lead kept"] == "0 %"
    assert set(list(rows["als"].values())[3:]) == {"-"}


def test_a_lead_is_not_significant_or_not_tested():
    stages = [
        kept_stage("teacher", 1.0, None),
        kept_stage("student", 1.0, None),
    ]
    rows = cells_of(stages)
    assert rows["student"]["lead kept"] == "n.s."
    # Without the student alone there is no lead to be tested.
    (row,) = cells_of(stages[:1]).values()
    assert "lead kept" not in row
    assert row["kept"] == "100 %"
    # A row that does not speak of a lead has no cell of it.
    (row,) = cells_of([{**stages[1], "kept": {"quality": 1.0}}]).values()
    assert "lead kept" not in row


def test_a_loss_that_rounds_to_nothing_has_no_sign():
    stages = [kept_stage("student", 1.0, -0.0004)]
    assert cells_of(stages)["student"]["lead kept"] == "0 %"
    assert "| 100.0 % | 0.0 % |" in stages_markdown(stages)


def test_a_difference_within_the_noise_is_not_a_figure():
    noise = {"ratio": 1.07, "low": 0.9, "high": 1.2}
    stages = [kept_stage("int8", 0.9, 0.5, times_faster=noise)]
    assert "~1 (noise)" in stages_text(stages)
    assert "1.1" not in stages_text(stages)
    assert "| ~1 (noise) | 0.9 to 1.2 |" in stages_markdown(stages)


@pytest.mark.parametrize(
    "metrics",
    [
        ("recall@10", "ndcg@10"),
        ("auc", "gauc", "log_loss"),
        [f"a_task_with_a_name_{i}/log_loss" for i in range(12)],
    ],
)
def test_text_is_at_most_100_wide(metrics):
    noise = {"ratio": 1.0, "within_noise": True}
    stages = [
        {
            **kept_stage(name, 1.0, -12.3, times_faster=noise),
            "metrics": dict.fromkeys(metrics, 0.5),
            "times_smaller": 12_345.6,
            "times_smaller_int8": 3_086.4,
        }
        for name in ("student", "teacher_" + "x" * 90, "teacher_" + "x" * 91)
    ]
    lines = stages_text(stages, metrics=metrics).splitlines()
    assert max(map(len, lines)) <= 100
    # The first metric stays whatever else is left out.
    assert metrics[0] in lines[0] + lines[1]
    # 30 of a name: 14 characters, the dots, and 13 characters.
    assert lines[-1].startswith("teacher_" + "x" * 6 + "..." + "x" * 13 + " ")


def test_the_names_of_this_library_keep_all_columns():
    noise = {"ratio": 1.0, "within_noise": True}
    stages = [
        kept_stage(name, 1.0, -2.0, times_faster=noise, model_bytes=123_400)
        for name in ("teacher", "student", "pruned_int8", "saved_model")
    ]
    for stage in stages:
        stage["metrics"] |= {"auc": 0.7, "gauc": 0.7, "log_loss": 0.5}
    for options in ({}, {"metrics": ("auc", "gauc", "log_loss")}):
        above, below, *rows = stages_text(stages, **options).splitlines()
        assert above.split() == ["lead", "model", "x", "x", "p50", "x"]
        assert below.split()[-7:] == [
            *("kept", "kept", "bytes", "smaller", "int8", "ms", "faster")
        ]
        assert max(map(len, [below, *rows])) <= 100


def test_columns_are_left_out_in_the_order_that_is_documented():
    # Widths: name 30, metrics 9 and 9, kept 5, lead 5, bytes 7, smaller 7,
    # int8 4, ms 5, faster 10, and nine gaps of 2: 109. Without int8 it is
    # 103, without ms as well 96.
    stage = kept_stage("y" * 40, 1.0, 1.0)
    stage["times_faster"] = {"ratio": 1.0, "within_noise": True}
    stage["metrics"] = {"recall@10": 0.2, "recall@20": 0.3}
    text = stages_text([stage], metrics=("recall@10", "recall@20"))
    header = text.splitlines()[1].split()
    assert header == [
        *("stage", "recall@10", "recall@20", "kept", "kept", "bytes"),
        *("smaller", "faster"),
    ]
    assert max(map(len, text.splitlines())) == 96


def test_markdown_has_everything_and_no_brackets_beside_kept():
    stages = [kept_stage("teacher", 1.0, 1.0), kept_stage("int8", 0.984, 0.9)]
    text = stages_markdown(
        stages, metrics=["ndcg@10"], percentiles=("p50", "p99")
    )
    header, _, _, row = (
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in text.splitlines()
    )
    assert dict(zip(header, row, strict=True)) == {
        "stage": "int8",
        "ndcg@10": "0.0984",
        "kept": "98.4 %",
        "parameters": "4,000",
        "non-zero": "4,000",
        "model bytes": "16.0 kB",
        "size": "120.0 kB",
        "gzip": "60.0 kB",
        "x smaller": "4.0",
        "x int8": "1.0",
        "p50 ms": "0.040",
        "p99 ms": "0.20",
        "p50 ms, 100k": "3.00",
        "p99 ms, 100k": "4.00",
        "x faster": "9.0",
        "x faster, interval": "8.7 to 9.3",
        "train s": "30.0",
        "lead kept": "90.0 %",
    }


def test_a_teacher_of_zero_gives_no_percentage():
    stages = [
        {"stage": "teacher", "metrics": {"mrr": 0.0}},
        {"stage": "student", "metrics": {"mrr": 0.1}},
    ]
    assert "| student | 0.1000 |" in stages_markdown(stages)


def test_no_stages_raise():
    with pytest.raises(UserError, match="at least one stage"):
        stages_markdown([])


def test_bytes_and_values():
    assert format_bytes(999) == "999 B"
    assert format_bytes(1_500) == "1.5 kB"
    assert format_bytes(2_340_000_000_000) == "2340.0 GB"
    assert stage_value(STAGES[1], "latency_ms.p95") == 3.0
    assert stage_value(STAGES[0], "latency_ms.p95") is None
    assert stage_value(STAGES[1], "x") is None
