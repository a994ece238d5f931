"""Cases in which losses once disagreed with their definition."""

import numpy as np
import pytest
import tensorflow as tf

from kd_tfrs.distillation import (
    AdversarialSoftTargets,
    AttentionTransfer,
    ConfidenceWeighted,
    ContrastiveRepresentation,
    CorrelationCongruence,
    DistillationExperts,
    DualCorrection,
    FullTopology,
    GapWeighted,
    HierarchicalTopology,
    Hint,
    LambdaDistill,
    NeuronSelectivity,
    ProbabilisticTransfer,
    RejuvenatedCrossEntropy,
    RelationalAngle,
    RelationalDistance,
    ScoreRegression,
    SimilarityPreserving,
    SoftTargets,
    VariationalInformation,
)
from kd_tfrs.distillation.losses.ranks import largest, list_ranks
from kd_tfrs.errors import UserError

FEATURE_LOSSES = {
    "hint": Hint,
    "normalized hint": lambda: Hint(normalize=True),
    "experts": lambda: DistillationExperts(num_experts=3),
    "crd": lambda: ContrastiveRepresentation(width=4),
    "rkd_distance": RelationalDistance,
    "rkd_angle": RelationalAngle,
    "ftd": FullTopology,
    "htd": lambda: HierarchicalTopology(num_groups=2),
    "sp": SimilarityPreserving,
    "cckd": CorrelationCongruence,
    "pkt": ProbabilisticTransfer,
    "vid": VariationalInformation,
    "nst": NeuronSelectivity,
}


def features(rows=6):
    rng = np.random.default_rng(4)
    return tuple(np.float32(rng.normal(size=(rows, w))) for w in (5, 3))


@pytest.mark.parametrize("name", FEATURE_LOSSES)
def test_nan_in_a_row_that_counts_is_seen(name):
    loss = FEATURE_LOSSES[name]()
    t, s = features()
    s[2, 1] = np.nan
    assert np.isnan(loss(t, s))


@pytest.mark.parametrize("name", FEATURE_LOSSES)
def test_nan_in_a_masked_row_has_no_effect(name):
    loss = FEATURE_LOSSES[name]()
    t, s = features()
    mask = np.array([True, True, False, True, True, True])
    wanted = loss(t, s, mask=mask)
    for array in (t, s):
        array[2] = np.nan
    student = tf.Variable(s)
    with tf.GradientTape() as tape:
        found = loss(t, student, mask=mask)
    np.testing.assert_allclose(found, wanted, rtol=1e-6)
    assert np.isfinite(tape.gradient(found, student).numpy()[mask]).all()


@pytest.mark.parametrize("wrap", [ConfidenceWeighted, GapWeighted])
def test_queries_of_weight_zero_do_not_normalise(wrap):
    # Two queries that count, and a third of weight 0 with another importance.
    rng = np.random.default_rng(0)
    t, s = np.float32(rng.normal(size=(2, 3, 4)))
    t[2] *= 30.0
    loss = wrap(SoftTargets(2.0))
    alone = loss(t[:2], s[:2], sample_weight=[1.0, 2.0])
    together = loss(t, s, sample_weight=[1.0, 2.0, 0.0])
    np.testing.assert_allclose(together, alone, rtol=1e-6)


def test_ranks_of_equal_scores_are_against_the_list():
    scores = tf.constant([[1.0, 1.0, 1.0], [2.0, 1.0, 2.0]])
    mask = tf.constant([[True, True, True], [True, True, False]])
    np.testing.assert_array_equal(
        list_ranks(scores, mask), [[2, 1, 0], [0, 1, 0]]
    )


@pytest.mark.parametrize(
    "loss", [LambdaDistill(), DualCorrection(num_candidates=6)]
)
def test_a_student_of_equal_scores_has_a_gradient(loss):
    teacher = tf.constant([[5.0, 4.0, 3.0, 2.0]])
    student = tf.Variable(tf.zeros([1, 4]))
    with tf.GradientTape() as tape:
        value = loss(teacher, student, listed=4)
    gradient = tape.gradient(value, student)[0]
    assert value > 0
    # A step against it raises the teacher's best above its worst.
    assert gradient[0] < 0 < gradient[3]


def test_of_equal_keys_the_first_are_marked():
    keys = tf.constant([[1.0, 3.0, 3.0, 3.0], [0.0, 0.0, 0.0, 0.0]])
    mask = tf.constant([[True] * 4, [False, True, True, True]])
    np.testing.assert_array_equal(
        largest(keys, mask, 2),
        [[False, True, True, False], [False, True, True, False]],
    )


def test_the_students_list_of_equal_scores_has_its_length():
    # All scores equal: its best `listed` items are the first ones.
    teacher = tf.constant([[3.0, 2.0, 1.0, 0.5, 0.2, 0.1]])
    loss = RejuvenatedCrossEntropy(1.0)
    value = loss(teacher, tf.zeros([1, 6]), listed=2)
    # Both cross entropies are over sets of at most 4 candidates.
    p = np.exp([3.0, 2.0]) / np.exp([3.0, 2.0]).sum()
    least = -(p * np.log([0.5, 0.5])).sum()
    assert least - 1e-5 <= value <= np.log(4) + 1e-5


@pytest.mark.parametrize(("one", "other"), [(1, 4), (4, 1), (3, 4)])
def test_attention_of_other_lengths_is_refused(one, other):
    with pytest.raises(UserError, match="the same positions"):
        AttentionTransfer()(tf.ones([2, one, 8]), tf.ones([2, other, 8]))


@pytest.mark.parametrize("shift", [0.0, 1.7, -33.3])
def test_equal_distributions_have_no_adversary(shift):
    rng = np.random.default_rng(2)
    t = np.float32(3.0 * rng.normal(size=(5, 40)))
    loss = AdversarialSoftTargets(epsilon=0.5)
    np.testing.assert_allclose(loss(t, t + np.float32(shift)), 0.0, atol=1e-6)
    assert loss(t, t * 0.9) > ScoreRegression()(t, t)
