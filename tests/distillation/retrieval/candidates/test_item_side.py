"""Lists of users for items, against brute force."""

import numpy as np
import pytest
import tensorflow as tf

from kd_tfrs.distillation.retrieval import (
    EmbeddingTeacher,
    InBatch,
    TeacherTopK,
)
from kd_tfrs.distillation.retrieval.batch_scores import EmbeddingScores
from kd_tfrs.distillation.retrieval.candidates.item_side import ItemSide
from kd_tfrs.distillation.retrieval.candidates.rank_sampled import RankSampled
from kd_tfrs.errors import UserError
from kd_tfrs.testing.retrieval import tiny_world

NUM_USERS, NUM_ITEMS, TAU = 12, 20, 0.5


@pytest.fixture(scope="module")
def world():
    return tiny_world(NUM_USERS, NUM_ITEMS)


@pytest.fixture(scope="module")
def vectors():
    rng = np.random.default_rng(3)
    return (
        rng.normal(size=(NUM_USERS + 1, 5)).astype(np.float32),
        rng.normal(size=(NUM_ITEMS, 5)).astype(np.float32),
    )


def selected(world, samplers, teacher):
    def join(rows, seed):
        for sampler in samplers:
            rows = sampler.join(rows, seed, teacher)
        return rows

    batch = world.batch(join, num_uniform_negatives=3)
    return batch, [sampler.select(batch) for sampler in samplers]


@pytest.mark.parametrize("unseen_only", [False, True])
def test_best_users_against_brute_force(world, vectors, unseen_only):
    seen = world.seen() if unseen_only else None
    teacher = EmbeddingTeacher(*vectors, temperature=TAU, seen=seen)
    sampler = ItemSide(TeacherTopK(k=4, num_random=6, num_queries=30))
    batch, [selection] = selected(world, [sampler], teacher)
    assert selection.reverse
    users = batch["query_row"].numpy()
    items = batch["candidate_row"].numpy()[selection.query]
    lists, random = users[selection.lists], users[selection.shared]
    assert items.min() >= 0
    assert items.max() < NUM_ITEMS
    assert len(np.unique(items)) > 10
    assert random.min() >= 1, "the unknown user is nobody's best"
    for q, item in enumerate(items):
        scores = (vectors[0] @ vectors[1][item] / TAU).astype(np.float64)
        scores[0] = -np.inf
        if unseen_only:
            scores[world.user_rows[world.item_rows == item]] = -np.inf
        best = np.argsort(-scores, kind="stable")[:4]
        there = np.isfinite(scores[best])
        np.testing.assert_array_equal(selection.mask[q, :4], there)
        np.testing.assert_array_equal(lists[q][there], best[there])
        np.testing.assert_allclose(
            selection.list_scores[q], scores[best], rtol=1e-4
        )
        fresh = [
            user not in best and user not in random[:j]
            for j, user in enumerate(random)
        ]
        np.testing.assert_array_equal(selection.mask[q, 4:], fresh)


def test_teacher_and_student_score_the_same_pairs(world, vectors):
    teacher = EmbeddingTeacher(*vectors, temperature=TAU)
    sampler = ItemSide(RankSampled(3, k=6, num_random=5, num_queries=7))
    batch, [selection] = selected(world, [sampler], teacher)
    users = batch["query_row"].numpy()
    items = batch["candidate_row"].numpy()[selection.query]
    pairs = np.concatenate(
        [
            users[selection.lists],
            np.tile(users[selection.shared], (len(items), 1)),
        ],
        axis=1,
    )
    inputs = teacher.batch_scores(batch).scores(selection)
    wanted = np.einsum("qnd,qd->qn", vectors[0][pairs], vectors[1][items])
    np.testing.assert_allclose(inputs, wanted / TAU, rtol=1e-3, atol=1e-4)
    outputs = world.model(temperature=0.25)(batch)
    student = EmbeddingScores.of_student(outputs, 0.25).scores(selection)
    at = np.concatenate(
        [
            selection.lists,
            np.tile(selection.shared, (len(items), 1)),
        ],
        axis=1,
    )
    query, candidate = (
        outputs[side]["embedding"].numpy() for side in ("query", "candidate")
    )
    wanted = np.einsum("qnd,qd->qn", query[at], candidate[selection.query])
    np.testing.assert_allclose(student, wanted / 0.25, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(selection.candidate_rows(batch), pairs)


def test_both_sides_of_the_same_sampler_fit_in_one_batch(world, vectors):
    teacher = EmbeddingTeacher(*vectors, temperature=TAU)
    candidates = RankSampled(3, k=6, num_random=5, num_queries=7)
    alone, [wanted] = selected(world, [candidates], teacher)
    batch, [users, items] = selected(
        world, [candidates, ItemSide(candidates)], teacher
    )
    for a, b in zip(wanted, users, strict=True):
        if isinstance(a, tf.Tensor):
            np.testing.assert_array_equal(a, b)
    count = len(alone["query_row"])
    np.testing.assert_array_equal(
        batch["query_row"][:count], alone["query_row"]
    )
    assert not users.reverse
    assert items.reverse
    for name, table in world.query_tables.items():
        np.testing.assert_array_equal(
            batch["query"][name], table[batch["query_row"].numpy()]
        )


def test_only_lists_can_be_turned_round():
    with pytest.raises(UserError, match="sampler of the teacher's lists"):
        ItemSide(InBatch())


def test_batches_without_the_joined_rows_are_refused(world):
    with pytest.raises(UserError, match=r"join=distiller\.join"):
        ItemSide(RankSampled()).select(world.batch())
