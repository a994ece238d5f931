"""Relational distillation: Park et al. 2019, eq. 5 to 10."""

from typing import ClassVar

import numpy as np
import pytest
from feature_checks import FeatureLossChecks, cosine, features

from kd_tfrs.distillation.losses.relational import (
    RelationalAngle,
    RelationalDistance,
)
from kd_tfrs.errors import UserError


def huber(x, y):
    size = abs(x - y)
    return size**2 / 2 if size <= 1 else size - 0.5


def pairs(n):
    return [(i, j) for i in range(n) for j in range(n) if i != j]


def potentials(x):
    apart = {p: np.linalg.norm(x[p[0]] - x[p[1]]) for p in pairs(len(x))}
    mean = np.mean(list(apart.values()))
    return {p: d / mean for p, d in apart.items()}


class TestRelationalDistance(FeatureLossChecks):
    options: ClassVar = {"num_anchors": 50}

    def make(self, **options):
        return RelationalDistance(**options)

    def reference(self, loss, t, s):
        a, b = potentials(t), potentials(s)
        return np.mean([huber(a[p], b[p]) for p in a])


class TestRelationalAngle(FeatureLossChecks):
    options: ClassVar = {"num_anchors": 50}
    tolerance = 1e-4

    def make(self, **options):
        return RelationalAngle(**options)

    def reference(self, loss, t, s):
        n, found = len(t), []
        for j in range(n):
            for i, k in pairs(n):
                if j not in (i, k):
                    angles = [cosine(x[i] - x[j], x[k] - x[j]) for x in (t, s)]
                    found.append(huber(*angles))
        return np.mean(found)


@pytest.mark.parametrize("loss", [RelationalDistance(), RelationalAngle()])
def test_turned_moved_and_scaled_features_relate_alike(loss):
    t, _ = features()
    turn, _ = np.linalg.qr(np.random.default_rng(5).normal(size=(6, 6)))
    same = 3.0 * t @ turn.astype(np.float32) + 1.5
    np.testing.assert_allclose(loss(t, same), 0.0, atol=1e-6)


def test_large_differences_are_linear():
    # One outlier: distances over their mean differ by more than 1.
    t = np.array([[0.0], [1.0], [2.0], [3.0], [4.0]])
    s = np.array([[0.0], [0.1], [0.2], [0.3], [40.0]])
    a, b = potentials(t), potentials(s)
    assert max(abs(a[p] - b[p]) for p in a) > 1
    expected = np.mean([huber(a[p], b[p]) for p in a])
    np.testing.assert_allclose(RelationalDistance()(t, s), expected, rtol=1e-5)


@pytest.mark.parametrize("make", [RelationalDistance, RelationalAngle])
def test_anchors_stand_for_all(make):
    t, s = features()
    mask = np.array([0, 1, 1, 0, 1, 1, 1, 1, 1], bool)
    first = [1, 2, 4, 5]
    np.testing.assert_allclose(
        make(num_anchors=4)(t, s, mask=mask),
        make()(t[first], s[first]),
        rtol=1e-5,
    )
    with pytest.raises(UserError, match="num_anchors"):
        make(num_anchors=0)
