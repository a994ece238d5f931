"""Values of the authors' published code, or of the best known other one.

Each file of `authors/` holds numbers only: the inputs, what a function of
another repository gives for them in float64, and its gradient with respect to
the student's scores or features. It names the repository, its commit, the file,
the function and the settings that make both formulas the same; `factor`
is the constant between their value and ours.
"""

import json
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from kd_tfrs.distillation import losses
from kd_tfrs.distillation.retrieval import RankSampled

CASES = {
    path.stem: json.loads(path.read_text())
    for path in sorted((Path(__file__).parent / "authors").glob("*.json"))
}
LOSSES = [name for name, case in CASES.items() if "loss" in case]


def make(case):
    """The loss of a case, with the case's weights in its layers."""
    loss = getattr(losses, case["loss"])(**case["config"])
    if case["weights"]:
        loss.ensure_built(*(len(case[x][0]) for x in ("teacher", "student")))
        for layer, weights in zip(
            loss.trainable_layers, case["weights"], strict=True
        ):
            layer.set_weights([np.array(w) for w in weights])
    return loss


def differentiate(case):
    """Value, and gradients of the student and of the loss's own weights."""
    loss = make(case)
    student = tf.Variable(case["student"], dtype=tf.float32)
    inputs = {**case["call"], **case["arrays"]}
    with tf.GradientTape() as tape:
        value = loss(tf.constant(case["teacher"]), student, **inputs)
    weights = [
        w for layer in loss.trainable_layers for w in layer.trainable_weights
    ]
    slope, *slopes = tape.gradient(value, [student, *weights])
    return value, tf.convert_to_tensor(slope), slopes


@pytest.mark.parametrize("name", LOSSES)
def test_value_and_gradient_are_the_authors(name):
    case = CASES[name]
    value, gradient, weights = differentiate(case)
    np.testing.assert_allclose(value, case["factor"] * case["value"], rtol=1e-5)
    wanted = case["factor"] * np.array(case["gradient"])
    np.testing.assert_allclose(
        gradient, wanted, rtol=1e-5, atol=1e-5 * np.abs(wanted).max()
    )
    if "weight_gradients" in case:
        wanted = case["factor"] * np.array(case["weight_gradients"])
        np.testing.assert_allclose(weights, wanted, rtol=1e-4)


def test_the_draw_by_rank_is_the_authors():
    case = CASES["rank_sampled"]
    queries, k = 20_000, case["config"]["k"]
    rows = tf.tile(tf.range(k)[None], [queries, 1])
    drawn, _ = RankSampled(**case["config"]).choose(
        rows, tf.zeros([queries, k]), tf.constant([1, 2])
    )
    counts = np.bincount(drawn.numpy().ravel(), minlength=k)
    wanted = np.array(case["shares"])
    deviation = np.sqrt(wanted * (1 - wanted) / queries)
    assert (np.abs(counts / queries - wanted) < 4 * deviation).all()


def test_the_groups_of_popularity_are_the_authors():
    case = CASES["popularity_groups"]
    groups = losses.popularity_groups(
        np.array(case["item_events"]), case["num_groups"]
    )
    assert groups.tolist() == case["groups"]


def test_at_least_twenty_methods_have_an_independent_reference():
    assert len({CASES[name]["loss"] for name in LOSSES}) >= 20
    for name, case in CASES.items():
        assert len(case["commit"]) == 40, name
        assert case["repository"].count("/") == 1, name
