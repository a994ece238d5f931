"""An ensemble is the mean of its members, whatever their scales."""

import numpy as np
import pytest
import tensorflow as tf

from kd_tfrs.distillation import DistillationTerm, SoftTargets
from kd_tfrs.distillation.retrieval import (
    Distiller,
    EmbeddingTeacher,
    InBatch,
    TeacherTopK,
)
from kd_tfrs.distillation.retrieval.candidates.item_side import ItemSide
from kd_tfrs.distillation.retrieval.ensemble import EnsembleTeacher
from kd_tfrs.distillation.retrieval.teachers.scores import ScoreTeacher
from kd_tfrs.errors import UserError
from kd_tfrs.testing.retrieval import tiny_world

NUM_QUERIES, NUM_ITEMS = 13, 20


@pytest.fixture(scope="module")
def world():
    return tiny_world(NUM_QUERIES - 1, NUM_ITEMS, ids_only=True)


@pytest.fixture(scope="module")
def matrices():
    rng = np.random.default_rng(0)
    first = rng.normal(size=(NUM_QUERIES, NUM_ITEMS))
    second = 50 + 20 * rng.normal(size=(NUM_QUERIES, NUM_ITEMS))
    second[3] = 4.0  # knows nothing about this query
    return first.astype(np.float32), second.astype(np.float32)


@pytest.fixture(scope="module")
def teachers(matrices, world):
    first, second = matrices
    # One with embeddings, and one without.
    return (
        EmbeddingTeacher(first, np.eye(NUM_ITEMS, dtype=np.float32)),
        ScoreTeacher(second, seen=world.seen()),
    )


def scaled(matrices):
    """Every teacher's scores on the first one's scale, query by query."""
    found = []
    for scores in matrices:
        own = np.zeros_like(scores, np.float64)
        for query, row in enumerate(scores.astype(np.float64)):
            first = matrices[0][query].astype(np.float64)
            if row.std() > 0:
                own[query] = (row - row.mean()) / row.std() * first.std()
            own[query] += first.mean()
        found.append(own)
    return found


@pytest.mark.parametrize("weights", [None, (3.0, 1.0)])
@pytest.mark.parametrize("standardize", [True, False])
def test_scores_are_the_weighted_mean(teachers, matrices, weights, standardize):
    teacher = EnsembleTeacher(teachers, weights, standardize)
    each = scaled(matrices) if standardize else matrices
    expected = np.average(each, axis=0, weights=weights)
    rows = np.array([3, 0, 12])
    np.testing.assert_allclose(
        teacher.all_scores(tf.constant(rows)), expected[rows], atol=1e-4
    )


@pytest.mark.parametrize("list_k", [None, 6])
def test_lists_are_of_the_mean_and_unseen(teachers, matrices, world, list_k):
    teacher = EnsembleTeacher(teachers, list_k=list_k)
    expected = np.mean(scaled(matrices), axis=0)
    users = np.arange(1, NUM_QUERIES)
    rows, scores = tf.function(lambda q: teacher.top_k(q, 6))(
        tf.constant(users)
    )
    for user, found, values in zip(users, rows, scores, strict=True):
        mine = expected[user].copy()
        mine[world.item_rows[world.user_rows == user]] = -np.inf
        best = np.argsort(-mine)[:6]
        np.testing.assert_array_equal(found, best)
        np.testing.assert_allclose(values, mine[best], atol=1e-4)
    if list_k:
        with pytest.raises(UserError, match="should not exceed"):
            teacher.top_k(tf.constant([1]), 7)


def test_losses_receive_the_scores_of_each_teacher(teachers, matrices, world):
    teacher = EnsembleTeacher(teachers, (3.0, 1.0))
    sampler = TeacherTopK(k=4, num_random=5, num_queries=6)
    batch = world.batch(lambda rows, seed: sampler.join(rows, seed, teacher))
    for selection in (sampler.select(batch), InBatch().select(batch)):
        batch_scores = teacher.batch_scores(batch)
        each = batch_scores.scores_of_each(selection)
        mean = batch_scores.scores(selection)
        users = batch["query_row"].numpy()[selection.query]
        items = selection.candidate_rows(batch).numpy()
        items = np.broadcast_to(items, mean.shape)
        for m, expected in enumerate(scaled(matrices)):
            np.testing.assert_allclose(
                each[..., m], expected[users[:, None], items], atol=1e-4
            )
        np.testing.assert_allclose(
            mean, 0.75 * each[..., 0] + 0.25 * each[..., 1], atol=1e-4
        )
    lists = sampler.select(batch)
    np.testing.assert_allclose(
        teacher.batch_scores(batch).scores(lists)[:, :4],
        lists.list_scores,
        atol=1e-4,
    )


def test_it_follows_a_member_that_changes(world):
    class Changing(ScoreTeacher):
        factor = 1.0

        def all_scores(self, query_rows):
            return self.factor * super().all_scores(query_rows)

    rng = np.random.default_rng(1)
    scores = rng.normal(size=(NUM_QUERIES, NUM_ITEMS)).astype(np.float32)
    members = ScoreTeacher(scores), Changing(scores)
    teacher = EnsembleTeacher(members, list_k=3)
    ask = tf.function(lambda: teacher.top_k(tf.constant([2]), 3))
    before = ask()[0].numpy()
    members[1].factor = -1.0
    np.testing.assert_array_equal(ask()[0], before)
    teacher.refresh()
    # The two now cancel out: all candidates tie, and rows break ties.
    np.testing.assert_allclose(ask()[1] - ask()[1][0, 0], 0, atol=1e-5)
    assert not np.array_equal(ask()[1], np.sort(scores[2])[::-1][:3])


def test_a_student_learns_from_it(world, teachers):
    student = world.model(3)
    distiller = Distiller(
        EnsembleTeacher(teachers, list_k=5),
        student,
        [SoftTargets(), DistillationTerm(SoftTargets(), TeacherTopK(4, 3, 5))],
    )
    distiller.compile("sgd")
    data = world.batches().dataset(1, join=distiller.join)
    history = distiller.fit(data, verbose=0).history
    assert all(np.isfinite(values).all() for values in history.values())


def test_wrong_arguments_raise_errors(teachers, world):
    other = ScoreTeacher(np.ones((2, 3), np.float32))
    for message, make in {
        "two or more Teachers": lambda: EnsembleTeacher(teachers[:1]),
        "should be two or more": lambda: EnsembleTeacher([teachers[0], len]),
        "the same queries": lambda: EnsembleTeacher([teachers[0], other]),
        "`weights` should be 2": lambda: EnsembleTeacher(teachers, (1.0,)),
        "that are not negative": lambda: EnsembleTeacher(teachers, (1.0, -1.0)),
        "one of them positive": lambda: EnsembleTeacher(teachers, (0.0, 0.0)),
        "Take a TwoTowerTeacher": lambda: EnsembleTeacher(teachers).reversed(),
    }.items():
        with pytest.raises(UserError, match=message):
            make()
    ensemble = EnsembleTeacher(teachers)
    sampler = ItemSide(TeacherTopK(3, 0, 4))
    batch = world.batch(lambda r, seed: sampler.join(r, seed, teachers[0]))
    with pytest.raises(UserError, match="standardised by user"):
        ensemble.batch_scores(batch).scores(sampler.select(batch))
