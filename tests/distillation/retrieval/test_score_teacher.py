"""A matrix of scores teaches what it says, in memory or on disk."""

import numpy as np
import pytest
import tensorflow as tf

from kd_tfrs.distillation.retrieval.batch_scores import Selection
from kd_tfrs.distillation.retrieval.teachers.scores import ScoreTeacher
from kd_tfrs.errors import UserError

SCORES = np.random.default_rng(0).normal(size=(5, 7)).astype(np.float32)
SEEN = tf.ragged.constant([[], [0, 6], [], [3], []], dtype=tf.int32)
BATCH = {
    "query_row": tf.constant([4, 1, 1]),
    "candidate_row": tf.constant([6, 0, 2, 2]),
}


@pytest.fixture(params=["float32", "float16", "disk"])
def teacher(request, tmp_path):
    scores = SCORES
    if request.param == "float16":
        scores = scores.astype(np.float16)
    elif request.param == "disk":
        np.save(tmp_path / "scores.npy", SCORES)
        scores = np.load(tmp_path / "scores.npy", mmap_mode="r")
    return ScoreTeacher(scores, temperature=0.5, seen=SEEN)


def test_scores_are_those_of_the_matrix(teacher):
    assert (teacher.num_queries, teacher.num_candidates) == (5, 7)
    found = tf.function(teacher.all_scores)(tf.constant([3, 3, 1]))
    assert found.dtype == tf.float32
    np.testing.assert_allclose(found, SCORES[[3, 3, 1]] / 0.5, atol=5e-3)
    rows, scores = tf.function(lambda q: teacher.top_k(q, 7))(
        tf.constant([1, 2])
    )
    assert rows.shape == [2, 7]
    np.testing.assert_array_equal(rows[1], np.argsort(-SCORES[2]))
    assert set(rows[0, 5:].numpy()) == {0, 6}
    np.testing.assert_array_equal(np.isneginf(scores[0]), [0] * 5 + [1] * 2)


def test_a_batch_with_lists_and_shared_candidates(teacher):
    selection = Selection(
        query=tf.constant([0, 2]),
        mask=tf.constant([True] * 4),
        weight=tf.ones(2),
        shared=tf.constant([1, 3]),
        lists=tf.constant([[0, 1], [3, 0]]),
    )
    found = tf.function(lambda: teacher.batch_scores(BATCH).scores(selection))()
    users, items = [4, 1], [[6, 0, 0, 2], [2, 6, 0, 2]]
    expected = [SCORES[u][i] / 0.5 for u, i in zip(users, items, strict=True)]
    np.testing.assert_allclose(found, expected, atol=5e-3)


def test_reversed(teacher):
    other = teacher.reversed()
    assert (other.first_query, other.first_candidate) == (0, 1)
    users, scores = other.top_k(tf.range(7), 5)
    for item in range(7):
        left = np.isfinite(scores[item])
        gone = {0} | {u for u in range(5) if item in SEEN[u].numpy()}
        assert set(users[item].numpy()[~left]) == gone
        np.testing.assert_allclose(
            scores[item].numpy()[left],
            np.sort(np.delete(SCORES[:, item], sorted(gone)))[::-1] / 0.5,
            atol=5e-3,
        )


@pytest.mark.parametrize(
    "scores", [np.ones((2, 3)), np.ones(3, np.float32), np.ones((2, 2), int)]
)
def test_only_a_matrix_of_floats(scores):
    with pytest.raises(UserError, match="`scores` should be a float16 or"):
        ScoreTeacher(scores)


def test_the_temperature_is_positive():
    with pytest.raises(UserError, match="`temperature` should be positive"):
        ScoreTeacher(SCORES, temperature=0.0)
