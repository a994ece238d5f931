"""Inputs of the terms of one step, each of its own teacher."""

import numpy as np
import pytest
import tensorflow as tf

from kd_tfrs.distillation import (
    DistillationTerm,
    FeatureLoss,
    Hint,
    ScoreRegression,
)
from kd_tfrs.distillation.retrieval import (
    EmbeddingTeacher,
    FeaturePair,
    InBatch,
)
from kd_tfrs.distillation.retrieval.step_inputs import (
    RetrievalStepInputs,
    build_features,
)
from kd_tfrs.distillation.terms import as_terms as terms_of
from kd_tfrs.errors import UserError
from kd_tfrs.testing.retrieval import tiny_world

NUM_USERS, NUM_ITEMS, TAU = 12, 20, 0.5


def value(inputs, term):
    return term.loss.compute(inputs.loss_inputs(term))


def adversary_value(inputs, term):
    return term.loss.compute_adversary(inputs.loss_inputs(term))


def own_terms(losses, teacher):
    return terms_of(losses, teacher, lambda _: InBatch())


class LinearAdversary(FeatureLoss):
    """Linear in its inputs, as is the loss of its adversary."""

    def per_row(self, inputs):
        teacher, student = (tf.reduce_sum(x, 1) for x in inputs[:2])
        return teacher - 3 * student

    def adversary_loss(self, inputs):
        teacher, student = (tf.reduce_sum(x, 1) for x in inputs[:2])
        apart = inputs.weight * (teacher - 3 * student)
        return tf.reduce_sum(apart) + tf.cast(inputs.step, tf.float32)


@pytest.fixture(scope="module")
def world():
    return tiny_world(NUM_USERS, NUM_ITEMS, ids_only=True)


@pytest.fixture(scope="module")
def teachers():
    rng = np.random.default_rng(3)
    return [
        EmbeddingTeacher(
            rng.normal(size=(NUM_USERS + 1, 5)).astype(np.float32),
            rng.normal(size=(NUM_ITEMS, 5)).astype(np.float32),
            temperature=TAU,
        )
        for _ in range(3)
    ]


def step_inputs(world, batch, step=0):
    outputs = world.model(3, temperature=TAU)(batch)
    return RetrievalStepInputs(batch, outputs, TAU, step), outputs


def test_a_loss_and_its_adversary_count_every_row_once(world, teachers):
    # sum_i w_i (sum(t_i) - 3 sum(s_i)) + step, with w_i = 1 for the first of
    # equal rows and 0 for the others.
    batch = world.batch()
    inputs, outputs = step_inputs(world, batch, step=7)
    (term,) = own_terms(
        DistillationTerm(LinearAdversary(), FeaturePair("candidate")),
        teachers[0],
    )
    rows = batch["candidate_row"].numpy()
    once = np.array([x not in rows[:i] for i, x in enumerate(list(rows))])
    assert not once.all()
    t = teachers[0].features("candidate", rows, "embedding").numpy()
    s = outputs["candidate"]["embedding"].numpy()
    total = (once * (t.sum(axis=1) - 3 * s.sum(axis=1))).sum()
    np.testing.assert_allclose(
        adversary_value(inputs, term), total + 7, rtol=1e-5
    )
    # The loss is the mean over the rows that count.
    np.testing.assert_allclose(
        value(inputs, term), total / once.sum(), rtol=1e-5
    )


def test_an_adversary_does_not_move_the_student(world, teachers):
    batch = world.batch()
    student = world.model(3)
    (term,) = own_terms(
        DistillationTerm(LinearAdversary(), FeaturePair("query")), teachers[0]
    )
    with tf.GradientTape() as tape:
        inputs = RetrievalStepInputs(batch, student(batch), TAU, 0)
        loss = adversary_value(inputs, term)
    variables = student.trainable_variables
    assert tape.gradient(loss, variables) == [None] * len(variables)


def test_one_sampler_of_several_teachers_has_a_place_for_each(world, teachers):
    # The mean over queries of the mean squared difference of the scores,
    # with the teacher that each term names.
    over = InBatch()
    name = over.name
    terms = own_terms(
        [
            DistillationTerm(ScoreRegression(), over),
            DistillationTerm(ScoreRegression(), over, teachers[1]),
            DistillationTerm(ScoreRegression(), over, teachers[2]),
            DistillationTerm(ScoreRegression(), over, teachers[1]),
        ],
        teachers[0],
    )
    assert over.name == name
    assert [t.candidates.name for t in terms] == [
        name,
        f"{name}_teacher_1",
        f"{name}_teacher_2",
        f"{name}_teacher_1",
    ]
    batch = world.batch()
    inputs, outputs = step_inputs(world, batch)
    at = over.select(batch)
    q, c = (outputs[x]["embedding"].numpy() for x in ("query", "candidate"))
    w = at.weight.numpy() / at.weight.numpy().sum()
    for term, own in zip(terms, (0, 1, 2, 1), strict=True):
        expected = teachers[own].batch_scores(batch).scores(at).numpy()
        squares = (expected - q @ c.T / TAU)[:, at.mask.numpy()] ** 2
        np.testing.assert_allclose(
            value(inputs, term), (w * squares.mean(axis=1)).sum(), rtol=1e-4
        )


def test_features_of_several_teachers_are_kept_apart(world, teachers):
    over = FeaturePair("candidate")
    terms = own_terms(
        [
            DistillationTerm(LinearAdversary(), over),
            DistillationTerm(LinearAdversary(), over, teachers[1]),
        ],
        teachers[0],
    )
    batch = world.batch()
    together, outputs = step_inputs(world, batch)
    for term, teacher in zip(terms, teachers, strict=False):
        alone = RetrievalStepInputs(batch, outputs, TAU, 0)
        np.testing.assert_allclose(
            adversary_value(together, term),
            adversary_value(
                alone, DistillationTerm(LinearAdversary(), over, teacher)
            ),
            rtol=1e-6,
        )


def test_layers_are_built_for_the_widths_of_both(world, teachers):
    student = world.model(3)
    loss = Hint()
    build_features(
        DistillationTerm(loss, FeaturePair("query"), teachers[0]), student
    )
    (kernel, _) = loss.projection.get_weights()
    assert kernel.shape == (3, 5)
    other = FeaturePair("query", student_output="hidden_7")
    with pytest.raises(UserError, match="should have the output 'hidden_7'"):
        build_features(DistillationTerm(Hint(), other, teachers[0]), student)
