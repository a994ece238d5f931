"""Preference-consistent hints: PCKD, as loops and by the authors' values."""

import json
import pathlib

import numpy as np
import pytest
import tensorflow as tf
from feature_checks import copy_weights, dense, softmax

from kd_tfrs.distillation.losses.inputs import LossInputs
from kd_tfrs.distillation.losses.preference_consistent import (
    PreferenceConsistentHint,
)
from kd_tfrs.errors import UserError

AUTHORS = pathlib.Path(__file__).with_name("pckd_values.json")
NONE = tf.keras.losses.Reduction.NONE
GIVEN = {
    "alpha": 0.7,
    "kind": "pair",
    "temperature": 0.5,
    "hidden_units": (3,),
}
both = pytest.mark.parametrize("options", [{}, GIVEN], ids=["list", "pair"])


def features(seed=0, scale=1.0, queries=5, n=4):
    rng = np.random.default_rng(seed)
    return tuple(
        scale * rng.normal(size=(queries, 1 + n, width)).astype(np.float32)
        for width in (6, 3)
    )


def some_mask(queries=5, n=4):
    mask = np.random.default_rng(1).random((queries, 1 + n)) < 0.7
    mask[:, :3] = True
    mask[1, 0] = False
    return mask


def built(**options):
    tf.keras.utils.set_random_seed(1)
    loss = PreferenceConsistentHint(**options)
    loss.ensure_built(6, 3)
    return loss


def consistency(loss, before, after):
    if loss.kind == "list":
        p, q = (softmax(x / loss.temperature) for x in (before, after))
        return -np.sum(p * np.log(q))
    pairs = [
        np.logaddexp(0, -(before[i] - before[j]) * (after[i] - after[j]))
        for i in range(len(before))
        for j in range(i)
    ]
    return np.mean(pairs) if pairs else 0.0


def rows(loss, t, s, mask=None):
    """The loss of every query, and the student of R held where it was."""
    t, s = np.asarray(t, np.float64), np.asarray(s, np.float64)
    mask = np.ones(t.shape[:2], bool) if mask is None else mask
    values = []
    for teacher, student, counts in zip(t, s, mask, strict=True):
        kept = counts[1:]
        if not counts[0] or not kept.any():
            values.append(0.0)
            continue
        user = dense(loss.query_projection, student[:1])[0]
        items = dense(loss.candidate_projection, student[1:][kept])
        errors = ((items - teacher[1:][kept]) ** 2).sum(axis=1)
        values.append(
            ((user - teacher[0]) ** 2).sum()
            + errors.mean()
            + loss.alpha
            * consistency(loss, student[1:][kept] @ student[0], items @ user)
        )
    return np.array(values)


def value_and_slope(loss, t, s):
    """Of the outer kernel of the projection of queries."""
    with tf.GradientTape() as tape:
        value = loss(t, s)
    kernel = loss.query_projection.trainable_variables[2]
    return value.numpy(), tape.gradient(value, kernel).numpy()


@both
def test_value_with_mask_and_weights(options):
    t, s = features()
    loss, mask = built(**options), some_mask()
    weights = np.array([1, 3, 0.5, 2, 0], np.float32)
    np.testing.assert_allclose(loss(t, s), rows(loss, t, s).mean(), rtol=1e-5)
    each = rows(loss, t, s, mask)
    counted = weights * mask[:, 0]
    np.testing.assert_allclose(
        loss(t, s, weights, mask=mask),
        each @ counted / counted.sum(),
        rtol=1e-5,
    )
    assert each[1] == 0.0


@both
def test_random_candidates_have_half_of_the_items_hint_and_no_order(options):
    t, s = features()
    loss, mask = built(**options), some_mask()
    mask[3, 3:] = False  # A query without random candidates.
    found = built(**options, reduction=NONE).compute(
        LossInputs(t, s, mask, listed=2)
    )
    hint = built(**{**options, "alpha": 0.0})
    copy_weights(loss, hint)
    parts = ([0, 1, 2], [0, 3, 4])
    own, random = (rows(hint, t[:, c], s[:, c], mask[:, c]) for c in parts)
    users = [
        ((dense(hint.query_projection, b[:1])[0] - a[0]) ** 2).sum()
        for a, b in zip(t, s.astype(np.float64), strict=True)
    ]
    half = np.where(mask[:, 3:].any(axis=1), random - users, 0.0)
    lists = rows(loss, t[:, :3], s[:, :3], mask[:, :3])
    wanted = lists - 0.5 * (own - users) + 0.5 * half
    np.testing.assert_allclose(
        found, np.where(mask[:, 0], wanted, 0.0), rtol=1e-4
    )


def test_values_and_slopes_of_the_authors():
    values = {
        name: np.array(x, np.float32)
        for name, x in json.loads(AUTHORS.read_text()).items()
        if name not in ("source", "lists", "user_expert", "item_expert")
    }
    given = json.loads(AUTHORS.read_text())
    lists = np.array(given["lists"])
    teacher, student = (
        np.concatenate(
            [values[f"{who}_users"][:, None], values[f"{who}_items"][lists]], 1
        )
        for who in ("teacher", "student")
    )
    hints = values["user_hints"] / 4 + values["item_hints"].sum() / (4 * 3)
    for kind, n in (("list", 3), ("pair", 2)):
        loss = PreferenceConsistentHint(alpha=1.0, kind=kind)
        loss.ensure_built(5, 3)
        loss.query_projection.set_weights(
            [np.array(x) for x in given["user_expert"]]
        )
        loss.candidate_projection.set_weights(
            [np.array(x) for x in given["item_expert"]]
        )
        pairs = teacher[:, : 1 + n], student[:, : 1 + n]
        plain = PreferenceConsistentHint(alpha=0.0, kind=kind)
        plain.ensure_built(5, 3)
        copy_weights(loss, plain)
        (value, hint), (slope, of_hint) = zip(
            *(value_and_slope(x, *pairs) for x in (loss, plain)), strict=True
        )
        # Ours are means over the four users.
        np.testing.assert_allclose(
            4 * (value - hint), values[f"{kind}_regularization"], rtol=1e-4
        )
        np.testing.assert_allclose(
            4 * (slope - of_hint), values[f"{kind}_slope"], atol=1e-4
        )
        if n == 3:
            np.testing.assert_allclose(hint, hints, rtol=1e-5)


