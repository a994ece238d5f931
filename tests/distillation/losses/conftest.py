"""What every loss between scores has to pass, whatever its formula.

`check` needs nothing but the loss; `against` a NumPy float64 reference of one
query's loss as well, which is handed what the mask leaves of the query. Both
are fixtures with parameters, so that each check is a test of its own:

    def test_it_is_sound(check):
        check(SoftTargets)

    def test_it_is_the_papers(against):
        against(SoftTargets, my_reference)

More inputs, `target=` for instance, go to the loss as they are and to the
reference row by row.
"""

import numpy as np
import pytest
import tensorflow as tf

NONE = tf.keras.losses.Reduction.NONE
EXTREMES = ((1e4, 1e4), (1e4, -1e4), (1e4, 1.0), (1.0, 1e4))


def scores(seed=0, shape=(6, 7), scale=2.0):
    rng = np.random.default_rng(seed)
    return tuple(
        rng.normal(scale=scale, size=shape).astype(np.float32) for _ in range(2)
    )


def some_mask(seed=3, shape=(6, 7)):
    """Leaves three or more candidates of each query."""
    mask = np.random.default_rng(seed).random(shape) < 0.6
    mask[:, :3] = True
    return mask


def value_and_gradient(loss, t, s, **options):
    student = tf.Variable(s)
    with tf.GradientTape() as tape:
        value = loss(t, student, **options)
    return value.numpy(), tape.gradient(value, student).numpy()


def reference(per_query, t, s, mask=None, weights=None, **more):
    """The weighted mean over queries; an empty query counts as 0."""
    t, s = np.asarray(t, np.float64), np.asarray(s, np.float64)
    mask = np.ones(t.shape, bool) if mask is None else mask
    weights = np.ones(len(t)) if weights is None else weights
    values = [
        per_query(
            t[i][m],
            s[i][m],
            **{k: np.asarray(x)[i][m] for k, x in more.items()},
        )
        if m.any()
        else 0.0
        for i, m in enumerate(mask)
    ]
    return np.dot(values, weights) / weights.sum()


def has_no_influence_where_masked(make, **more):
    t, s = scores()
    mask = some_mask()
    wanted, slope = value_and_gradient(make(), t, s, mask=mask, **more)
    for junk in (1e30, -np.inf, np.nan):
        value, gradient = value_and_gradient(
            make(),
            np.where(mask, t, junk),
            np.where(mask, s, junk),
            mask=mask,
            **more,
        )
        np.testing.assert_array_equal(value, wanted)
        np.testing.assert_array_equal(gradient, slope)
        assert not gradient[~mask].any()


def is_zero_without_candidates(make, **more):
    t, s = scores()
    mask = some_mask()
    mask[2] = False
    each = make(reduction=NONE)(t, s, mask=mask, **more)
    assert each[2] == 0.0
    _, gradient = value_and_gradient(make(), t, s, mask=mask, **more)
    assert np.isfinite(gradient).all()
    assert not gradient[2].any()
    nothing = np.zeros_like(mask)
    value, gradient = value_and_gradient(make(), t, s, mask=nothing, **more)
    assert value == 0.0
    assert not gradient.any()


def is_finite_with_one_candidate(make, **more):
    t, s = scores()
    mask = np.zeros(t.shape, bool)
    mask[:, 1] = True
    value, gradient = value_and_gradient(make(), t, s, mask=mask, **more)
    assert np.isfinite(value)
    assert np.isfinite(gradient).all()


def is_finite_at_extremes(make, **more):
    t, s = scores(scale=1.0)
    for a, b in EXTREMES:
        for mask in (None, some_mask()):
            value, gradient = value_and_gradient(
                make(), a * t, b * s, mask=mask, **more
            )
            assert np.isfinite(value)
            assert np.isfinite(gradient).all()


def does_not_depend_on_the_batch_size(make, **more):
    t, s = scores()
    twice = {k: np.concatenate([x, x]) for k, x in more.items()}
    np.testing.assert_allclose(
        make()(np.concatenate([t, t]), np.concatenate([s, s]), **twice),
        make()(t, s, **more),
        rtol=2e-5,
    )


