"""Hints: FitNets, eq. 3."""

from typing import ClassVar

import numpy as np
import pytest
from feature_checks import FeatureLossChecks, dense, features

from kd_tfrs.distillation.losses.hint import Hint
from kd_tfrs.errors import UserError


class TestHint(FeatureLossChecks):
    options: ClassVar = {"hidden_units": (5, 3), "normalize": True}

    def make(self, **options):
        return Hint(**options)

    def reference(self, loss, t, s):
        rows = []
        for a, b in zip(t, dense(loss.projection, s), strict=True):
            if loss.normalize:
                a, b = a / np.linalg.norm(a), b / np.linalg.norm(b)
            rows.append(((a - b) ** 2).sum())
        return np.mean(rows)


def test_the_right_projection_leaves_nothing():
    _, s = features()
    kernel = np.random.default_rng(3).normal(size=(4, 6)).astype(np.float32)
    loss = Hint()
    loss.ensure_built(6, 4)
    loss.projection.set_weights([kernel, np.full(6, 2.0, np.float32)])
    np.testing.assert_allclose(loss(s @ kernel + 2.0, s), 0.0, atol=1e-10)


def test_directions_compared_are_twice_one_minus_the_cosine():
    t, s = features(widths=(4, 4))
    loss = Hint(normalize=True)
    loss.ensure_built(4, 4)
    loss.projection.set_weights([np.eye(4), np.zeros(4)])
    cosines = [
        a @ b / np.linalg.norm(a) / np.linalg.norm(b)
        for a, b in zip(t, s, strict=True)
    ]
    np.testing.assert_allclose(
        loss(t, s), 2 * (1 - np.mean(cosines)), rtol=1e-5
    )
    np.testing.assert_allclose(loss(9 * t, 2 * s), loss(t, s), rtol=1e-5)


@pytest.mark.parametrize("units", [(0,), (-1,), (2.5,), "12", 3, (True,)])
def test_wrong_units_are_refused(units):
    with pytest.raises(UserError, match="hidden_units"):
        Hint(hidden_units=units)
