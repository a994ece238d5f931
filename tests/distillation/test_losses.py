"""Every loss against the papers' formulas, written out in NumPy float64."""

import numpy as np
import pytest
import tensorflow as tf

from kd_tfrs.distillation import (
    DistillationLoss,
    ScoreRegression,
    SoftLabelLikelihood,
    SoftTargets,
    TeacherHardLabel,
)
from kd_tfrs.distillation.losses import masked_log_softmax, masked_mean
from kd_tfrs.errors import UserError

SCHEDULE = tf.keras.optimizers.schedules.PolynomialDecay(8.0, 10, 1.0)
NONE = tf.keras.losses.Reduction.NONE


def softmax(x):
    e = np.exp(x - x.max())
    return e / e.sum()


def log_softmax(x):
    return x - x.max() - np.log(np.exp(x - x.max()).sum())


def soft_targets(t, s, temperature):
    """Hinton, Vinyals, Dean 2015: T^2 KL(softmax(t/T) || softmax(s/T))."""
    log_p, log_q = log_softmax(t / temperature), log_softmax(s / temperature)
    return temperature**2 * (np.exp(log_p) * (log_p - log_q)).sum()


def likelihood(t, s):
    return -(softmax(t) * log_softmax(s)).sum()


def hard_label(t, s):
    return -log_softmax(s)[np.argmax(t)]


def regression(t, s):
    return np.mean((t - s) ** 2)


LOSSES = {
    "soft_targets": (SoftTargets, lambda t, s: soft_targets(t, s, 1.0)),
    "soft_targets_3": (
        lambda **options: SoftTargets(3.0, **options),
        lambda t, s: soft_targets(t, s, 3.0),
    ),
    "likelihood": (SoftLabelLikelihood, likelihood),
    "hard_label": (TeacherHardLabel, hard_label),
    "regression": (ScoreRegression, regression),
}


def reference(per_query, t, s, mask=None, weights=None):
    """The weighted mean over queries; an empty query counts as 0."""
    t, s = np.asarray(t, np.float64), np.asarray(s, np.float64)
    mask = np.ones(t.shape, bool) if mask is None else mask
    weights = np.ones(len(t)) if weights is None else weights
    values = [
        per_query(a[m], b[m]) if m.any() else 0.0
        for a, b, m in zip(t, s, mask, strict=True)
    ]
    return np.dot(values, weights) / weights.sum() if weights.any() else 0.0


def scores(seed=0, shape=(6, 7), scale=3.0):
    rng = np.random.default_rng(seed)
    return (
        rng.normal(scale=scale, size=shape).astype(np.float32),
        rng.normal(scale=scale, size=shape).astype(np.float32),
    )


def value_and_gradient(loss, t, s, **options):
    student = tf.Variable(s)
    with tf.GradientTape() as tape:
        value = loss(t, student, **options)
    return value.numpy(), tape.gradient(value, student).numpy()


every_loss = pytest.mark.parametrize(
    ("make", "per_query"), LOSSES.values(), ids=LOSSES
)


@every_loss
def test_value_with_mask_and_weights(make, per_query):
    t, s = scores()
    rng = np.random.default_rng(1)
    mask = rng.random(t.shape) < 0.6
    mask[0], weights = False, rng.random(len(t)).astype(np.float32)
    for m, w in ((None, None), (mask, None), (None, weights), (mask, weights)):
        value = make()(t, s, w, mask=m)
        expected = reference(per_query, t, s, m, w)
        np.testing.assert_allclose(value, expected, rtol=1e-5)


@every_loss
def test_gradient_is_the_slope_of_the_reference(make, per_query):
    t, s = scores(scale=1.0)
    mask = np.random.default_rng(2).random(t.shape) < 0.7
    _, gradient = value_and_gradient(make(), t, s, mask=mask)
    slope, h = np.zeros(s.shape), 1e-5
    for at in np.ndindex(*s.shape):
        up, down = s.astype(np.float64), s.astype(np.float64)
        up[at] += h
        down[at] -= h
        slope[at] = (
            reference(per_query, t, up, mask)
            - reference(per_query, t, down, mask)
        ) / (2 * h)
    np.testing.assert_allclose(gradient, slope, atol=1e-5)


