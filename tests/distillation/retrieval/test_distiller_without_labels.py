"""With a weight of 0 the labels' loss is neither computed nor logged."""

import numpy as np
import pytest
import tensorflow as tf

from kd_tfrs.distillation import (
    DistillationTerm,
    GradientNormBalance,
    SoftTargets,
)
from kd_tfrs.distillation.retrieval import (
    AllCandidates,
    Distiller,
    EmbeddingTeacher,
)
from kd_tfrs.testing.retrieval import tiny_world

TEACHER_TAU, TAU, T, WEIGHT, RATE = 0.4, 0.5, 2.0, 0.75, 0.1
SGD = tf.keras.optimizers.legacy.SGD
Decay = tf.keras.optimizers.schedules.PolynomialDecay


@pytest.fixture(scope="module")
def world():
    return tiny_world(ids_only=True)


@pytest.fixture(scope="module")
def vectors(world):
    """The teacher's embeddings of both sides."""
    random = np.random.default_rng(2)
    counts = world.catalogue.num_users + 1, world.catalogue.num_items
    return [random.normal(size=(n, 5)).astype(np.float32) for n in counts]


def distiller_of(world, vectors, student_loss_weight, **options):
    """A distiller around a student whose embeddings are its tables' rows."""
    tf.keras.utils.set_random_seed(1)
    distiller = Distiller(
        EmbeddingTeacher(*vectors, temperature=TEACHER_TAU),
        world.model(3, temperature=TAU, normalize=False),
        DistillationTerm(SoftTargets(T), AllCandidates(num_queries=6)),
        WEIGHT,
        student_loss_weight=student_loss_weight,
        **options,
    )
    distiller.compile(optimizer=SGD(RATE), run_eagerly=True)
    return distiller


def batch_of(world, distiller):
    return world.batch(distiller.join, num_uniform_negatives=3)


def tables_of(world, student):
    """The embeddings of all users and items, and the tables' rows of each."""
    found = []
    for tower, tables in (
        (student.query_tower, world.query_tables),
        (student.candidate_tower, world.candidate_tables),
    ):
        (table,), (places,) = tower.get_weights(), tables.values()
        found.append((table, places))
    return found


def softmax(scores):
    shifted = np.exp(scores - scores.max(axis=1, keepdims=True))
    return shifted / shifted.sum(axis=1, keepdims=True)


def test_a_step_is_that_of_the_terms_alone(world, vectors):
    distiller = distiller_of(world, vectors, 0.0)
    student = distiller.student
    (queries, query_at), (candidates, candidate_at) = tables_of(world, student)
    batch = batch_of(world, distiller)
    drawn = batch["query_row"].numpy()[-6:]

    logs = distiller.train_step(batch)

    # L = w T^2 / n sum_i KL(p_i || q_i); p = softmax(t / T), q of s likewise.
    q, c = queries[query_at[drawn]], candidates[candidate_at]
    p = softmax(vectors[0][drawn] @ vectors[1].T / TEACHER_TAU / T)
    student_p = softmax(q @ c.T / TAU / T)
    divergence = (p * np.log(p / student_p)).sum(axis=1)
    expected = T**2 * divergence.mean()
    assert float(logs["soft_targets"]) == pytest.approx(expected, rel=1e-4)
    assert float(logs["loss"]) == pytest.approx(WEIGHT * expected, rel=1e-4)
    # dL/ds = w T / n (q - p), and s = <q, c> / tau.
    slope = WEIGHT * T / len(drawn) * (student_p - p) / TAU
    for before, places, gradient, tower in (
        (queries, query_at[drawn], slope @ c, student.query_tower),
        (candidates, candidate_at, slope.T @ q, student.candidate_tower),
    ):
        after = before.copy()
        np.subtract.at(after, places, RATE * gradient)
        np.testing.assert_allclose(tower.get_weights()[0], after, atol=1e-5)


def test_the_labels_loss_is_not_computed(world, vectors):
    distiller = distiller_of(world, vectors, 0.0)
    batch = batch_of(world, distiller)

    def refuse(*_):
        raise AssertionError("the labels' loss was computed")

    distiller.student.task_loss = refuse

    for step in (distiller.train_step, distiller.test_step):
        assert list(step(batch)) == ["loss", "soft_targets"]
    assert [m.name for m in distiller.metrics] == ["loss", "soft_targets"]
    other = distiller_of(world, vectors, 0.1)
    other.student.task_loss = refuse
    with pytest.raises(AssertionError, match="was computed"):
        other.train_step(batch)


@pytest.mark.parametrize(
    ("weight", "options"),
    [(0.3, {}), (Decay(0.0, 4, 1.0), {}), (0.0, {"balance": True})],
    ids=["weight", "schedule", "balance"],
)
def test_labels_that_count_or_may_count_are_logged(
    world, vectors, weight, options
):
    if options:
        options = {"balance": GradientNormBalance()}
    distiller = distiller_of(world, vectors, weight, **options)

    logs = distiller.train_step(batch_of(world, distiller))

    assert list(logs) == ["loss", "student_loss", "soft_targets"]
    assert float(logs["student_loss"]) > 0


def test_a_schedule_at_0_gives_the_same_step(world, vectors):
    weights = []
    for weight in (0.0, Decay(0.0, 4, 0.0)):
        distiller = distiller_of(world, vectors, weight)
        distiller.train_step(batch_of(world, distiller))
        weights.append(distiller.student.get_weights())
    for one, other in zip(*weights, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)
