"""Tests of what each stage keeps of the teacher and what it saves."""

import pytest

from kd_tfrs.workflow.ratios import with_ratios

ROWS = [
    {
        "stage": "teacher",
        "metrics": {"auc": 0.8, "log_loss": 0.4},
        "model_bytes": 1000,
        "model_bytes_int8": 300,
    },
    {
        "stage": "student",
        "metrics": {"auc": 0.7, "log_loss": 0.5},
        "model_bytes": 100,
    },
    {
        "stage": "int8",
        "metrics": {"auc": 0.78, "log_loss": 0.45},
        "model_bytes": 25,
    },
    # A converter stores weights in its own way, so their bytes are unknown.
    {"stage": "litert", "metrics": {"auc": 0.78}},
    {"stage": "popularity", "metrics": {"auc": 0.5}},
]


def by_stage(**changed):
    given = {"metric": "auc", "p_value": 0.001, **changed}
    given["baselines"] = ("popularity",)
    return {row["stage"]: row for row in with_ratios(ROWS, **given)}


def test_that_shares_are_of_the_teacher():
    row = by_stage()["int8"]
    assert row["kept"]["quality"] == pytest.approx(0.78 / 0.8)
    # .08 of a lead of .10.
    assert row["kept"]["lead"] == pytest.approx(0.8)
    assert row["times_smaller"] == 40
    assert row["times_smaller_int8"] == 12


def test_that_a_lead_that_is_not_significant_has_no_share():
    rows = by_stage(p_value=0.2)
    assert rows["int8"]["kept"]["lead"] is None
    assert rows["int8"]["kept"]["quality"] == pytest.approx(0.975)
    assert by_stage(p_value=None)["int8"]["kept"]["lead"] is None


def test_that_errors_have_a_share_of_the_lead_alone():
    kept = by_stage(metric="log_loss", is_error=True)["int8"]["kept"]
    # .05 of a lead of .10, and no quality of which more is better.
    assert kept["lead"] == pytest.approx(0.5)
    assert kept["quality"] is None


def test_that_the_teacher_and_what_has_no_bytes_have_no_ratio():
    rows = by_stage()
    assert rows["teacher"]["kept"] == {"quality": None, "lead": None}
    for stage in ("teacher", "popularity", "litert"):
        assert rows[stage]["times_smaller"] is None
        assert rows[stage]["times_smaller_int8"] is None
    assert "kept" not in ROWS[0]


def test_that_a_baseline_has_no_share_of_the_lead():
    kept = by_stage()["popularity"]["kept"]
    assert kept == {"quality": pytest.approx(0.5 / 0.8)}


def test_that_a_student_of_unknown_bytes_has_a_share_of_the_lead():
    assert by_stage()["litert"]["kept"]["lead"] == pytest.approx(0.8)
