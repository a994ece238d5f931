"""What the losses declare about themselves is what running them shows."""

import inspect
from typing import ClassVar

import numpy as np
import pytest
import tensorflow as tf

import kd_tfrs.distillation.losses as losses
import kd_tfrs.distillation.ranking as ranking
from kd_tfrs.distillation.losses import (
    DistillationLoss,
    FeatureLoss,
    LossInputs,
    ScoreRegression,
    SoftTargets,
    UnbiasedPairs,
    Untempered,
)
from kd_tfrs.errors import UserError

BASES = (DistillationLoss, FeatureLoss, Untempered)
ARGUMENTS = {
    "ConfidenceWeighted": (ScoreRegression(),),
    "DualCorrection": (10,),
    "EasyToHard": (10,),
    "FrequencyHint": ([[0], [1], [0], [1]],),
    "GapWeighted": (ScoreRegression(),),
    "GatedSoftTargets": (2,),
    "ImportanceWeightedRanking": (10,),
    "RankingDistillation": (10,),
    "UnbiasedPairs": ([0, 1, 0, 1],),
}


def classes(base):
    return sorted(
        {
            kind
            for module in (losses, ranking)
            for _, kind in inspect.getmembers(module, inspect.isclass)
            if issubclass(kind, base) and kind not in BASES
        },
        key=lambda kind: kind.__name__,
    )


def build(kind):
    return kind(*ARGUMENTS.get(kind.__name__, ()))


class Recorded(LossInputs):
    """Inputs that remember which of their fields are read."""

    names: ClassVar[set[str]] = set()

    def __getattribute__(self, name):
        if name in LossInputs._fields:
            Recorded.names.add(name)
        return super().__getattribute__(name)


def fields_read(loss, inputs):
    Recorded.names = set()
    loss.compute(Recorded(*inputs))
    return Recorded.names


SHAPES = {
    "AttentionTransfer": (4, 3, 2),
    "PreferenceConsistentHint": (4, 3, 2),
}


def random(*shape, seed=0):
    values = np.random.default_rng(seed).normal(size=shape)
    return tf.constant(values, tf.float32)


def score_inputs():
    return LossInputs(
        -tf.sort(-random(3, 4)),
        random(3, 4, seed=1),
        listed=2,
        rows=tf.range(4),
        each=random(3, 4, 2, seed=2),
        labels=tf.ones([3, 4]),
    )


def uses_one_score(loss):
    """Whether a single score of the student makes a difference."""
    try:
        low, high = (
            float(tf.reduce_sum(loss([[1.0]], [[score]])))
            for score in (0.0, 3.0)
        )
    except UserError:  # The loss needs lists, rows or several teachers.
        return False
    return low != high


@pytest.mark.parametrize("kind", classes(DistillationLoss))
def test_single_scores_are_declared(kind):
    loss = build(kind)
    assert loss.uses_single_scores == uses_one_score(loss)


@pytest.mark.parametrize("kind", classes(DistillationLoss))
def test_score_losses_declare_the_inputs_that_they_read(kind):
    loss = build(kind)
    read = fields_read(loss, score_inputs())
    assert loss.uses_labels == ("labels" in read)
    assert loss.uses_rows == ("rows" in read)


@pytest.mark.parametrize("kind", classes(FeatureLoss))
def test_feature_losses_declare_the_inputs_that_they_read(kind):
    loss = build(kind)
    shape = SHAPES.get(kind.__name__, (4, 8))
    inputs = LossInputs(
        random(*shape), random(*shape, seed=1), rows=tf.range(4)
    )
    read = fields_read(loss, inputs)
    assert loss.uses_labels == ("labels" in read)
    assert loss.uses_rows == ("rows" in read)
    if loss.adversaries:
        assert loss.compute_adversary(inputs).shape == []
    else:
        with pytest.raises(NotImplementedError):
            loss.compute_adversary(inputs)


@pytest.mark.parametrize("wrap", ["ConfidenceWeighted", "GapWeighted"])
def test_a_weighted_loss_declares_what_its_own_loss_declares(wrap):
    weighted = getattr(losses, wrap)
    assert not weighted(SoftTargets()).uses_single_scores
    assert not uses_one_score(weighted(SoftTargets()))
    assert weighted(UnbiasedPairs([0, 1])).uses_rows


def test_keras_calls_and_inputs_give_the_same_loss():
    inputs = score_inputs()._replace(weight=tf.constant([1.0, 2.0, 0.0]))
    loss = SoftTargets(temperature=2.0)
    np.testing.assert_array_equal(
        loss.compute(inputs),
        loss(inputs.teacher, inputs.student, inputs.weight),
    )


def test_a_temperature_is_not_taken_from_a_call():
    with pytest.raises(TypeError, match="temperature"):
        SoftTargets()([[1.0]], [[0.0]], temperature=2.0)
