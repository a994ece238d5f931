import numpy as np
import pytest
import scipy.stats

from kd_tfrs.errors import UserError
from kd_tfrs.evaluation import holm, paired_test, paired_test_over_seeds
from kd_tfrs.evaluation.significance import bootstrap_interval


def test_agrees_with_scipy_on_pairs():
    random = np.random.default_rng(0)
    a, b = random.random(50), random.random(50) + 0.1
    found = paired_test(a, b)
    assert found.difference == pytest.approx(b.mean() - a.mean())
    assert found.t_p_value == pytest.approx(scipy.stats.ttest_rel(b, a).pvalue)
    expected = scipy.stats.wilcoxon(b, a).pvalue
    assert found.wilcoxon_p_value == pytest.approx(expected)


def test_t_test_by_hand():
    # Gains 1, 2, 3: mean 2, sd 1, t = 2 sqrt(3) with two degrees of freedom.
    found = paired_test([0, 0, 0], [1, 2, 3])
    t = 2 * np.sqrt(3)
    # For two degrees the tail has a closed form: 1 - t / sqrt(2 + t^2).
    assert found.t_p_value == pytest.approx(1 - t / np.sqrt(2 + t**2))


def test_bootstrap_interval_is_near_the_normal_one():
    values = np.random.default_rng(0).standard_normal(2000)
    low, high = bootstrap_interval(values)
    half = 1.96 * values.std() / np.sqrt(len(values))
    assert low == pytest.approx(values.mean() - half, abs=0.005)
    assert high == pytest.approx(values.mean() + half, abs=0.005)
    assert bootstrap_interval(values) == (low, high)


def test_no_difference_and_the_same_difference():
    equal = paired_test([1, 2], [1, 2])
    assert (equal.t_p_value, equal.wilcoxon_p_value) == (1, 1)
    assert equal.interval == (0, 0)
    shifted = paired_test([1, 2], [2, 3])
    assert shifted.t_p_value == 0
    assert shifted.interval == (1, 1)


def test_several_seeds_are_paired_by_their_means():
    random = np.random.default_rng(0)
    a = random.random((3, 20))
    b = random.random((3, 20)) + 0.2
    found = paired_test_over_seeds(list(a), list(b))
    assert (found.unit, found.num_pairs) == ("seeds", 3)
    expected = scipy.stats.ttest_rel(b.mean(axis=1), a.mean(axis=1)).pvalue
    assert found.t_p_value == pytest.approx(expected)
    assert "over 3 seeds" in str(found)


def test_one_seed_is_tested_over_its_users_by_name():
    found = paired_test_over_seeds([[0.0, 0.5, 1.0]], [[0.5, 0.5, 1.0]])
    assert (found.unit, found.num_pairs) == ("users", 3)
    assert "over 3 users" in str(found)


def test_one_pair_is_too_few():
    found = paired_test([0.1], [0.2])
    assert found.t_p_value is found.wilcoxon_p_value is None
    assert str(found).endswith("too few for a test")


def test_mistakes_raise():
    with pytest.raises(UserError, match="same users"):
        paired_test([1, 2], [1])
    with pytest.raises(UserError, match="finite"):
        paired_test([np.nan], [1])
    with pytest.raises(UserError, match="one array for each seed"):
        paired_test_over_seeds([[1]], [])


def test_holm_corrects_as_its_paper_does():
    # In ascending order 4 * .01, 3 * .02, 2 * .03, 1 * .5.
    assert holm([0.03, 0.01, 0.5, 0.02]) == pytest.approx(
        [0.06, 0.04, 0.5, 0.06]
    )
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []


def test_holm_does_not_count_what_was_not_tested():
    assert holm([None, 0.04, None]) == [None, 0.04, None]


def test_holm_refuses_what_is_no_probability():
    with pytest.raises(UserError, match=r"1\.5"):
        holm([0.1, 1.5])
