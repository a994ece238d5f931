"""What every loss between features has to keep.

A test class inherits from `FeatureLossChecks` and says what the loss is, how
options other than the defaults look, and what the paper says it is:
`reference(loss, t, s)` over rows that count, in NumPy float64, with the
weights of the loss's own layers taken from `loss`.
"""

from typing import ClassVar

import numpy as np
import pytest
import tensorflow as tf

NONE = tf.keras.losses.Reduction.NONE
SUM = tf.keras.losses.Reduction.SUM
COUNTS = np.array([1, 0, 1, 1, 1, 0, 1, 1, 1], bool)


def features(seed=0, rows=9, widths=(6, 4), scale=1.0):
    rng = np.random.default_rng(seed)
    return tuple(
        (scale * rng.normal(size=(rows, width))).astype(np.float32)
        for width in widths
    )


def slopes(loss, t, s, **options):
    """Value, gradient of the student and of the loss's own layers."""
    student = tf.Variable(s)
    loss(t, s, **options)
    own = [
        v for layer in loss.trainable_layers for v in layer.trainable_variables
    ]
    with tf.GradientTape() as tape:
        value = loss(t, student, **options)
    first, *rest = tape.gradient(value, [student, *own])
    return value.numpy(), tf.convert_to_tensor(first).numpy(), rest


def copy_weights(source, target):
    for a, b in zip(
        source.trainable_layers, target.trainable_layers, strict=True
    ):
        b.set_weights(a.get_weights())


def dense(layer, x):
    """A perceptron of `projection`, by its weights."""
    weights = [w.astype(np.float64) for w in layer.get_weights()]
    pairs = list(zip(weights[::2], weights[1::2], strict=True))
    for kernel, bias in pairs[:-1]:
        x = np.maximum(x @ kernel + bias, 0)
    return x @ pairs[-1][0] + pairs[-1][1]


def mixture(layer, x, shares):
    """A mixture of experts, one row and one expert after the other."""
    u, a, v, b = (w.astype(np.float64) for w in layer.get_weights())
    if b.shape[-1] != v.shape[-1]:
        raise ValueError("The order of weights has changed.")
    rows = []
    for row, z in zip(x, shares, strict=True):
        each = [
            np.maximum(row @ u[m] + a[m], 0) @ v[m] + b[m]
            for m in range(len(u))
        ]
        rows.append(sum(z[m] * each[m] for m in range(len(u))))
    return np.array(rows)


def cosine(a, b):
    return a @ b / np.linalg.norm(a) / np.linalg.norm(b)


def softmax(x):
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


