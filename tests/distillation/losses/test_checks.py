"""Numbers that losses take."""

import numpy as np
import pytest

from kd_tfrs.distillation.losses.checks import check_count, check_number
from kd_tfrs.errors import UserError


def test_numbers_become_pythons_own():
    assert type(check_number("mu", np.float32(0.5), 0.0)) is float
    assert type(check_count("k", np.int64(3))) is int


@pytest.mark.parametrize("value", [-0.1, 2.1, np.nan, np.inf, "1", None])
def test_a_number_out_of_range_is_refused(value):
    with pytest.raises(UserError, match="`mu` should be a number between 0"):
        check_number("mu", value, 0.0, 2.0)


@pytest.mark.parametrize("value", [0, -1, 1.0, "1", None, True])
def test_a_count_out_of_range_is_refused(value):
    with pytest.raises(UserError, match="`k` should be a whole number of at"):
        check_count("k", value)


def test_the_ends_of_a_range_belong_to_it():
    assert [check_number("mu", x, 0.0, 2.0) for x in (0, 2)] == [0.0, 2.0]
    assert (check_count("k", 1), check_count("k", 4, 4)) == (1, 4)


def test_no_range_has_infinity_in_it():
    with pytest.raises(UserError, match="`mu` should be a number of at least"):
        check_number("mu", np.inf, 0.0)
