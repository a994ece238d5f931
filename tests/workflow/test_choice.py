"""Which form of a student ships."""

import pytest

from kd_tfrs.errors import UserError
from kd_tfrs.workflow.choice import Candidate, choose

FORMS = [
    Candidate("distilled", 0.200, 800),
    Candidate("int8", 0.199, 240),
    Candidate("pruned_int8", 0.190, 160),
]


def ships(max_loss, forms=FORMS, **options):
    return choose(forms, max_loss=max_loss, metric="ndcg@10", **options)


def test_the_smallest_within_the_limit_ships():
    assert ships(0.06).name == "pruned_int8"
    assert ships(0.01).name == "int8"
    assert ships(0.001).name == "distilled"
    assert "every smaller form loses more" in ships(0.001).reason


def test_losses_are_relative_to_the_distilled_student():
    # (.2 - .19) / .2
    assert ships(0.01).losses["pruned_int8"] == pytest.approx(0.05)
    assert ships(0.01).losses["distilled"] == 0


def test_of_an_error_more_is_a_loss():
    forms = [Candidate("distilled", 0.40, 800), Candidate("int8", 0.41, 240)]

    assert ships(0.01, forms, is_error=True).name == "distilled"
    assert ships(0.03, forms, is_error=True).name == "int8"
    assert ships(0.01, forms).name == "int8"


def test_of_equal_bytes_the_better_one_ships():
    forms = [*FORMS, Candidate("other", 0.1995, 240)]

    assert ships(0.01, forms).name == "other"


def test_a_form_that_is_asked_for_ships_whatever_it_loses():
    choice = ships(0.01, asked="pruned_int8")

    assert choice.name == "pruned_int8"
    assert "+5.0%" in choice.reason
    with pytest.raises(UserError, match="`--ship` should be auto or one of"):
        ships(0.01, asked="int4")
