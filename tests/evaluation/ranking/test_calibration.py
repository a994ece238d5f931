"""Closed forms, brute force, and scikit-learn's reliability curve."""

import numpy as np
import pytest

from kd_tfrs.errors import UserError
from kd_tfrs.evaluation.ranking.calibration import (
    calibration_curve,
    calibration_error,
    predicted_over_observed,
)
from kd_tfrs.evaluation.ranking.scored_rows import sigmoid


def logit(probability):
    probability = np.asarray(probability, float)
    return np.log(probability / (1 - probability))


def impressions(seed, size=500):
    random = np.random.default_rng(seed)
    logits = np.round(random.normal(-1, 2, size), 1)
    labels = random.random(size) < sigmoid(logits / 2)
    return labels, logits, random.exponential(size=size)


def test_equal_width_by_hand():
    # Bin [0, 1/2] has p .2 and .4 with one positive of two: |.3 - .5|.
    # Bin (1/2, 1] has p .6, .8, .7 with all positive: |.7 - 1|.
    labels = [0, 1, 1, 1, 1]
    logits = logit([0.2, 0.4, 0.6, 0.8, 0.7])
    found = calibration_error(labels, logits, bins=2)
    assert found == pytest.approx(2 / 5 * 0.2 + 3 / 5 * 0.3)
    # With weights: the mean of bin one is (3 * .2 + .4) / 4, found 1/4.
    found = calibration_error(labels, logits, [3, 1, 1, 1, 1], bins=2)
    assert found == pytest.approx(0 + 3 / 7 * 0.3)


def test_equal_mass_by_hand():
    # Two a bin: .1 and .2 with none, .3 and .9 with both.
    labels, logits = [0, 0, 1, 1], logit([0.1, 0.2, 0.3, 0.9])
    found = calibration_error(labels, logits, bins=2, equal_mass=True)
    assert found == pytest.approx(1 / 2 * 0.15 + 1 / 2 * 0.4)
    # Of equal width there are three below 1/2 and one above.
    found = calibration_error(labels, logits, bins=2)
    assert found == pytest.approx(3 / 4 * abs(0.2 - 1 / 3) + 1 / 4 * 0.1)


def test_equal_scores_are_never_parted():
    # All tied: one bin, whatever the order; the mean is right.
    labels = np.array([1, 1, 0, 0])
    for order in ([0, 1, 2, 3], [2, 0, 3, 1]):
        found = calibration_error(
            labels[order], np.zeros(4), bins=4, equal_mass=True
        )
        assert found == 0


@pytest.mark.parametrize("equal_mass", [False, True])
def test_one_bin_is_the_difference_of_the_means(equal_mass):
    labels, logits, weights = impressions(0)
    found = calibration_error(
        labels, logits, weights, bins=1, equal_mass=equal_mass
    )
    expected = np.average(sigmoid(logits) - labels, weights=weights)
    assert found == pytest.approx(abs(expected))


def test_agrees_with_the_curve_of_scikit_learn():
    calibration = pytest.importorskip("sklearn.calibration")
    labels, logits, _ = impressions(1)
    # Some are on the edge of two bins.
    assert (logits == 0).any()
    observed, predicted = calibration.calibration_curve(
        labels, sigmoid(logits), n_bins=10
    )
    curve = calibration_curve(labels, logits, bins=10)
    np.testing.assert_allclose(curve.observed, observed)
    np.testing.assert_allclose(curve.predicted, predicted)


def test_equal_mass_agrees_with_parts_of_the_sorted_rows():
    random = np.random.default_rng(2)
    logits = random.permutation(np.linspace(-3, 3, 90))
    labels = random.random(90) < 0.5
    parts = np.array_split(np.argsort(logits), 6)
    gaps = [
        abs((sigmoid(logits[part]) - labels[part]).mean()) for part in parts
    ]
    found = calibration_error(labels, logits, bins=6, equal_mass=True)
    assert found == pytest.approx(np.mean(gaps))
    curve = calibration_curve(labels, logits, bins=6, equal_mass=True)
    assert curve.weights.tolist() == [15] * 6


@pytest.mark.parametrize("equal_mass", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_the_error_is_what_the_curve_adds_up(seed, equal_mass):
    rows = impressions(seed)
    curve = calibration_curve(*rows, equal_mass=equal_mass)
    gaps = np.abs(curve.predicted - curve.observed)
    expected = np.average(gaps, weights=curve.weights)
    found = calibration_error(*rows, equal_mass=equal_mass)
    assert found == pytest.approx(expected)
    assert (np.diff(curve.predicted) > 0).all()
    assert curve.weights.sum() == pytest.approx(rows[2].sum())


@pytest.mark.parametrize("equal_mass", [False, True])
def test_a_whole_weight_is_a_repeated_row(equal_mass):
    labels, logits, _ = impressions(3)
    times = np.random.default_rng(0).integers(0, 4, len(labels))
    expected = calibration_error(
        np.repeat(labels, times), np.repeat(logits, times), None,
        equal_mass=equal_mass,
    )  # fmt: skip
    found = calibration_error(labels, logits, times, equal_mass=equal_mass)
    assert found == pytest.approx(expected)
    order = np.random.default_rng(1).permutation(len(labels))
    moved = calibration_error(
        labels[order], logits[order], times[order], equal_mass=equal_mass
    )
    assert moved == pytest.approx(expected)


def test_a_calibrated_model_has_little_error():
    random = np.random.default_rng(0)
    logits = random.normal(-2, 1, 200_000)
    labels = random.random(200_000) < sigmoid(logits)
    for equal_mass in (False, True):
        assert calibration_error(labels, logits, equal_mass=equal_mass) < 0.01
        wrong = calibration_error(labels, logits + 1, equal_mass=equal_mass)
        assert wrong > 0.1
    assert predicted_over_observed(labels, logits) == pytest.approx(1, abs=0.02)


def test_predicted_over_observed_by_hand():
    labels, logits = [1, 0, 0], logit([0.5, 0.5, 0.2])
    assert predicted_over_observed(labels, logits) == pytest.approx(1.2)
    found = predicted_over_observed(labels, logits, [2, 1, 0])
    assert found == pytest.approx(1.5 / 2)
    assert predicted_over_observed([0, 0], [1.0, 1.0]) is None


def test_one_class_is_measured_and_no_row_is_none():
    for equal_mass in (False, True):
        found = calibration_error([0, 0], [0.0, 0.0], equal_mass=equal_mass)
        assert found == 0.5
        assert calibration_error([], [], equal_mass=equal_mass) is None
        assert (
            len(calibration_curve([], [], equal_mass=equal_mass).weights) == 0
        )
    # Probabilities of 0 and 1 have a bin as well.
    assert calibration_error([1, 0], [1e4, -1e4]) == 0
    assert calibration_error([0, 1], [1e4, -1e4]) == 1


def test_mistakes_raise():
    for equal_mass in (False, True):
        with pytest.raises(UserError, match="positive integer"):
            calibration_error([1, 0], [0.0, 0.0], bins=0, equal_mass=equal_mass)
        with pytest.raises(UserError, match="0 or 1"):
            calibration_error([1, 2], [0.0, 0.0], equal_mass=equal_mass)
    with pytest.raises(UserError, match="0 or 1"):
        calibration_curve([1, 2], [0.0, 0.0])
