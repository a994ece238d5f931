"""Tests of the sentence that ends a run."""

import pytest

from kd_tfrs.workflow.sentence import closing_sentence


def _sentence(**changed):
    given = {
        "quality": 0.97,
        "lead": 0.92,
        "p_value": 3e-7,
        "times_smaller": 38.2,
        "times_faster": 9.04,
        **changed,
    }
    return closing_sentence("The shipped file", "AUC", **given)


def test_that_all_is_told_in_one_sentence():
    # 3e-7 lies under 1e-6 and not under 1e-7.
    assert _sentence() == (
        "The shipped file keeps 97 % of the teacher's AUC (92 % of its lead "
        "over the student alone, p < 1e-6), is 38 times smaller and answers 9 "
        "times faster."
    )


def test_that_a_lead_that_is_not_significant_has_no_percentage():
    text = _sentence(lead=None, p_value=0.34)
    assert "no significant lead over the student alone, p = 0.34" in text
    assert "92 %" not in text
    assert "was not tested" in _sentence(lead=None, p_value=None)


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        # 0.996 must not read as all of it, 1.004 as more than that.
        ({"quality": 0.996}, "keeps 99.6 % of"),
        ({"quality": 1.004}, "keeps 100 % of"),
        # 1 / 0.8 = 1.25, 1 / 0.5 = 2: below 1 the word changes.
        ({"times_smaller": 0.8}, "is 1.2 times larger"),
        ({"times_faster": 0.5}, "answers 2 times slower."),
        ({"within_noise": True}, "answers as fast within the noise."),
        # A tenth is shown below ten alone.
        ({"times_smaller": 9.94}, "is 9.9 times smaller"),
        ({"times_smaller": 9.96}, "is 10 times smaller"),
        # Errors have no share of a quality.
        ({"quality": None}, "keeps 92 % of the teacher's lead over the"),
        ({"quality": None, "lead": None}, "keeps no measurable lead"),
    ],
)
def test_that_every_part_has_its_words(changed, expected):
    assert expected in _sentence(**changed)


def test_that_latency_that_was_not_measured_is_left_out():
    assert _sentence(times_faster=None).endswith(") and is 38 times smaller.")
    alone = _sentence(times_faster=None, times_smaller=None)
    assert alone.endswith("p < 1e-6).")
