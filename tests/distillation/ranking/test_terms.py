"""Every ranking method through the Distiller, on its selector."""

import numpy as np
import pytest
import tensorflow as tf

from kd_tfrs.distillation import DistillationTerm
from kd_tfrs.distillation.losses.dual_correction import DualCorrection
from kd_tfrs.distillation.losses.easy_to_hard import EasyToHard
from kd_tfrs.distillation.losses.ranking_distillation import RankingDistillation
from kd_tfrs.distillation.losses.rejuvenated import RejuvenatedCrossEntropy
from kd_tfrs.distillation.losses.relaxed_ranking import RelaxedRanking
from kd_tfrs.distillation.losses.unbiased import (
    UnbiasedPairs,
    popularity_groups,
)
from kd_tfrs.distillation.retrieval import (
    Distiller,
    EmbeddingTeacher,
    TeacherTopK,
)
from kd_tfrs.distillation.retrieval.candidates.item_side import ItemSide
from kd_tfrs.distillation.retrieval.candidates.rank_sampled import RankSampled
from kd_tfrs.testing.retrieval import tiny_world

NUM_USERS, NUM_ITEMS = 12, 40
SAMPLED = RankSampled(5, k=8, rank_decay=4.0, num_random=9, num_queries=24)
TOP = TeacherTopK(8, num_random=20, num_queries=24)


@pytest.fixture(scope="module")
def world():
    return tiny_world(NUM_USERS, NUM_ITEMS, ids_only=True)


@pytest.fixture(scope="module")
def vectors():
    rng = np.random.default_rng(3)
    return (
        rng.normal(size=(NUM_USERS + 1, 3)).astype(np.float32),
        rng.normal(size=(NUM_ITEMS, 3)).astype(np.float32),
    )


def terms(world):
    groups = popularity_groups(world.catalogue.item_events, 3)
    return (
        DistillationTerm(RelaxedRanking(), SAMPLED),
        DistillationTerm(RelaxedRanking(name="item_side"), ItemSide(SAMPLED)),
        DistillationTerm(
            RelaxedRanking(name="list_mle"), TeacherTopK(8, num_queries=24)
        ),
        DistillationTerm(EasyToHard(20), TOP),
        DistillationTerm(
            RankingDistillation(NUM_ITEMS, 4.0, warm_up_steps=1), TOP
        ),
        DistillationTerm(DualCorrection(NUM_ITEMS, 5), TOP),
        DistillationTerm(
            DualCorrection(NUM_USERS, 3, name="dcd_items"), ItemSide(SAMPLED)
        ),
        DistillationTerm(RejuvenatedCrossEntropy(num_closing=10), TOP),
        DistillationTerm(UnbiasedPairs(groups), TOP),
    )


def shared_best(world, vectors, model, k=8):
    """Mean share of the teacher's best that are the student's best too."""
    query, candidate = (
        tower(tables)["embedding"].numpy()
        for tower, tables in (
            (model.query_tower, world.query_tables),
            (model.candidate_tower, world.candidate_tables),
        )
    )
    ours, theirs = (
        np.argsort(-(q[1:] @ c.T), axis=1)[:, :k]
        for q, c in ((query, candidate), vectors)
    )
    return np.mean(
        [len(set(a) & set(b)) / k for a, b in zip(ours, theirs, strict=True)]
    )


def trained(world, vectors, losses, steps):
    student = world.model(3, temperature=0.5)
    distiller = Distiller(
        EmbeddingTeacher(*vectors, temperature=0.3),
        student,
        losses,
        [1.0] * len(losses),
        student_loss_weight=0.0,
    )
    # A few eager steps are faster than a graph.
    distiller.compile(
        tf.keras.optimizers.legacy.Adam(0.03), run_eagerly=steps < 10
    )
    batches = world.batches(16)
    history = distiller.fit(
        batches.dataset(30, join=distiller.join),
        steps_per_epoch=steps,
        epochs=2,
        verbose=0,
    )
    return student, history.history


def test_every_term_is_computed_in_one_step(world, vectors):
    losses = terms(world)
    student, history = trained(world, vectors, losses, 1)
    # The total and every term; labels of weight 0 are not computed.
    assert len(history) == 1 + len(losses)
    assert all(np.isfinite(x).all() for x in history.values())
    assert all(x[0] > 0 for x in history.values())
    for weight in student.trainable_variables:
        assert np.isfinite(weight.numpy()).all()


def test_a_student_of_relaxed_ranking_comes_near_its_teacher(world, vectors):
    before = shared_best(world, vectors, world.model(3, temperature=0.5))
    student, _ = trained(world, vectors, terms(world)[:1], 30)
    assert shared_best(world, vectors, student) > before + 0.2
