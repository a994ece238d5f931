"""Variational information distillation: Ahn et al. 2019, eq. 4 to 6."""

from typing import ClassVar

import numpy as np
import pytest
from feature_checks import FeatureLossChecks, dense, features

from kd_tfrs.distillation.losses.variational import VariationalInformation
from kd_tfrs.errors import UserError


class TestVariationalInformation(FeatureLossChecks):
    options: ClassVar = {"hidden_units": (5,), "initial_variance": 0.5}

    def make(self, **options):
        return VariationalInformation(**options)

    def reference(self, loss, t, s):
        alpha = loss.variance.get_weights()[0].astype(np.float64)
        variance = np.log(1 + np.exp(alpha)) + 1e-5
        gap = (t - dense(loss.projection, s)) ** 2
        rows = np.log(np.sqrt(variance)) + gap / (2 * variance)
        return rows.sum(axis=1).mean()

    @pytest.mark.parametrize("variance", [1e-3, 0.5, 5.0])
    def test_the_variance_starts_at_its_initial_value(self, variance):
        loss = self.built(initial_variance=variance)
        alpha = loss.variance.get_weights()[0].astype(np.float64)
        np.testing.assert_allclose(
            np.log1p(np.exp(alpha)) + 1e-5, variance, rtol=1e-4
        )

    def test_at_variance_one_it_is_half_a_hint(self):
        t, s = features()
        loss = self.built(initial_variance=1.0)
        gap = (t - dense(loss.projection, s)) ** 2
        np.testing.assert_allclose(
            loss(t, s), gap.sum(axis=1).mean() / 2, rtol=1e-4
        )


@pytest.mark.parametrize(
    "wrong", [{"initial_variance": 0.0}, {"hidden_units": (0,)}]
)
def test_wrong_arguments_are_refused(wrong):
    with pytest.raises(UserError, match=next(iter(wrong))):
        VariationalInformation(**wrong)
