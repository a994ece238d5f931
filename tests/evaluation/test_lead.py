"""Shares of a teacher's quality and of its lead."""

import math

import pytest

from kd_tfrs.evaluation import format_p_value, lead_kept, quality_kept


def test_the_student_alone_keeps_nothing_and_the_teacher_all():
    lead = {"alone": 0.10, "teacher": 0.14, "p_value": 1e-4}

    assert lead_kept(0.10, **lead) == 0
    assert lead_kept(0.14, **lead) == pytest.approx(1)
    assert lead_kept(0.13, **lead) == pytest.approx(0.75)
    assert lead_kept(0.09, **lead) == pytest.approx(-0.25)


def test_of_an_error_less_is_better():
    # (0.44 - 0.43) / (0.44 - 0.42)
    kept = lead_kept(0.43, 0.44, 0.42, 1e-4, is_error=True)

    assert kept == pytest.approx(0.5)
    assert lead_kept(0.43, 0.42, 0.44, 1e-4, is_error=True) is None


@pytest.mark.parametrize(
    ("alone", "teacher", "p_value"),
    [
        (0.14, 0.10, 1e-9),  # behind the student, however surely
        (0.10, 0.14, 0.05),  # ahead by chance
        (0.10, 0.14, None),  # not tested
        (0.10, 0.10, 0.01),
        (None, 0.14, 0.01),
        (0.10, math.nan, 0.01),
    ],
)
def test_a_teacher_without_a_significant_lead_has_none_to_keep(
    alone, teacher, p_value
):
    assert lead_kept(0.12, alone, teacher, p_value) is None


def test_quality_is_a_plain_quotient():
    assert quality_kept(0.24, 0.25) == pytest.approx(0.96)
    assert quality_kept(0.24, 0.0) is None
    assert quality_kept(None, 0.25) is None


@pytest.mark.parametrize(
    ("p_value", "text"),
    [
        (0.5, "p = 0.5"),
        (0.0123, "p = 0.012"),
        (9e-4, "p < 1e-3"),
        (1.01e-7, "p < 1e-6"),
        (0.0, "p < 1e-16"),
        (1e-6, "p < 1e-5"),
    ],
)
def test_p_values_are_bounded_by_a_power_of_ten(p_value, text):
    assert format_p_value(p_value) == text
