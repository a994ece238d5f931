"""Embeddings of queries and their lists, against a look-up by hand."""

import numpy as np
import pytest
import tensorflow as tf

from kd_tfrs.distillation import (
    DistillationTerm,
    Hint,
    PreferenceConsistentHint,
    RelaxedRanking,
)
from kd_tfrs.distillation.retrieval import (
    Distiller,
    EmbeddingTeacher,
    FeaturePair,
    InBatch,
    ListFeatures,
    RankSampled,
    TeacherTopK,
)
from kd_tfrs.errors import UserError
from kd_tfrs.testing.retrieval import tiny_world

NUM_USERS, NUM_ITEMS, TAU = 12, 20, 0.5


@pytest.fixture(scope="module")
def world():
    return tiny_world(NUM_USERS, NUM_ITEMS, ids_only=True)


@pytest.fixture(scope="module")
def vectors():
    rng = np.random.default_rng(3)
    return tuple(
        rng.normal(size=(rows, 5)).astype(np.float32)
        for rows in (NUM_USERS + 1, NUM_ITEMS)
    )


@pytest.fixture(scope="module")
def teacher(vectors):
    return EmbeddingTeacher(*vectors, temperature=TAU)


@pytest.mark.parametrize("num_random", [0, 14])
def test_both_models_features_against_a_look_up(
    world, vectors, teacher, num_random
):
    ranked = RankSampled(3, k=6, num_random=num_random, num_queries=7)
    sampler, twin = ListFeatures(ranked), ranked

    def join(rows, seed):
        for each in (twin, sampler):
            rows = each.join(rows, seed, teacher)
        return rows

    batch = world.batch(join, num_uniform_negatives=3)
    outputs = world.model(3)(batch)
    inputs = sampler.features(batch, outputs, teacher)
    selection = twin.select(batch)
    users = batch["query_row"].numpy()[selection.query]
    items = batch["candidate_row"].numpy()[selection.lists]
    if num_random:
        # Dealt out: each query has two that no other query has.
        random = batch["candidate_row"].numpy()[selection.shared]
        items = np.concatenate([items, random.reshape(7, 2)], axis=1)
    assert inputs.listed == (3 if num_random else 0)
    np.testing.assert_array_equal(inputs.rows, users)
    wanted = np.concatenate([vectors[0][users][:, None], vectors[1][items]], 1)
    np.testing.assert_array_equal(inputs.teacher, wanted)
    assert inputs.mask.numpy().all()
    assert inputs.mask.shape == inputs.teacher.shape[:2]
    sides = {side: outputs[side]["embedding"].numpy() for side in outputs}
    rows = {side: batch[f"{side}_row"].numpy() for side in outputs}
    wanted = [
        [
            sides[side][np.flatnonzero(rows[side] == row)[0]]
            for side, row in (
                ("query", user),
                *(("candidate", item) for item in listed),
            )
        ]
        for user, listed in zip(users, items, strict=True)
    ]
    np.testing.assert_allclose(inputs.student, wanted, rtol=1e-6)


def test_a_list_that_is_too_short_is_masked(world, vectors):
    seen = tf.ragged.constant(
        [list(range(NUM_ITEMS - 2))] * (NUM_USERS + 1), tf.int32, ragged_rank=1
    )
    teacher = EmbeddingTeacher(*vectors, temperature=TAU, seen=seen)
    sampler = ListFeatures(TeacherTopK(k=4, num_queries=5))
    batch = world.batch(lambda rows, seed: sampler.join(rows, seed, teacher))
    inputs = sampler.features(batch, world.model(3)(batch), teacher)
    np.testing.assert_array_equal(
        inputs.mask, [[True, True, True, False, False]] * 5
    )


def test_a_distiller_trains_with_it_beside_a_loss_on_scores(world, teacher):
    ranked = RankSampled(3, k=6, num_random=7, num_queries=7)
    hint = PreferenceConsistentHint()
    student = world.model(3)
    distiller = Distiller(
        teacher,
        student,
        [
            DistillationTerm(hint, ListFeatures(ranked)),
            DistillationTerm(RelaxedRanking(), ranked),
        ],
    )
    distiller.compile(tf.keras.optimizers.legacy.Adam(0.01), run_eagerly=True)
    batches = world.batches(16, num_uniform_negatives=3)
    before = [v.numpy() for x in hint.trainable_layers for v in x.weights]
    history = distiller.fit(
        batches.dataset(1, join=distiller.join), steps_per_epoch=2, verbose=0
    )
    assert np.isfinite(history.history["loss"]).all()
    after = [v.numpy() for x in hint.trainable_layers for v in x.weights]
    assert all(
        not np.array_equal(a, b) for a, b in zip(before, after, strict=True)
    )


@pytest.mark.parametrize("candidates", [InBatch(), None])
def test_other_samplers_are_refused(candidates):
    with pytest.raises(UserError, match="sampler of the teacher's lists"):
        ListFeatures(candidates)


def test_random_candidates_have_to_go_round():
    with pytest.raises(UserError, match="multiple of `num_queries`"):
        ListFeatures(RankSampled(3, k=6, num_random=10, num_queries=7))


def test_a_loss_on_rows_and_one_on_lists_have_each_their_sampler(
    world, teacher
):
    lists = ListFeatures(TeacherTopK(k=4))
    with pytest.raises(UserError, match="FeaturePair"):
        DistillationTerm(RelaxedRanking(), lists)
    for term in (
        DistillationTerm(Hint(), lists),
        DistillationTerm(PreferenceConsistentHint(), FeaturePair("query")),
    ):
        with pytest.raises(UserError, match="ListFeatures"):
            Distiller(teacher, world.model(3), term)
