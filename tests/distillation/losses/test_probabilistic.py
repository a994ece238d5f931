"""Probabilistic knowledge transfer: Passalis and Tefas 2018."""

import numpy as np
from feature_checks import FeatureLossChecks, cosine

from kd_tfrs.distillation.losses.probabilistic import ProbabilisticTransfer


def neighbours(x):
    n = len(x)
    p = np.zeros((n, n))
    for i in range(n):
        for j in range(n):
            if i != j:
                p[i, j] = (cosine(x[i], x[j]) + 1) / 2
    return p / p.sum(axis=1, keepdims=True)


class TestProbabilisticTransfer(FeatureLossChecks):
    def make(self, **options):
        return ProbabilisticTransfer(**options)

    def reference(self, loss, t, s):
        p, q = neighbours(t), neighbours(s)
        off = ~np.eye(len(t), dtype=bool)
        return (p[off] * np.log(p[off] / q[off])).sum() / len(t)


def test_by_hand():
    # Teacher: the first row's neighbours at cosines 1 and 0, shares 2/3 and
    # 1/3; student: at 0 and 1.
    t = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    s = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]])
    p = neighbours(t)
    np.testing.assert_allclose(p[0], [0, 2 / 3, 1 / 3])
    # Rows: log 2 / 3; the second sees [2/3, 1/3] and [1/2, 1/2], the third
    # [1/2, 1/2] and [2/3, 1/3].
    second = 2 / 3 * np.log(4 / 3) + 1 / 3 * np.log(2 / 3)
    third = 0.5 * np.log(3 / 4) + 0.5 * np.log(3 / 2)
    np.testing.assert_allclose(
        ProbabilisticTransfer()(t, s),
        (np.log(2) / 3 + second + third) / 3,
        rtol=1e-5,
    )