@every_loss
@pytest.mark.parametrize("junk", [0.0, 1e30, -np.inf, np.inf, np.nan])
def test_masked_entries_have_no_influence(make, per_query, junk):
    t, s = scores()
    mask = np.random.default_rng(3).random(t.shape) < 0.5
    mask[:, 0] = True
    wanted, slope = value_and_gradient(make(), t, s, mask=mask)
    value, gradient = value_and_gradient(
        make(), np.where(mask, t, junk), np.where(mask, s, junk), mask=mask
    )
    np.testing.assert_array_equal(value, wanted)
    np.testing.assert_array_equal(gradient, slope)
    assert not gradient[~mask].any()


@every_loss
def test_a_mask_of_candidates_serves_every_query(make, per_query):
    t, s = scores()
    mask = np.array([True, False, True, True, False, True, True])
    np.testing.assert_allclose(
        make()(t, s, mask=mask), make()(t[:, mask], s[:, mask]), rtol=1e-6
    )


@every_loss
def test_a_query_without_candidates_is_zero(make, per_query):
    t, s = scores()
    mask = np.ones(t.shape, bool)
    mask[2] = False
    rows = make(reduction=NONE)(t, s, mask=mask)
    assert rows[2] == 0.0
    _, gradient = value_and_gradient(make(), t, s, mask=mask)
    assert not gradient[2].any()
    value, gradient = value_and_gradient(make(), t, s, mask=np.zeros_like(mask))
    assert value == 0.0
    assert not gradient.any()


@every_loss
def test_weights_are_of_the_mean(make, per_query):
    t, s = scores()
    weights = np.array([1, 0, 2, 0.5, 0, 3], np.float32)
    value, gradient = value_and_gradient(make(), t, s, sample_weight=weights)
    some = weights > 0
    np.testing.assert_allclose(
        value, make()(t[some], s[some], weights[some]), rtol=1e-6
    )
    assert not gradient[~some].any()
    # A weight has a meaning beside other weights only.
    np.testing.assert_allclose(value, make()(t, s, 10 * weights), rtol=1e-6)
    np.testing.assert_allclose(
        make()(t, s, np.full(6, 0.2, np.float32)), make()(t, s), rtol=1e-6
    )
    value, gradient = value_and_gradient(
        make(), t, s, sample_weight=np.zeros(6, np.float32)
    )
    assert value == 0.0
    assert not gradient.any()


@every_loss
def test_extreme_scores_stay_finite(make, per_query):
    t, s = scores(scale=1.0)
    for a, b in ((1e4, 1e4), (1e4, -1e4), (1e4, 1.0), (1.0, 1e4)):
        value, gradient = value_and_gradient(make(), a * t, b * s)
        np.testing.assert_allclose(
            value, reference(per_query, a * t, b * s), rtol=1e-5
        )
        assert np.isfinite(gradient).all()


@every_loss
def test_the_batch_size_changes_nothing(make, per_query):
    t, s = scores()
    twice = [np.concatenate([x, x]) for x in (t, s)]
    np.testing.assert_allclose(make()(*twice), make()(t, s), rtol=1e-6)


@every_loss
def test_no_gradient_reaches_the_teacher(make, per_query):
    teacher, student = (tf.Variable(x) for x in scores())
    with tf.GradientTape() as tape:
        value = make()(2.0 * teacher, student)
    assert tape.gradient(value, teacher) is None


@every_loss
@pytest.mark.parametrize("dtype", [tf.float16, tf.bfloat16, tf.float64])
def test_any_precision_is_computed_in_float32(make, per_query, dtype):
    t, s = (tf.cast(x, dtype) for x in scores())
    value = make()(t, s)
    assert value.dtype == tf.float32
    expected = reference(
        per_query, *(tf.cast(x, tf.float64).numpy() for x in (t, s))
    )
    np.testing.assert_allclose(value, expected, rtol=1e-5)
    with tf.GradientTape() as tape:
        tape.watch(s)
        value = make()(t, s)
    assert tape.gradient(value, s).dtype == dtype


