"""DLLM2Rec's weights, as loops and by values of the authors' code."""

import json
import pathlib

import numpy as np
import pytest
import tensorflow as tf
from list_checks import ListLossChecks, lists

from kd_tfrs.distillation.losses.importance_weighted import (
    ImportanceWeightedRanking,
)
from kd_tfrs.distillation.losses.inputs import LossInputs
from kd_tfrs.errors import UserError

N = 9  # All candidates of the checks take part: the ranks are exact.
AUTHORS = pathlib.Path(__file__).with_name("dllm2rec_values.json")


def reference(t, s, mask, listed, gammas=(0.3, 0.5, 0.1), decay=1.0, n=N):
    kept = [r for r in range(listed) if mask[r]]
    if not kept:
        return 0.0
    unlisted = [s[j] for j in range(listed, len(s)) if mask[j]]
    position = {r: np.exp(-(r + 1) / decay) for r in kept}
    confidence = {r: np.exp(t[r] - max(t[i] for i in kept)) for r in kept}
    weights = {}
    for r in kept:
        above = sum(s[i] > s[r] for i in kept)
        if unlisted:
            share = sum(x > s[r] for x in unlisted) / len(unlisted)
            above += np.round(share * (n - listed))
        weights[r] = (
            gammas[0] * position[r] / sum(position.values())
            + gammas[1] * confidence[r] / sum(confidence.values())
            + gammas[2] * (above < listed)
        )
    total = sum(weights.values())
    loss = sum(w / total * np.logaddexp(0, -s[r]) for r, w in weights.items())
    if unlisted:
        loss += np.mean(np.logaddexp(0, unlisted))
    return loss


class TestImportanceWeightedRanking(ListLossChecks):
    def make(self, **options):
        return ImportanceWeightedRanking(N, **options)

    def changed(self):
        return ImportanceWeightedRanking(
            50, 0.4, 0.2, 0.7, rank_decay=2.5, name="other"
        )

    def reference(self, t, s, mask, listed):
        return reference(t, s, mask, listed)


class TestOtherWeights(TestImportanceWeightedRanking):
    def make(self, **options):
        return ImportanceWeightedRanking(40, 0.0, 0.2, 0.7, 2.5, **options)

    def reference(self, t, s, mask, listed):
        return reference(t, s, mask, listed, (0.0, 0.2, 0.7), 2.5, 40)


def all_candidates(values):
    """Scores of the authors' items, the list of each query first."""
    student = np.array(values["student"], np.float32)
    for row, listed in zip(student, values["lists"], strict=True):
        rest = np.setdiff1d(np.arange(len(row)), listed)
        row[:] = row[np.concatenate([listed, rest])]
    teacher = np.zeros_like(student)
    teacher[:, : len(values["lists"][0])] = -np.array(values["distances"])
    return teacher, student


def test_weights_of_the_authors():
    values = json.loads(AUTHORS.read_text())
    teacher, student = all_candidates(values)
    inputs = LossInputs(
        tf.constant(teacher),
        tf.constant(student),
        tf.ones(student.shape, tf.bool),
        listed=5,
    )
    weights = ImportanceWeightedRanking(12).weights(inputs)
    np.testing.assert_allclose(weights, values["weights"], rtol=1e-5)
    # Both kinds of item are among them.
    consistent = np.argsort(np.argsort(-student, axis=1), axis=1)[:, :5] < 5
    assert 0 < consistent.mean() < 1


def test_by_hand():
    # Equal scores of the teacher, no decay to speak of, and a student that
    # has the second item alone among its two best: weights 1/2 and 1/2 of
    # position and confidence, and 1 more for the second.
    t = np.array([[1.0, 1.0, 0.0, 0.0]], np.float32)
    s = np.array([[-2.0, 3.0, 1.0, 0.0]], np.float32)
    loss = ImportanceWeightedRanking(4, 0.5, 0.5, 1.0, rank_decay=1e9)
    wanted = 0.25 * np.logaddexp(0, 2.0) + 0.75 * np.logaddexp(0, -3.0)
    wanted += np.mean(np.logaddexp(0, [1.0, 0.0]))
    np.testing.assert_allclose(loss(t, s, listed=2), wanted, rtol=1e-6)


def test_what_the_student_has_among_its_best_weighs_more():
    t, s = lists(queries=1)
    s[0, 4] = -99.0
    loss = ImportanceWeightedRanking(1000, 0.3, 0.5, 0.9)
    inputs = LossInputs(
        tf.constant(t), tf.constant(s), tf.ones(t.shape, tf.bool), listed=5
    )
    before = loss.weights(inputs)[0, 4]
    s[0, 4] = 99.0
    after = loss.weights(inputs._replace(student=tf.constant(s)))[0, 4]
    assert after > before


def test_lists_without_unlisted_candidates_raise_an_error():
    t, s = lists(shared=0)
    with pytest.raises(UserError, match="random candidates beside the lists"):
        ImportanceWeightedRanking(N)(t, s, listed=5)


@pytest.mark.parametrize(
    "options",
    [
        {"num_candidates": 0},
        {"position_weight": -0.1},
        {"confidence_weight": float("nan")},
        {"consistency_weight": -1.0},
        {"rank_decay": 0.0},
        {"position_weight": 0.0, "confidence_weight": 0.0},
    ],
)
def test_numbers_out_of_range(options):
    with pytest.raises(UserError, match=next(iter(options))):
        ImportanceWeightedRanking(**{"num_candidates": N, **options})
