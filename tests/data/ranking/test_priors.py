"""Corrections of sampled and weighted classes, against simulated ones."""

import numpy as np
import pytest

from kd_tfrs.data.ranking.priors import (
    balanced_class_weights,
    prior_logit_offset,
)
from kd_tfrs.errors import UserError


def test_a_sampled_rate_is_corrected_to_the_true_one():
    # 100 positives and 9,900 negatives, of which a tenth is kept: a model of
    # the rate in the sample is 100 / 1,090, the true rate is 0.01.
    logit = np.log(100 / 990) + prior_logit_offset(0.1)
    np.testing.assert_allclose(1 / (1 + np.exp(-logit)), 0.01)


@pytest.mark.parametrize("rate", [0.02, 0.3, 1.0])
def test_the_offset_is_the_correction_of_probabilities(rate):
    # He et al. 2014, section 6.3: q = p / (p + (1 - p) / w).
    logits = np.linspace(-6, 6, 25)
    p = 1 / (1 + np.exp(-logits))
    shifted = 1 / (1 + np.exp(-(logits + prior_logit_offset(rate))))
    np.testing.assert_allclose(p / (p + (1 - p) / rate), shifted)


def test_class_weights_shift_the_odds_that_a_model_learns():
    # The weighted log loss of one constant p is least at the weighted share.
    positives, negatives = 30.0, 170.0
    weights = {0: 0.5, 1: 4.0}
    learned = 4 * positives / (4 * positives + 0.5 * negatives)
    logit = np.log(learned / (1 - learned))
    logit += prior_logit_offset(class_weights=weights)
    np.testing.assert_allclose(1 / (1 + np.exp(-logit)), 30 / 200)


def test_balanced_weights_make_both_classes_weigh_the_same():
    rng = np.random.default_rng(0)
    labels = (rng.random(500) < 0.1).astype(np.float32)
    for weights in (None, rng.random(500)):
        balanced = balanced_class_weights(labels, weights)
        own = np.ones(500) if weights is None else weights
        total = own * np.where(labels > 0, balanced[1], balanced[0])
        np.testing.assert_allclose(
            total[labels > 0].sum(), total[labels == 0].sum()
        )
        np.testing.assert_allclose(total.mean(), own.mean())


@pytest.mark.parametrize("rate", [0.0, -0.1, 1.01, np.nan])
def test_impossible_rates_are_refused(rate):
    with pytest.raises(UserError, match="`negative_rate`"):
        prior_logit_offset(rate)


@pytest.mark.parametrize(
    "weights", [{0: 1.0}, {0: 1.0, 1: 0.0}, {0: 1.0, 1: np.inf}, [1, 2]]
)
def test_impossible_class_weights_are_refused(weights):
    with pytest.raises(UserError, match="`class_weights`"):
        prior_logit_offset(class_weights=weights)


def test_one_class_cannot_be_balanced():
    with pytest.raises(UserError, match="both classes"):
        balanced_class_weights(np.ones(4))
