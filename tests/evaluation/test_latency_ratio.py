import numpy as np
import pytest

from kd_tfrs.errors import UserError
from kd_tfrs.evaluation import times_faster, within_noise
from kd_tfrs.evaluation.latency import Latency


def latency(*medians):
    """A measurement whose rounds have these medians, with an outlier each."""
    return Latency(np.array([[m, m, 100 * m] for m in medians]))


def test_ratio_and_interval_over_rounds():
    """Log ratios .1 and .3: mean .2, standard deviation .2 / sqrt(2).

    t(.975, 1 degree of freedom) is 12.7062, so that the margin is
    12.7062 * .2 / sqrt(2) / sqrt(2) = 1.27062.
    """
    reference = latency(np.exp(0.1), 5 * np.exp(0.3))
    found = times_faster([reference], [latency(1.0, 5.0)])
    assert np.log(found["ratio"]) == pytest.approx(0.2)
    assert np.log(found["low"]) == pytest.approx(0.2 - 1.27062, abs=1e-5)
    assert np.log(found["high"]) == pytest.approx(0.2 + 1.27062, abs=1e-5)
    assert within_noise(found)


def test_a_narrower_interval_of_a_lower_level():
    # t(.75, 1 degree of freedom) is 1: the margin is .1.
    reference = latency(np.exp(0.1), np.exp(0.3))
    found = times_faster([reference], [latency(1.0, 1.0)], level=0.5)
    assert np.log(found["low"]) == pytest.approx(0.1)
    assert np.log(found["high"]) == pytest.approx(0.3)
    assert not within_noise(found)


def test_of_several_measurements_each_is_one_value():
    """The median round of each: ratios 2, 4 and 8, so a mean of 4.

    t(.975, 2) is 4.30265 and the standard deviation log 2.
    """
    references = [latency(2.0, 2.0, 90.0), latency(4.0), latency(8.0, 8.0)]
    others = [latency(1.0, 1.0, 1.0), latency(1.0), latency(1.0, 1.0)]
    found = times_faster(references, others)
    assert found["ratio"] == pytest.approx(4)
    margin = 4.30265 * np.log(2) / np.sqrt(3)
    assert np.log(found["high"] / 4) == pytest.approx(margin, abs=1e-5)
    assert np.log(4 / found["low"]) == pytest.approx(margin, abs=1e-5)


def simulated(random, placed, count=4, rounds=20):
    """Two equal models; each process makes them faster or slower for good."""
    base = np.exp(random.normal(0, placed, size=(2, count, 1)))
    times = base * np.exp(random.normal(0, 0.02, size=(2, count, rounds)))
    return [[latency(*process) for process in side] for side in times]


def test_equal_models_are_within_noise_at_the_rate_of_the_level():
    """95 % of 400: a standard deviation is 1.1 %, and 3.3 % are allowed.

    The rounds of one process, where it made one model faster by 3 %, say so
    of nearly every pair: they do not know of other processes.
    """
    random = np.random.default_rng(0)
    pairs = [simulated(random, placed=0.03) for _ in range(400)]
    several = np.mean([within_noise(times_faster(*pair)) for pair in pairs])
    assert several == pytest.approx(0.95, abs=0.033)
    one = [within_noise(times_faster(a[:1], b[:1])) for a, b in pairs]
    assert np.mean(one) < 0.5


def test_a_difference_is_found():
    random = np.random.default_rng(1)
    reference, other = simulated(random, placed=0.03)
    slower = [Latency(9.2 * each.milliseconds) for each in reference]
    found = times_faster(slower, other)
    assert found["low"] < 9.2 < found["high"]
    assert found["low"] > 8
    assert not within_noise(found)
    # The other way round, the interval is that of the inverse ratio.
    inverse = times_faster(other, slower)
    assert inverse["ratio"] == pytest.approx(1 / found["ratio"])
    assert inverse["low"] == pytest.approx(1 / found["high"])


def test_times_below_the_clock_are_no_error():
    found = times_faster([latency(0.0, 0.0)], [latency(1.0, 1.0)])
    assert found["ratio"] == pytest.approx(1e-6)


def test_measurements_are_the_same_ones():
    one, two = latency(1.0, 2.0), latency(1.0, 2.0, 3.0)
    for reference, other in (([one, one], [one]), ([], [])):
        with pytest.raises(UserError, match="the same measurements"):
            times_faster(reference, other)
    with pytest.raises(UserError, match="in the same rounds"):
        times_faster([one], [two])


def test_one_round_has_no_interval():
    with pytest.raises(UserError, match="at least 2 rounds"):
        times_faster([latency(1.0)], [latency(1.0)])
