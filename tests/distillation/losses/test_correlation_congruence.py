"""Correlation congruence: Peng et al. 2019."""

import math
from typing import ClassVar

import numpy as np
import pytest
from feature_checks import FeatureLossChecks, cosine, features

from kd_tfrs.distillation.losses.correlation_congruence import (
    CorrelationCongruence,
)
from kd_tfrs.errors import UserError


class TestCorrelationCongruence(FeatureLossChecks):
    options: ClassVar = {"gamma": 0.7, "order": 4}

    def make(self, **options):
        return CorrelationCongruence(**options)

    def kernel(self, loss, a, b):
        g = loss.gamma
        return sum(
            math.exp(-2 * g)
            * (2 * g) ** p
            / math.factorial(p)
            * cosine(a, b) ** p
            for p in range(loss.order + 1)
        )

    def reference(self, loss, t, s):
        n = range(len(t))
        return np.mean(
            [
                (self.kernel(loss, t[i], t[j]) - self.kernel(loss, s[i], s[j]))
                ** 2
                for i in n
                for j in n
            ]
        )


def test_a_long_series_is_the_gaussian_kernel():
    t, s = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in features())
    matrices = [
        np.exp(-0.4 * ((x[:, None] - x) ** 2).sum(axis=2)) for x in (t, s)
    ]
    np.testing.assert_allclose(
        CorrelationCongruence(order=12)(t, s),
        np.mean((matrices[0] - matrices[1]) ** 2),
        rtol=1e-4,
    )


@pytest.mark.parametrize("wrong", [{"gamma": 0.0}, {"order": 0}])
def test_wrong_arguments_are_refused(wrong):
    with pytest.raises(UserError, match=next(iter(wrong))):
        CorrelationCongruence(**wrong)
