"""What every loss over the teacher's lists has to keep.

A test class inherits from `ListLossChecks` and says what the loss is, and
what the paper says it is: `reference(t, s, mask, listed)` for one query, in
NumPy float64, with loops.
"""

import numpy as np
import pytest
import tensorflow as tf

from kd_tfrs.errors import UserError

NONE = tf.keras.losses.Reduction.NONE
SUM = tf.keras.losses.Reduction.SUM


def lists(seed=0, queries=6, listed=5, shared=4, scale=2.0):
    """Scores of teacher and student, the teacher's lists in its order."""
    rng = np.random.default_rng(seed)
    t, s = rng.normal(scale=scale, size=(2, queries, listed + shared))
    t[:, :listed] = 5 - np.sort(-t[:, :listed], axis=1)
    return t.astype(np.float32), s.astype(np.float32)


def masks(shape, seed=1, share=0.7):
    """A mask that leaves nothing to the first query."""
    mask = np.random.default_rng(seed).random(shape) < share
    mask[0] = False
    return mask


def slope(loss, t, s, **options):
    """Value and gradient of the student's scores."""
    student = tf.Variable(s)
    with tf.GradientTape() as tape:
        value = loss(t, student, **options)
    return value.numpy(), tape.gradient(value, student).numpy()


class ListLossChecks:
    """Inherit, and define `make` and `reference`."""

    listed = 5
    # Of the mask: some losses have a discrete step that a mask moves.
    gradient_atol = 2e-5
    rows = None

    def make(self, **options):
        raise NotImplementedError

    def changed(self):
        """A loss of non-default arguments."""
        return self.make(reduction=SUM, name="changed")

    def reference(self, t, s, mask, listed):
        raise NotImplementedError

    def options(self):
        return {"listed": self.listed, "rows": self.rows}

    def expected(self, t, s, mask=None, weights=None):
        t, s = np.asarray(t, np.float64), np.asarray(s, np.float64)
        mask = np.ones(t.shape, bool) if mask is None else mask
        weights = np.ones(len(t)) if weights is None else weights
        values = [
            self.reference(a, b, m, self.listed)
            for a, b, m in zip(t, s, mask, strict=True)
        ]
        return np.dot(values, weights) / weights.sum()

    def test_value_with_mask_and_weights(self):
        t, s = lists()
        mask = masks(t.shape)
        weights = np.random.default_rng(2).random(len(t)).astype(np.float32)
        for m, w in (
            (None, None),
            (mask, None),
            (None, weights),
            (mask, weights),
        ):
            value = self.make()(t, s, w, mask=m, **self.options())
            np.testing.assert_allclose(
                value, self.expected(t, s, m, w), rtol=2e-5, atol=1e-6
            )

    def test_gradient_is_the_slope_of_the_reference(self):
        t, s = lists(scale=1.0)
        mask = masks(t.shape)
        _, gradient = slope(self.make(), t, s, mask=mask, **self.options())
        wanted, h = np.zeros(s.shape), 1e-6
        for at in np.ndindex(*s.shape):
            up, down = s.astype(np.float64), s.astype(np.float64)
            up[at] += h
            down[at] -= h
            wanted[at] = (
                self.expected(t, up, mask) - self.expected(t, down, mask)
            ) / (2 * h)
        np.testing.assert_allclose(gradient, wanted, atol=self.gradient_atol)

    @pytest.mark.parametrize("junk", [1e30, -np.inf, np.nan])
    def test_masked_entries_have_no_influence(self, junk):
        t, s = lists()
        mask = masks(t.shape)
        options = {"mask": mask, **self.options()}
        wanted = slope(self.make(), t, s, **options)
        inputs = slope(
            self.make(),
            np.where(mask, t, junk),
            np.where(mask, s, junk),
            **options,
        )
        np.testing.assert_array_equal(inputs[0], wanted[0])
        np.testing.assert_array_equal(inputs[1], wanted[1])
        assert not inputs[1][~mask].any()

    def test_a_query_without_candidates_is_zero(self):
        t, s = lists()
        mask = masks(t.shape)
        rows = self.make(reduction=NONE)(t, s, mask=mask, **self.options())
        assert rows[0] == 0.0
        nothing = np.zeros_like(mask)
        value, gradient = slope(
            self.make(), t, s, mask=nothing, **self.options()
        )
        assert value == 0.0
        assert not gradient.any()

    def test_extreme_scores_stay_finite(self):
        t, s = lists(scale=1.0)
        for a, b in ((1e4, 1e4), (1e4, -1e4), (1e4, 1.0), (1.0, 1e4)):
            value, gradient = slope(self.make(), a * t, b * s, **self.options())
            assert np.isfinite(value)
            assert np.isfinite(gradient).all()
            np.testing.assert_allclose(
                value,
                self.expected(np.float32(a) * t, np.float32(b) * s),
                rtol=1e-4,
                atol=1e-5,
            )

    def test_the_batch_size_changes_nothing(self):
        t, s = lists()
        loss = self.make()
        halves = [
            float(loss(t[half], s[half], **self.options()))
            for half in (slice(0, 3), slice(3, 6))
        ]
        np.testing.assert_allclose(
            loss(t, s, **self.options()), np.mean(halves), rtol=1e-5
        )

    def test_weights_are_of_the_mean(self):
        t, s = lists()
        weights = np.array([1, 0, 2, 0.5, 0, 3], np.float32)
        some = weights > 0
        value, gradient = slope(
            self.make(), t, s, sample_weight=weights, **self.options()
        )
        np.testing.assert_allclose(
            value,
            self.make()(t[some], s[some], weights[some], **self.options()),
            rtol=1e-5,
        )
        assert not gradient[~some].any()

    def test_no_gradient_reaches_the_teacher(self):
        teacher, student = (tf.Variable(x) for x in lists())
        with tf.GradientTape() as tape:
            value = self.make()(2.0 * teacher, student, **self.options())
        assert tape.gradient(value, teacher) is None

    def test_config_gives_the_same_loss_back(self):
        loss = self.changed()
        config = tf.keras.losses.serialize(loss)
        twin = tf.keras.losses.deserialize(config)
        assert type(twin) is type(loss)
        assert twin.get_config() == loss.get_config()
        assert (twin.name, twin.reduction) == (loss.name, loss.reduction)
        t, s = lists()
        for step in (0, 5, 50):
            np.testing.assert_array_equal(
                twin(t, s, step=step, **self.options()),
                loss(t, s, step=step, **self.options()),
            )

    def test_graph_and_eager_mode_are_equal(self):
        t, s = lists()
        mask = masks(t.shape)
        loss = self.make()

        @tf.function
        def both(student):
            with tf.GradientTape() as tape:
                tape.watch(student)
                value = loss(t, student, mask=mask, **self.options())
            return value, tape.gradient(value, student)

        wanted = slope(loss, t, s, mask=mask, **self.options())
        for ours, theirs in zip(both(tf.constant(s)), wanted, strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)

    def test_candidates_without_lists_are_refused(self):
        with pytest.raises(
            UserError, match="should receive the teacher's lists"
        ):
            self.make()(*lists())
