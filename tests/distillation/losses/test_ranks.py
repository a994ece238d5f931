"""How many candidates score above a score, against a loop."""

import numpy as np
import pytest
import tensorflow as tf

from kd_tfrs.distillation.losses.ranks import count_above


@pytest.mark.parametrize("size", [0, 1, 2, 7])
def test_counts_of_any_number_of_candidates(size):
    rng = np.random.default_rng(size)
    scores, among = (
        rng.integers(0, 4, (3, n)).astype(np.float32) for n in (5, size)
    )
    mask = rng.random((3, size)) < 0.7
    expected = [
        [sum(a > s for a, m in zip(row, kept, strict=True) if m) for s in own]
        for own, row, kept in zip(scores, among, mask, strict=True)
    ]
    found = count_above(*map(tf.constant, (scores, among, mask)))
    np.testing.assert_array_equal(found, expected)
