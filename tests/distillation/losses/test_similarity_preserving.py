"""Similarity-preserving distillation: Tung and Mori 2019, eq. 1 to 4."""

import numpy as np
from feature_checks import FeatureLossChecks, features

from kd_tfrs.distillation.losses.similarity_preserving import (
    SimilarityPreserving,
)


def similarities(x):
    g = x @ x.T
    return g / np.linalg.norm(g, axis=1, keepdims=True)


class TestSimilarityPreserving(FeatureLossChecks):
    def make(self, **options):
        return SimilarityPreserving(**options)

    def reference(self, loss, t, s):
        return ((similarities(t) - similarities(s)) ** 2).sum() / len(t) ** 2


def test_turned_and_scaled_features_are_alike():
    t, _ = features()
    turn, _ = np.linalg.qr(np.random.default_rng(5).normal(size=(6, 6)))
    same = 3.0 * t @ turn.astype(np.float32)
    np.testing.assert_allclose(SimilarityPreserving()(t, same), 0.0, atol=1e-6)


def test_a_row_of_zeros_differs_by_the_others_length():
    # Rows of length 1 against 0: squared distance 1, over n = 2.
    value = SimilarityPreserving()(np.eye(2), np.zeros((2, 3)))
    np.testing.assert_allclose(value, 0.5)