@every_loss
def test_reductions(make, per_query):
    t, s = scores()
    weights = np.arange(6, dtype=np.float32)
    rows = np.array([per_query(a, b) for a, b in zip(t, s, strict=True)])
    total = make(reduction=tf.keras.losses.Reduction.SUM)(t, s, weights)
    np.testing.assert_allclose(total, (rows * weights).sum(), rtol=1e-5)
    each = make(reduction=NONE)(t, s, weights)
    np.testing.assert_allclose(each, rows * weights, rtol=1e-5)
    np.testing.assert_allclose(make().call(t, s), rows, rtol=1e-5)


@every_loss
def test_it_is_a_keras_loss(make, per_query):
    t, s = scores()
    model = tf.keras.Sequential([tf.keras.layers.Dense(7, input_shape=(7,))])
    model.compile(loss=make(), optimizer="sgd")
    value = model.evaluate(s, t, verbose=0)
    np.testing.assert_allclose(
        value, reference(per_query, t, model(s).numpy()), rtol=1e-5
    )


@pytest.mark.parametrize(
    "loss",
    [
        SoftTargets(
            SCHEDULE, reduction=tf.keras.losses.Reduction.SUM, name="a"
        ),
        SoftTargets(2.5, name="b"),
        SoftLabelLikelihood(reduction=NONE, name="c"),
        TeacherHardLabel(reduction=NONE, name="d"),
        ScoreRegression(reduction=NONE, name="e"),
    ],
    ids=lambda loss: loss.name,
)
def test_config_gives_the_same_loss_back(loss):
    config = tf.keras.losses.serialize(loss)
    twin = tf.keras.losses.deserialize(config)
    assert type(twin) is type(loss)
    assert twin.get_config() == loss.get_config()
    assert (twin.name, twin.reduction) == (loss.name, loss.reduction)
    t, s = scores()
    for step in (0, 4, 99):
        np.testing.assert_array_equal(
            twin(t, s, step=step), loss(t, s, step=step)
        )


def test_soft_targets_by_hand():
    # softmax([2 log 3, 0] / 2) = [3/4, 1/4] against [1/2, 1/2].
    value = SoftTargets(2.0)([[2 * np.log(3), 0.0]], [[5.0, 5.0]])
    expected = 4 * (0.75 * np.log(1.5) + 0.25 * np.log(0.5))
    np.testing.assert_allclose(value, expected, rtol=1e-6)


def test_soft_targets_do_not_see_a_constant_and_vanish_on_agreement():
    t, s = scores()
    loss = SoftTargets(1.7)
    np.testing.assert_allclose(loss(t + 9, s - 5), loss(t, s), rtol=1e-4)
    value, gradient = value_and_gradient(loss, t, t)
    assert value == 0.0
    np.testing.assert_allclose(gradient, 0.0, atol=1e-7)


def test_hot_soft_targets_are_half_the_centred_squared_difference():
    # log p = t/T - log N - mean(t)/T + O(T^-2), so that T^2 KL tends to
    # sum((centred t - centred s)^2) / (2 N); Hinton et al., eq. 4.
    t, s = scores(scale=1.0)
    difference = t - s
    difference -= difference.mean(axis=1, keepdims=True)
    limit = np.mean(np.sum(difference**2, axis=1) / (2 * t.shape[1]))
    gaps = [abs(float(SoftTargets(x)(t, s)) - limit) for x in (2, 8, 32)]
    assert gaps == sorted(gaps, reverse=True)
    assert gaps[-1] < 0.01 * limit
    _, gradient = value_and_gradient(SoftTargets(1000.0), t, s)
    np.testing.assert_allclose(
        gradient, -difference / t.shape[1] / len(t), atol=1e-4
    )


def test_at_temperature_one_only_the_teachers_entropy_is_between_them():
    t, s = scores()
    entropy = np.mean([likelihood(x, x) for x in t.astype(np.float64)])
    np.testing.assert_allclose(
        SoftTargets(1.0)(t, s), SoftLabelLikelihood()(t, s) - entropy, rtol=1e-5
    )
    slopes = [
        value_and_gradient(loss, t, s)[1]
        for loss in (SoftTargets(1.0), SoftLabelLikelihood())
    ]
    np.testing.assert_allclose(*slopes, atol=1e-7)


def test_cold_soft_labels_are_the_teachers_hard_label():
    t, s = scores()
    np.testing.assert_allclose(
        SoftLabelLikelihood()(1e4 * t, s), TeacherHardLabel()(t, s), rtol=1e-6
    )


