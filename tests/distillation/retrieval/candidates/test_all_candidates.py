"""All candidates there are, but for what a user has seen."""

import numpy as np
import pytest
import tensorflow as tf

from kd_tfrs.distillation import DistillationTerm, SoftTargets
from kd_tfrs.distillation.retrieval import (
    AllCandidates,
    Distiller,
    EmbeddingTeacher,
)
from kd_tfrs.errors import UserError
from kd_tfrs.models import LazyAdam
from kd_tfrs.testing.retrieval import tiny_world


@pytest.fixture(scope="module")
def world():
    return tiny_world(ids_only=True)


@pytest.fixture(scope="module")
def teacher(world):
    rng = np.random.default_rng(0)
    return EmbeddingTeacher(
        rng.normal(size=(world.catalogue.num_users + 1, 5)).astype(np.float32),
        rng.normal(size=(world.catalogue.num_items, 5)).astype(np.float32),
    )


def test_the_mask_is_what_was_not_seen(world, teacher):
    candidates, seen = AllCandidates(6, world.seen()), world.seen()
    batch = world.batch(lambda rows, seed: candidates.join(rows, seed, teacher))
    selection = candidates.select(batch)
    rows = selection.candidate_rows(batch).numpy()
    assert rows.tolist() == list(range(world.catalogue.num_items))
    users = tf.gather(batch["query_row"], selection.query).numpy()
    assert users.min() >= 1  # row 0 is nobody
    for user, mask in zip(users, selection.mask.numpy(), strict=True):
        left = set(rows) - set(seen[user].numpy())
        assert set(rows[mask]) == left


def test_scores_are_those_of_the_whole_catalogue(world, teacher):
    candidates = AllCandidates(4)
    batch = world.batch(lambda rows, seed: candidates.join(rows, seed, teacher))
    selection = candidates.select(batch)
    users = tf.gather(batch["query_row"], selection.query)
    np.testing.assert_allclose(
        teacher.batch_scores(batch).scores(selection),
        teacher.all_scores(users),
        rtol=1e-5,
    )
    assert selection.mask.numpy().all()


def test_the_student_learns_from_it(world, teacher):
    """Students of the whole softmax come close to a teacher's."""
    student = world.model(5)
    distiller = Distiller(
        teacher,
        student,
        DistillationTerm(SoftTargets(), AllCandidates(8)),
        1.0,
        student_loss_weight=0.0,
    )
    distiller.compile(optimizer=LazyAdam(0.05))
    batches = world.batches()
    history = distiller.fit(
        batches.dataset(12, join=distiller.join),
        epochs=12,
        steps_per_epoch=batches.steps_per_epoch,
        verbose=0,
    ).history["soft_targets"]
    assert history[-1] < 0.6 * history[0]


def test_no_query_is_an_error():
    with pytest.raises(UserError, match="num_queries"):
        AllCandidates(0)
