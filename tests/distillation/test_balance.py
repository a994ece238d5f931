"""Weights that keep gradients in proportion, by finite arithmetic."""

import numpy as np
import pytest
import tensorflow as tf

from kd_tfrs.distillation import (
    DistillationTerm,
    GradientNormBalance,
    Hint,
    ScoreRegression,
    SoftTargets,
)
from kd_tfrs.distillation.retrieval import (
    Distiller,
    FeaturePair,
    InBatch,
    TwoTowerTeacher,
)
from kd_tfrs.errors import UserError
from kd_tfrs.models import LazyAdam
from kd_tfrs.testing.retrieval import tiny_world


def test_factors_are_quotients_of_averaged_norms():
    """g1 = (3, 4), g2 = (0, 10): 5 / 10, then averages with momentum 1/2."""
    balance = GradientNormBalance(momentum=0.5, every=1)
    balance.build(1)
    x = tf.Variable([[1.0, 1.0]])
    for slope, norm_1, norm_2 in ((10.0, 2.5, 5.0), (2.0, 3.75, 3.5)):
        with tf.GradientTape(persistent=True) as tape:
            sources = [1.0 * x]
            e = sources[0]
            parts = [3 * e[0, 0] + 4 * e[0, 1], slope * e[0, 1]]
        (factor,) = balance(tape, sources, parts)
        np.testing.assert_allclose(factor, norm_1 / norm_2, rtol=1e-6)


def test_a_loss_without_gradient_gets_no_factor():
    balance = GradientNormBalance()
    balance.build(1)
    x = tf.Variable([[1.0]])
    with tf.GradientTape(persistent=True) as tape:
        sources = [1.0 * x]
        parts = [tf.reduce_sum(sources[0]), tf.constant(1.0)]
    (factor,) = balance(tape, sources, parts)
    assert float(factor) == 0.0


def test_a_distiller_does_not_see_the_scale_of_a_loss():
    """A loss a thousand times as large moves the student the same way."""
    world = tiny_world(ids_only=True)
    big = world.model(8)
    tables = world.query_tables, world.candidate_tables
    teacher = TwoTowerTeacher(
        big.query_tower, big.candidate_tower, *tables, big.temperature
    )
    found = []
    start = world.model(4).get_weights()
    for scale in (1.0, 1000.0):
        student = world.model(4)
        student.set_weights(start)
        distiller = Distiller(
            teacher,
            student,
            [
                DistillationTerm(SoftTargets(), InBatch()),
                DistillationTerm(_Scaled(scale), InBatch()),
            ],
            [1.0, 0.5],
            balance=GradientNormBalance(0.9),
        )
        distiller.compile(optimizer=LazyAdam(0.01))
        batches = world.batches()
        distiller.fit(
            batches.dataset(2, join=distiller.join),
            epochs=2,
            steps_per_epoch=batches.steps_per_epoch,
            verbose=0,
        )
        assert len(distiller.checkpointed) == 1  # the averages are checkpointed
        found.append(student.get_weights())
    for one, other in zip(*found, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-4)


class _Scaled(ScoreRegression):
    def __init__(self, scale):
        super().__init__()
        self.scale = scale

    def per_query(self, inputs):
        return self.scale * super().per_query(inputs)


@pytest.mark.parametrize("momentum", [-0.1, 1.0])
def test_momentum_out_of_range(momentum):
    with pytest.raises(UserError, match="momentum"):
        GradientNormBalance(momentum)


def test_a_row_that_lists_gather_often_counts_as_the_sum_over_them():
    """d/de of the sum over 4 places of one row e is (4, 4), not 4 ones."""
    balance = GradientNormBalance(momentum=0.0, every=1)
    balance.build(1)
    x = tf.Variable([[1.0, 1.0], [5.0, 5.0]])
    with tf.GradientTape(persistent=True) as tape:
        sources = [1.0 * x]
        e = sources[0]
        listed = tf.gather(e, [[0, 0], [0, 0]])
        parts = [tf.reduce_sum(listed), 2.0 * e[1, 0]]
    (factor,) = balance(tape, sources, parts)
    np.testing.assert_allclose(factor, np.sqrt(4**2 + 4**2) / 2.0, rtol=1e-6)


def test_a_term_on_a_hidden_output_is_refused():
    world = tiny_world(ids_only=True)
    big, student = world.model(8), world.model(4, hidden_units=(6,))
    tables = world.query_tables, world.candidate_tables
    teacher = TwoTowerTeacher(
        big.query_tower, big.candidate_tower, *tables, big.temperature
    )
    term = DistillationTerm(
        Hint(), FeaturePair("query", "embedding", "hidden_0")
    )
    with pytest.raises(UserError, match="'hidden_0'"):
        Distiller(teacher, student, term, 1.0, balance=GradientNormBalance())


def test_between_measurements_norms_stay():
    """Slopes 1 to 6, measured at steps 1 and 4; 1/8 of the old one stays."""
    balance = GradientNormBalance(momentum=0.5, every=3)
    balance.build(1)
    x = tf.Variable([[1.0]])

    @tf.function
    def step(slope):
        with tf.GradientTape(persistent=True) as tape:
            sources = [1.0 * x]
            e = sources[0]
            parts = [tf.reduce_sum(e), slope * tf.reduce_sum(e)]
        return balance(tape, sources, parts)[0]

    found = [float(step(tf.constant(float(n)))) for n in range(1, 7)]
    kept, new = 1 / 8, 7 / 8
    first, second = 1.0, (kept * new + new) / (kept * new * 1 + new * 4)
    np.testing.assert_allclose(found, [first] * 3 + [second] * 3, rtol=1e-6)


def test_impossible_numbers_are_refused():
    with pytest.raises(UserError, match="`every`"):
        GradientNormBalance(every=0)
