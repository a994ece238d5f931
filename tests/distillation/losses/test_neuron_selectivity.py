"""Neuron selectivity transfer: Huang and Wang 2017."""

from typing import ClassVar

import numpy as np
import pytest
from feature_checks import FeatureLossChecks, features

from kd_tfrs.distillation.losses.neuron_selectivity import NeuronSelectivity
from kd_tfrs.errors import UserError


class TestNeuronSelectivity(FeatureLossChecks):
    options: ClassVar = {"power": 3, "constant": 0.5}

    def make(self, **options):
        return NeuronSelectivity(**options)

    def reference(self, loss, t, s):
        t, s = ([u / np.linalg.norm(u) for u in x.T] for x in (t, s))

        def mean(left, right):
            return np.mean(
                [
                    (a @ b + loss.constant) ** loss.power
                    for a in left
                    for b in right
                ]
            )

        return mean(t, t) + mean(s, s) - 2 * mean(t, s)


def test_the_order_and_the_scale_of_units_do_not_count():
    t, _ = features()
    order = np.random.default_rng(1).permutation(6)
    same = t[:, order] * np.array([1, 2, 3, 4, 5, 6], np.float32)
    np.testing.assert_allclose(NeuronSelectivity()(t, same), 0.0, atol=1e-6)


@pytest.mark.parametrize("wrong", [{"power": 0}, {"constant": -1.0}])
def test_wrong_arguments_are_refused(wrong):
    with pytest.raises(UserError, match=next(iter(wrong))):
        NeuronSelectivity(**wrong)