class FeatureLossChecks:
    options: ClassVar[dict] = {}
    extreme = (1e4, -1e4)
    tolerance = 2e-5

    def make(self, **options):
        raise NotImplementedError

    def reference(self, loss, t, s):
        raise NotImplementedError

    def built(self, **options):
        tf.keras.utils.set_random_seed(1)
        loss = self.make(**options)
        loss.ensure_built(6, 4)
        return loss

    def wanted(self, loss, t, s):
        return self.reference(
            loss, np.asarray(t, np.float64), np.asarray(s, np.float64)
        )

    def moved(self, loss, t, s, to):
        """The value as the student moves; some of `s` may have no slope."""
        del s
        return self.wanted(loss, t, to)

    @pytest.mark.parametrize("given", [False, True], ids=["default", "given"])
    def test_value_is_the_papers(self, given):
        loss = self.built(**(self.options if given else {}))
        t, s = features()
        np.testing.assert_allclose(
            loss(t, s), self.wanted(loss, t, s), rtol=self.tolerance, atol=1e-6
        )

    @pytest.mark.parametrize("given", [False, True], ids=["default", "given"])
    def test_slope_is_the_papers(self, given):
        loss = self.built(**(self.options if given else {}))
        t, s = features(rows=6)
        _, gradient, _ = slopes(loss, t, s)
        slope, h = np.zeros(s.shape), 1e-5
        for at in np.ndindex(*s.shape):
            up, down = s.astype(np.float64), s.astype(np.float64)
            up[at] += h
            down[at] -= h
            slope[at] = (
                self.moved(loss, t, s, up) - self.moved(loss, t, s, down)
            ) / (2 * h)
        scale = max(1.0, np.abs(slope).max())
        np.testing.assert_allclose(gradient, slope, atol=2e-5 * scale)

    def test_rows_that_do_not_count_change_nothing(self):
        loss = self.built(**self.options)
        t, s = features()
        expected, slope, own = slopes(loss, t[COUNTS], s[COUNTS])
        for junk in (0.0, 1.0, 1e3):
            other = [np.where(COUNTS[:, None], x, junk * x) for x in (t, s)]
            for how in ({"mask": COUNTS}, {"sample_weight": COUNTS * 1.0}):
                value, gradient, layers = slopes(loss, *other, **how)
                np.testing.assert_allclose(value, expected, rtol=1e-4)
                scale = max(1.0, np.abs(slope).max())
                np.testing.assert_allclose(
                    gradient[COUNTS], slope, atol=1e-4 * scale
                )
                assert not gradient[~COUNTS].any()
                for a, b in zip(layers, own, strict=True):
                    if b is not None:
                        np.testing.assert_allclose(a, b, rtol=2e-3, atol=2e-3)

    def test_nothing_that_counts_is_zero(self):
        t, s = features()
        loss = self.built(**self.options)
        value, gradient, _ = slopes(loss, t, s, mask=np.zeros(9, bool))
        assert value == 0.0
        assert not gradient.any()

    def test_one_row_alone_is_finite(self):
        t, s = features()
        loss = self.built(**self.options)
        value, gradient, _ = slopes(loss, t, s, mask=np.arange(9) == 4)
        assert np.isfinite(value)
        assert np.isfinite(gradient).all()

    def test_extremes_and_zeros_stay_finite(self):
        t, s = features()
        loss = self.built(**self.options)
        many = (
            *((a, b) for a in self.extreme for b in self.extreme),
            (0, 1),
            (1, 0),
            (0, 0),
            (1, 1e4),
            (1e4, 1),
        )
        for a, b in many:
            value, gradient, own = slopes(loss, a * t, b * s)
            assert np.isfinite(value), (a, b)
            assert np.isfinite(gradient).all(), (a, b)
            for slope in own:
                if slope is not None:
                    assert np.isfinite(tf.convert_to_tensor(slope)).all()

    def test_equal_rows_stay_finite(self):
        t, s = (np.ones_like(x) for x in features())
        value, gradient, _ = slopes(self.built(**self.options), t, s)
        assert np.isfinite(value)
        assert np.isfinite(gradient).all()

    def test_weights_weigh(self):
        t, s = features()
        loss, each = (
            self.built(**self.options),
            self.built(**self.options, reduction=NONE),
        )
        total = self.built(**self.options, reduction=SUM)
        weights = np.array([3, 1, 0.5, 2, 1, 4, 1, 1, 2], np.float32)
        rows = each(t, s, weights).numpy()
        assert rows.shape == (9,)
        np.testing.assert_allclose(
            loss(t, s, weights), rows.sum() / weights.sum(), rtol=1e-5
        )
        np.testing.assert_allclose(total(t, s, weights), rows.sum(), rtol=1e-5)
        np.testing.assert_allclose(
            loss(t, s, 10 * weights), loss(t, s, weights), rtol=1e-5
        )

    def test_no_gradient_reaches_the_teacher_but_one_its_student(self):
        teacher, student = (tf.Variable(x) for x in features())
        loss = self.built(**self.options)
        with tf.GradientTape() as tape:
            value = loss(2.0 * teacher, student)
        to_teacher, to_student = tape.gradient(value, [teacher, student])
        assert to_teacher is None
        assert to_student is not None
        assert np.abs(tf.convert_to_tensor(to_student)).max() > 0

    def test_graph_and_eager_agree(self):
        t, s = features()
        loss = self.built(**self.options)
        signature = [
            tf.TensorSpec([None, 6]),
            tf.TensorSpec([None, 4]),
            tf.TensorSpec([], tf.int64),
        ]

        @tf.function(input_signature=signature)
        def run(teacher, student, step):
            with tf.GradientTape() as tape:
                tape.watch(student)
                value = loss(teacher, student, mask=COUNTS, step=step)
            return value, tf.convert_to_tensor(tape.gradient(value, student))

        value, gradient = run(t, s, tf.constant(5, tf.int64))
        expected = loss(t, s, mask=COUNTS, step=5)
        np.testing.assert_allclose(value, expected, rtol=1e-5, atol=1e-7)
        assert np.isfinite(gradient).all()

    def test_learned_layers_all_learn(self):
        loss = self.built(**self.options)
        t, s = features()
        for layer in loss.trainable_layers:
            assert layer.trainable_variables
        _, _, own = slopes(loss, t, s)
        assert all(slope is not None for slope in own)

    def test_config_gives_the_same_loss_back(self):
        loss = self.built(**self.options, reduction=NONE, name="other")
        twin = tf.keras.losses.deserialize(tf.keras.losses.serialize(loss))
        assert type(twin) is type(loss)
        assert twin.get_config() == loss.get_config()
        for key, value in self.options.items():
            kept = loss.get_config()[key]
            assert kept == (list(value) if isinstance(value, tuple) else value)
        assert (twin.name, twin.reduction) == ("other", NONE)
        twin.ensure_built(6, 4)
        copy_weights(loss, twin)
        t, s = features()
        for step in (0, 7):
            np.testing.assert_array_equal(
                twin(t, s, step=step), loss(t, s, step=step)
            )

    @pytest.mark.parametrize("dtype", [tf.float16, tf.float64])
    def test_it_computes_in_float32(self, dtype):
        t, s = (tf.cast(x, dtype) for x in features())
        assert self.built(**self.options)(t, s).dtype == tf.float32

    def test_it_computes_in_float32_under_mixed_precision(self):
        t, s = features()
        tf.keras.mixed_precision.set_global_policy("mixed_float16")
        try:
            value = self.built(**self.options)(t, s)
        finally:
            tf.keras.mixed_precision.set_global_policy("float32")
        assert value.dtype == tf.float32
        np.testing.assert_allclose(
            value, self.built(**self.options)(t, s), rtol=1e-5
        )