def test_closed_forms_of_the_others():
    uniform = np.zeros((1, 4))
    t = np.array([[1.0, 7.0, -2.0, 0.0]])
    np.testing.assert_allclose(
        SoftLabelLikelihood()(t, uniform), np.log(4), rtol=1e-6
    )
    s = np.log([[1.0, 2.0, 3.0, 4.0]])
    np.testing.assert_allclose(
        TeacherHardLabel()(t, s), np.log(10 / 2), rtol=1e-6
    )
    np.testing.assert_allclose(ScoreRegression()(t, uniform), 54 / 4)


def test_the_first_of_the_teachers_equals_is_its_label():
    s = np.log([[1.0, 2.0, 4.0]])
    value = TeacherHardLabel()([[5.0, 5.0, 5.0]], s)
    np.testing.assert_allclose(value, np.log(7), rtol=1e-6)
    value = TeacherHardLabel()([[5.0, 5.0, 5.0]], s, mask=[[False, True, True]])
    np.testing.assert_allclose(value, np.log(3), rtol=1e-6)


def test_divergence_is_between_probabilities_and_not_between_logits():
    # Keras 3.16's LogitsDistillation() hands logits / T to KLDivergence,
    # which clips them into [1e-7, 1] as if they were probabilities.
    t = np.array([[2.0, 1.0, -1.0], [0.5, 2.5, -2.0]])
    s = np.array([[-1.0, 1.5, 0.5], [1.5, -0.5, 2.0]])
    expected = np.mean(
        [soft_targets(a, b, 3.0) for a, b in zip(t, s, strict=True)]
    )
    raw = np.mean(
        tf.keras.losses.kl_divergence(np.float32(t / 3), np.float32(s / 3))
    )
    assert abs(raw - expected) > 0.5 * expected
    np.testing.assert_allclose(SoftTargets(3.0)(t, s), expected, rtol=1e-5)


@pytest.mark.parametrize("step", [0, 3, 10, 500])
def test_the_temperature_follows_its_schedule(step):
    t, s = scores()
    fixed = 1.0 + 7.0 * (1 - min(step, 10) / 10)
    expected = SoftTargets(fixed)(t, s)
    np.testing.assert_allclose(
        SoftTargets(SCHEDULE)(t, s, step=step), expected, rtol=1e-6
    )
    compiled = tf.function(lambda at: SoftTargets(SCHEDULE)(t, s, step=at))
    np.testing.assert_allclose(
        compiled(tf.constant(step, tf.int64)), expected, rtol=1e-6
    )


@pytest.mark.parametrize(
    "temperature", [0.0, -1.0, np.nan, np.inf, "2", None, 1e-4]
)
def test_a_temperature_out_of_range_is_refused(temperature):
    with pytest.raises(UserError, match="`temperature` should be a number"):
        SoftTargets(temperature)


def test_numpys_numbers_are_numbers():
    assert SoftTargets(np.float32(2.0)).get_config()["temperature"] == 2.0
    assert SoftTargets(np.int64(2)).get_config()["temperature"] == 2.0


def test_a_new_loss_overrides_one_method():
    class Absolute(DistillationLoss):
        def per_query(self, inputs):
            teacher, student, mask, temperature = inputs[:4]
            return masked_mean(tf.abs(teacher - student), mask) / temperature

    t, s = scores()
    mask = np.random.default_rng(4).random(t.shape) < 0.5
    expected = reference(lambda a, b: np.abs(a - b).mean() / 2, t, s, mask)
    np.testing.assert_allclose(
        Absolute(temperature=2.0)(t, s, mask=mask), expected, rtol=1e-6
    )
    with pytest.raises(NotImplementedError, match="per_query"):
        DistillationLoss()(t, s)


def test_masked_helpers():
    x = np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]], np.float32)
    mask = np.array([[True, False, True], [False, False, False]])
    logs = masked_log_softmax(x, mask, 2.0).numpy()
    np.testing.assert_allclose(
        logs[0, [0, 2]], log_softmax(np.array([0.5, 1.5])), rtol=1e-6
    )
    assert logs[0, 1] < -1e29
    assert np.isfinite(logs).all()
    np.testing.assert_array_equal(masked_mean(x, mask), [2.0, 0.0])
