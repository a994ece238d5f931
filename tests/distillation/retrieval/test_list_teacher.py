"""A teacher of lists gives their scores and the assumed ones."""

import numpy as np
import pytest
import tensorflow as tf

from kd_tfrs.distillation.retrieval.batch_scores import Selection
from kd_tfrs.distillation.retrieval.teachers.lists import ListTeacher
from kd_tfrs.errors import UserError

# Query 2's list has one candidate, query 0's none.
ROWS = np.array([[0, 1, 2], [5, 0, 3], [4, 0, 1]])
SCORES = np.array([[-np.inf] * 3, [9.0, 7.0, 2.0], [3.0, -np.inf, -np.inf]])
BATCH = {
    "query_row": tf.constant([2, 1]),
    "candidate_row": tf.constant([4, 5, 0, 3, 1]),
}


def selection(**parts):
    return Selection(
        query=tf.constant([1, 0]),
        mask=tf.constant([True]),
        weight=tf.ones(2),
        **parts,
    )


def test_lists_are_given_as_they_are():
    teacher = ListTeacher((ROWS, SCORES), 6)
    assert (teacher.num_queries, teacher.num_candidates) == (3, 6)
    rows, scores = teacher.top_k(tf.constant([1, 1]), 2)
    np.testing.assert_array_equal(rows, [[5, 0]] * 2)
    np.testing.assert_array_equal(scores, [[9, 7]] * 2)
    with pytest.raises(UserError, match="exceed the cache's 3"):
        teacher.top_k(tf.constant([1]), 4)
    list_scores = tf.constant([[1.0], [2.0]])
    inputs = teacher.batch_scores(BATCH).scores(
        selection(lists=tf.constant([[0], [0]]), list_scores=list_scores)
    )
    np.testing.assert_array_equal(inputs, list_scores)


@pytest.mark.parametrize(
    ("unlisted", "floors"), [(-5.0, [-5, -5, -5]), ("lowest", [0, 2, 3])]
)
def test_all_else_scores_what_was_assumed(unlisted, floors):
    teacher = ListTeacher((ROWS, SCORES.astype(np.float16)), 6, unlisted)
    expected = np.repeat(np.array(floors, float)[:, None], 6, axis=1)
    for query in range(3):
        for row, score in zip(ROWS[query], SCORES[query], strict=True):
            if np.isfinite(score):
                expected[query, row] = score
    np.testing.assert_array_equal(teacher.all_scores(tf.range(3)), expected)
    inputs = tf.function(
        lambda: teacher.batch_scores(BATCH).scores(
            selection(
                lists=tf.constant([[0], [3]]), shared=tf.constant([1, 2, 4])
            )
        )
    )()
    np.testing.assert_array_equal(inputs[0], expected[1][[4, 5, 0, 1]])
    np.testing.assert_array_equal(inputs[1], expected[2][[3, 5, 0, 1]])


def test_nothing_is_made_up():
    teacher = ListTeacher((ROWS, SCORES), 6)
    shared = selection(shared=tf.constant([1]))
    for ask in (
        lambda: teacher.all_scores(tf.range(3)),
        lambda: teacher.batch_scores(BATCH).scores(shared),
    ):
        with pytest.raises(UserError, match="computed on its lists alone"):
            ask()


def test_reversed():
    item_rows = np.full((6, 2), 1)
    item_scores = np.full((6, 2), 8.0)
    with pytest.raises(UserError, match="item_k"):
        ListTeacher((ROWS, SCORES), 6).reversed()
    teacher = ListTeacher((ROWS, SCORES), 6, -1.0, (item_rows, item_scores))
    other = teacher.reversed()
    assert (other.num_queries, other.num_candidates) == (6, 3)
    assert (other.first_query, other.first_candidate) == (0, 1)
    np.testing.assert_array_equal(
        other.all_scores(tf.constant([2])), [[-1, 8, -1]]
    )
    inputs = teacher.batch_scores(BATCH).scores(
        selection(shared=tf.constant([0, 1]), reverse=True)
    )
    np.testing.assert_array_equal(inputs, [[-1, 8], [-1, 8]])


def test_arguments_out_of_range():
    for unlisted in ("best", np.nan, -np.inf):
        with pytest.raises(UserError, match="`unlisted` should be a finite"):
            ListTeacher((ROWS, SCORES), 6, unlisted)
    with pytest.raises(UserError, match="`lists` should be rows and scores"):
        ListTeacher((ROWS, SCORES[:, :2]), 6)