def weighs_queries(make, **more):
    t, s = scores()
    weights = np.array([1, 0.1, 2, 0.5, 4, 3], np.float32)
    each = make(reduction=NONE)(t, s, **more).numpy()
    value = make()(t, s, weights, **more)
    expected = np.dot(each, weights) / weights.sum()
    np.testing.assert_allclose(value, expected, rtol=1e-5)
    np.testing.assert_allclose(make()(t, s, **more), each.mean(), rtol=1e-5)


def has_no_gradient_in_the_teacher(make, **more):
    teacher, student = (tf.Variable(x) for x in scores())
    with tf.GradientTape() as tape:
        value = make()(2.0 * teacher, student, **more)
    assert tape.gradient(value, teacher) is None


def is_the_same_in_a_graph(make, **more):
    t, s = scores()
    mask = some_mask()
    loss = make()
    widths = tf.TensorSpec([None, None], tf.float32)

    @tf.function(input_signature=[widths, widths, tf.TensorSpec([], tf.int64)])
    def step(teacher, student, at):
        return loss(teacher, student, mask=mask, step=at, **more)

    np.testing.assert_allclose(
        step(t, s, tf.constant(5, tf.int64)),
        loss(t, s, mask=mask, step=5, **more),
        rtol=1e-5,
    )


def comes_back_from_its_config(make, **more):
    t, s = scores()
    loss = make(reduction=NONE, name="other")
    twin = tf.keras.losses.deserialize(tf.keras.losses.serialize(loss))
    assert type(twin) is type(loss)
    assert twin.get_config() == loss.get_config()
    assert (twin.name, twin.reduction) == ("other", NONE)
    for step in (0, 7):
        np.testing.assert_array_equal(
            twin(t, s, step=step, **more), loss(t, s, step=step, **more)
        )


def has_the_papers_value(make, per_query, rtol=2e-5, **more):
    t, s = scores()
    mask, weights = some_mask(), np.random.default_rng(1).random(len(t))
    mask[0] = False
    for m, w in ((None, None), (mask, None), (None, weights), (mask, weights)):
        np.testing.assert_allclose(
            make()(t, s, w, mask=m, **more),
            reference(per_query, t, s, m, w, **more),
            rtol=rtol,
        )


def has_the_papers_slope(make, per_query, **more):
    t, s = scores(scale=1.0)
    mask = some_mask(seed=2)
    _, gradient = value_and_gradient(make(), t, s, mask=mask, **more)
    slope, h = np.zeros(s.shape), 1e-5
    for at in np.ndindex(*s.shape):
        up, down = s.astype(np.float64), s.astype(np.float64)
        up[at] += h
        down[at] -= h
        slope[at] = (
            reference(per_query, t, up, mask, **more)
            - reference(per_query, t, down, mask, **more)
        ) / (2 * h)
    np.testing.assert_allclose(
        gradient, slope, atol=1e-5 * max(1.0, np.abs(slope).max())
    )


def has_the_papers_value_at_extremes(make, per_query, rtol=2e-5, **more):
    t, s = scores(scale=1.0)
    for a, b in EXTREMES:
        np.testing.assert_allclose(
            make()(a * t, b * s, **more),
            reference(per_query, np.float32(a) * t, b * s, **more),
            rtol=rtol,
            atol=1e-6,
        )


def _name(function):
    return function.__name__


@pytest.fixture(
    params=[
        has_no_influence_where_masked,
        is_zero_without_candidates,
        is_finite_with_one_candidate,
        is_finite_at_extremes,
        does_not_depend_on_the_batch_size,
        weighs_queries,
        has_no_gradient_in_the_teacher,
        is_the_same_in_a_graph,
        comes_back_from_its_config,
    ],
    ids=_name,
)
def check(request):
    """A check that needs the loss alone: `check(make, **inputs)`."""
    return request.param


@pytest.fixture(
    params=[
        has_the_papers_value,
        has_the_papers_slope,
        has_the_papers_value_at_extremes,
    ],
    ids=_name,
)
def against(request):
    """A check with a reference: `against(make, per_query, **inputs)`."""
    return request.param


@pytest.fixture(params=[has_the_papers_value, has_the_papers_slope], ids=_name)
def against_mildly(request):
    """The same for a reference that is itself lost at extreme scores."""
    return request.param
