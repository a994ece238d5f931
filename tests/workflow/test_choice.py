"""Which form of a student ships."""

import numpy as np
import pytest

from kd_tfrs.errors import UserError
from kd_tfrs.workflow.choice import Candidate, choose, loss_margin

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
    assert "every smaller form may lose more" in ships(0.001).reason


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


def test_a_form_that_is_given_ships_whatever_it_loses():
    choice = ships(0.01, ship="pruned_int8")

    assert choice.name == "pruned_int8"
    assert "+5.0%" in choice.reason
    with pytest.raises(UserError, match="`--ship` should be auto or one of"):
        ships(0.01, ship="int4")


def test_a_form_that_may_be_lucky_does_not_ship():
    lucky = Candidate("pruned_int8", 0.199, 160, margin=0.01)

    # A loss of .5 %, and of up to 1.5 %.
    assert ships(0.01, [*FORMS[:2], lucky]).name == "int8"
    assert ships(0.02, [*FORMS[:2], lucky]).name == "pruned_int8"
    assert ships(0.02, [*FORMS[:2], lucky]).margins["pruned_int8"] == 0.01


def test_the_margin_is_that_of_a_paired_mean():
    random = np.random.default_rng(0)
    reference = random.random(400)
    difference = random.normal(0.0, 0.1, 400)

    margin = loss_margin(reference, reference - difference)

    # 1.645 standard errors, relative to the mean of the reference.
    error = difference.std(ddof=1) / 20
    assert margin == pytest.approx(1.6449 * error / reference.mean(), rel=1e-3)
    assert loss_margin(reference, reference) == 0
    assert loss_margin(np.zeros(3), np.zeros(3)) == 0


def test_an_auc_loses_of_what_is_above_chance():
    forms = [Candidate("distilled", 0.70, 800), Candidate("int8", 0.696, 240)]

    # .004 of .20, not of .70.
    choice = ships(0.01, forms, chance=0.5)

    assert choice.losses["int8"] == pytest.approx(0.02)
    assert choice.name == "distilled"
    assert ships(0.01, forms).name == "int8"
