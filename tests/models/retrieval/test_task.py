"""The fused task against TFRS's own, in value and in gradient."""

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_recommenders as tfrs

from kd_tfrs.models.retrieval import FusedRetrieval

TAU = 0.3


def plain():
    return tfrs.tasks.Retrieval(
        loss=tf.keras.losses.CategoricalCrossentropy(
            from_logits=True, reduction=tf.keras.losses.Reduction.SUM
        ),
        temperature=TAU,
    )


def embeddings(queries=7, candidates=11, scale=1.0):
    rng = np.random.default_rng(3)
    return [
        tf.constant(scale * rng.normal(size=(n, 4)), tf.float32)
        for n in (queries, candidates)
    ]


def loss_and_slopes(task, inputs, **options):
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        loss = 1.7 * task(*inputs, **options)
    return [loss, *tape.gradient(loss, inputs)]


def check_equal(inputs, rtol=1e-4, **options):
    theirs = loss_and_slopes(plain(), inputs, **options)
    ours = loss_and_slopes(FusedRetrieval(TAU), inputs, **options)
    for a, b in zip(theirs, ours, strict=True):
        assert np.all(np.isfinite(b))
        np.testing.assert_allclose(a, b, rtol=rtol, atol=1e-5)


@pytest.mark.parametrize("candidates", [7, 11])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("corrected", [False, True])
@pytest.mark.parametrize("masked", [False, True])
def test_equals_that_of_tfrs(candidates, weighted, corrected, masked):
    rng = np.random.default_rng(5)
    options = {}
    if weighted:
        weights = rng.uniform(size=7).astype(np.float32)
        weights[2] = 0.0
        options["sample_weight"] = weights
    if corrected:
        chance = rng.uniform(1e-3, 1, candidates).astype(np.float32)
        chance[0] = 1e-9  # clipped
        options["candidate_sampling_probability"] = chance
    if masked:
        kept = rng.uniform(size=(7, candidates)) < 0.6
        options["score_mask"] = kept | np.eye(7, candidates, dtype=bool)
    check_equal(embeddings(candidates=candidates), **options)


@pytest.mark.parametrize("scale", [0.0, 30.0, 300.0])
def test_extreme_scores(scale):
    # At 300 the scores lie near 1e5: shares of one's own candidate underflow.
    check_equal(embeddings(scale=scale), rtol=1e-4)


def test_a_query_with_one_candidate_has_no_loss():
    mask = np.eye(7, 11, dtype=bool)
    loss, *slopes = loss_and_slopes(
        FusedRetrieval(TAU), embeddings(), score_mask=mask
    )
    np.testing.assert_allclose(loss, 0.0, atol=1e-5)
    for slope in slopes:
        np.testing.assert_allclose(slope, 0.0, atol=1e-5)


def test_inside_a_graph_of_unknown_sizes():
    task = FusedRetrieval(TAU)

    @tf.function(input_signature=[tf.TensorSpec([None, 4])] * 2)
    def train(queries, candidates):
        with tf.GradientTape() as tape:
            tape.watch([queries, candidates])
            loss = task(queries, candidates)
        return [loss, *tape.gradient(loss, [queries, candidates])]

    for sizes in ((3, 3), (5, 9)):
        inputs = embeddings(*sizes)
        for a, b in zip(
            loss_and_slopes(plain(), inputs), train(*inputs), strict=True
        ):
            np.testing.assert_allclose(a * (1 / 1.7), b, rtol=1e-4, atol=1e-5)


def test_second_derivatives():
    """Finite differences of the gradient, which a penalty may use."""
    task, inputs = FusedRetrieval(TAU), embeddings(3, 5)
    direction = embeddings(3, 5, 0.7)[0] * tf.constant([1.0, -2.0, 0.5, 1.5])

    def slope(queries):
        with tf.GradientTape() as tape:
            tape.watch(queries)
            loss = task(queries, inputs[1])
        return tape.gradient(loss, queries)

    with tf.GradientTape() as tape:
        tape.watch(inputs[0])
        along = tf.reduce_sum(slope(inputs[0]) * direction)
    found = tape.gradient(along, inputs[0])
    step = 1e-3
    measured = (
        slope(inputs[0] + step * direction)
        - slope(inputs[0] - step * direction)
    ) / (2 * step)
    # The matrix of second derivatives is symmetric.
    np.testing.assert_allclose(found, measured, rtol=2e-2, atol=2e-2)


def test_a_float16_policy_does_not_cast():
    tf.keras.mixed_precision.set_global_policy("mixed_float16")
    try:
        task = FusedRetrieval(TAU)
        inputs = embeddings()
        loss = task(*inputs)
    finally:
        tf.keras.mixed_precision.set_global_policy("float32")
    assert loss.dtype == tf.float32
    np.testing.assert_allclose(loss, plain()(*inputs), rtol=1e-5)
