"""The intervals that a comparison draws."""

import numpy as np
import pytest
import scipy.stats

from kd_tfrs.workflow.comparison.report import with_intervals

VALUES = [0.31, 0.35, 0.30, 0.36]


def row(values):
    spread = {"mean": np.mean(values), "deviation": np.std(values, ddof=1)}
    return {"seeds": [*range(len(values))], "metrics": {"mrr": spread}}


def test_intervals_are_those_of_a_t_test_over_seeds():
    expected = scipy.stats.ttest_1samp(VALUES, 0).confidence_interval(0.95)
    found = with_intervals(row(VALUES), ["mrr"])["intervals"]["mrr"]
    assert found == pytest.approx([expected.low, expected.high])


def test_one_seed_has_no_interval_and_the_row_stays_as_it_was():
    one = {"seeds": [0], "metrics": {"mrr": {"mean": 0.3, "deviation": None}}}
    assert with_intervals(one, ["mrr"]) == one
    two = row(VALUES[:2])
    with_intervals(two, ["mrr"])
    assert "intervals" not in two