@both
def test_the_regularization_trains_the_projections_alone(options):
    t, s = features()
    slopes = []
    for alpha in (0.0, 5.0):
        loss, student = built(**{**options, "alpha": alpha}), tf.Variable(s)
        with tf.GradientTape(persistent=True) as tape:
            value = loss(t, student)
        own = [v for x in loss.trainable_layers for v in x.trainable_variables]
        gradients = tape.gradient(value, [student, *own])
        assert all(slope is not None for slope in gradients)
        slopes.append([x.numpy() for x in gradients])
    np.testing.assert_array_equal(slopes[0][0], slopes[1][0])
    assert not np.allclose(slopes[0][1], slopes[1][1])


@both
def test_a_projection_that_keeps_the_scores_has_the_entropy_left(options):
    _, s = features()
    loss = PreferenceConsistentHint(**{**options, "hidden_units": ()})
    loss.ensure_built(3, 3)
    turn = np.linalg.qr(np.random.default_rng(2).normal(size=(3, 3)))[0]
    for layer in loss.trainable_layers:
        layer.set_weights([turn, np.zeros(3)])
    scores = np.einsum("qd,qnd->qn", s[:, 0], s[:, 1:])
    wanted = loss.alpha * np.mean([consistency(loss, x, x) for x in scores])
    np.testing.assert_allclose(loss(s @ turn, s), wanted, rtol=1e-4)


@both
def test_what_does_not_count_changes_nothing(options):
    t, s = features()
    loss, mask = built(**options), some_mask()
    wanted = loss(t, s, mask=mask)
    for junk in (1e30, np.inf, np.nan):
        student = tf.Variable(np.where(mask[..., None], s, junk))
        with tf.GradientTape() as tape:
            value = loss(np.where(mask[..., None], t, junk), student, mask=mask)
        np.testing.assert_allclose(value, wanted, rtol=1e-6)
        gradient = tape.gradient(value, student).numpy()
        assert np.isfinite(gradient).all()
        assert not gradient[~mask].any()


@both
def test_nothing_that_counts_is_zero(options):
    t, s = features()
    nothing = np.zeros(t.shape[:2], bool)
    assert built(**options)(t, s, mask=nothing) == 0.0


@both
def test_extremes_stay_finite(options):
    t, s = features()
    for a, b in ((1e4, 1e4), (1e4, -1e4), (0.0, 1.0), (1.0, 0.0), (0.0, 0.0)):
        loss, student = built(**options), tf.Variable(b * s)
        with tf.GradientTape() as tape:
            value = loss(a * t, student)
        assert np.isfinite(value), (a, b)
        own = [v for x in loss.trainable_layers for v in x.trainable_variables]
        for slope in tape.gradient(value, [student, *own]):
            assert np.isfinite(slope).all(), (a, b)


def test_it_computes_in_float32_under_mixed_precision():
    tf.keras.mixed_precision.set_global_policy("mixed_float16")
    try:
        value = built()(*features())
    finally:
        tf.keras.mixed_precision.set_global_policy("float32")
    np.testing.assert_allclose(value, built()(*features()), rtol=1e-6)


def test_a_students_nan_is_seen():
    t, s = features()
    s[2, 1] = np.nan
    assert np.isnan(built()(t, s))


@both
def test_no_gradient_reaches_the_teacher(options):
    teacher, student = (tf.Variable(x) for x in features())
    with tf.GradientTape() as tape:
        value = built(**options)(2.0 * teacher, student)
    assert tape.gradient(value, teacher) is None


@both
def test_graph_and_eager_mode_are_equal(options):
    t, s = features()
    loss, mask = built(**options), some_mask()
    shape = [tf.TensorSpec([None, None, width]) for width in (6, 3)]

    @tf.function(input_signature=shape)
    def run(teacher, student):
        return loss(teacher, student, mask=mask)

    np.testing.assert_allclose(run(t, s), loss(t, s, mask=mask), rtol=1e-5)


@both
def test_config_gives_the_same_loss_back(options):
    loss = built(**options, reduction=NONE, name="other")
    twin = tf.keras.losses.deserialize(tf.keras.losses.serialize(loss))
    assert twin.get_config() == loss.get_config()
    assert (twin.name, twin.reduction) == ("other", NONE)
    twin.ensure_built(6, 3)
    copy_weights(loss, twin)
    np.testing.assert_array_equal(twin(*features()), loss(*features()))


def test_features_without_candidates_are_refused():
    t, s = features()
    with pytest.raises(UserError, match="ListFeatures"):
        PreferenceConsistentHint()(t[:, 0], s[:, 0])


@pytest.mark.parametrize(
    "options",
    [
        {"alpha": -1.0},
        {"kind": "hybrid"},
        {"temperature": 0.0},
        {"hidden_units": (0,)},
    ],
)
def test_arguments_out_of_range(options):
    with pytest.raises(UserError, match=next(iter(options))):
        PreferenceConsistentHint(**options)
