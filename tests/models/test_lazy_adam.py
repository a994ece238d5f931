"""LazyAdam against Adam written out in NumPy, row by row."""

import numpy as np
import pytest
import tensorflow as tf

from kd_tfrs.errors import UserError
from kd_tfrs.models import LazyAdam

OPTIONS = {
    "learning_rate": 0.02,
    "beta_1": 0.8,
    "beta_2": 0.95,
    "epsilon": 1e-4,
}


class Adam:
    """Kingma and Ba 2015, algorithm 1 with the efficient order of section 2."""

    def __init__(self, w, learning_rate, beta_1, beta_2, epsilon):
        self.w = np.array(w, np.float64)
        self.m, self.v = np.zeros_like(self.w), np.zeros_like(self.w)
        self.rate, self.b1, self.b2 = learning_rate, beta_1, beta_2
        self.epsilon, self.t = epsilon, 0

    def step(self, rows, gradient):
        self.t += 1
        for row in set(rows):
            g = gradient[np.asarray(rows) == row].sum(axis=0)
            self.m[row] = self.b1 * self.m[row] + (1 - self.b1) * g
            self.v[row] = self.b2 * self.v[row] + (1 - self.b2) * g**2
            rate = self.rate * (
                np.sqrt(1 - self.b2**self.t) / (1 - self.b1**self.t)
            )
            self.w[row] -= (
                rate * self.m[row] / (np.sqrt(self.v[row]) + self.epsilon)
            )


def batches(num=6, rows=10, dim=3):
    """Rows with repeats, the last two never, and gradients."""
    rng = np.random.default_rng(0)
    for _ in range(num):
        at = rng.integers(0, rows - 2, 7).astype(np.int32)
        yield at, rng.normal(size=(7, dim)).astype(np.float32)


@pytest.mark.parametrize("graph", [False, True])
def test_updated_rows_are_adams_and_other_rows_do_not_change(graph):
    start = np.random.default_rng(1).normal(size=(10, 3)).astype(np.float32)
    table, optimizer = tf.Variable(start), LazyAdam(**OPTIONS)
    reference = Adam(start, **OPTIONS)

    def step(rows, values):
        slices = tf.IndexedSlices(values, rows, tf.constant([10, 3]))
        optimizer.apply_gradients([(slices, table)])

    step = tf.function(step) if graph else step
    for rows, values in batches():
        before = table.numpy()
        step(tf.constant(rows), tf.constant(values))
        reference.step(rows, values.astype(np.float64))
        np.testing.assert_allclose(table, reference.w, atol=1e-5)
        others = np.setdiff1d(np.arange(10), rows)
        np.testing.assert_array_equal(table.numpy()[others], before[others])
    for name, moment in (("m", reference.m), ("v", reference.v)):
        slot = optimizer.get_slot(table, name).numpy()
        np.testing.assert_allclose(slot, moment, atol=1e-5)
    assert not slot[8:].any()
    np.testing.assert_array_equal(table.numpy()[8:], start[8:])


def test_through_an_embedding_layer_and_fit():
    layer = tf.keras.layers.Embedding(50, 4)
    model = tf.keras.Sequential([layer, tf.keras.layers.Flatten()])
    model.compile(optimizer=LazyAdam(0.1), loss="mse")
    x = np.array([[3], [7], [3]])
    model.build((None, 1))
    before = layer.get_weights()[0]
    model.fit(x, np.ones((3, 4)), verbose=0)
    changed = np.any(layer.get_weights()[0] != before, axis=1)
    np.testing.assert_array_equal(np.nonzero(changed)[0], [3, 7])


def test_dense_gradients_are_legacy_adams():
    rng = np.random.default_rng(2)
    start = rng.normal(size=(4, 5)).astype(np.float32)
    ours, theirs = tf.Variable(start), tf.Variable(start)
    lazy = LazyAdam(**OPTIONS)
    adam = tf.keras.optimizers.legacy.Adam(**OPTIONS)
    for _ in range(5):
        gradient = tf.constant(rng.normal(size=(4, 5)), tf.float32)
        lazy.apply_gradients([(gradient, ours)])
        adam.apply_gradients([(gradient, theirs)])
        np.testing.assert_array_equal(ours, theirs)


def test_a_step_that_touches_every_row_is_legacy_adams():
    start = np.random.default_rng(3).normal(size=(6, 2)).astype(np.float32)
    ours, theirs = tf.Variable(start), tf.Variable(start)
    lazy = LazyAdam(**OPTIONS)
    adam = tf.keras.optimizers.legacy.Adam(**OPTIONS)
    for _, values in batches(dim=2):
        values = np.resize(values, (6, 2))
        slices = tf.IndexedSlices(values, tf.range(6), tf.constant([6, 2]))
        lazy.apply_gradients([(slices, ours)])
        adam.apply_gradients([(tf.constant(values), theirs)])
        np.testing.assert_allclose(ours, theirs, atol=1e-6)


def test_config_gives_the_same_optimizer_back():
    schedule = tf.keras.optimizers.schedules.ExponentialDecay(0.1, 2, 0.5)
    optimizer = LazyAdam(
        schedule,
        beta_1=0.7,
        beta_2=0.9,
        epsilon=1e-3,
        name="mine",
        clipnorm=0.5,
    )
    config = tf.keras.optimizers.serialize(optimizer, use_legacy_format=True)
    twin = tf.keras.optimizers.deserialize(
        config,
        custom_objects={"LazyAdam": LazyAdam},
        use_legacy_optimizer=True,
        use_legacy_format=True,
    )
    assert type(twin) is LazyAdam
    assert twin.get_config() == optimizer.get_config()
    tables = [tf.Variable(tf.ones([10, 3])) for _ in range(2)]
    for rows, values in batches():
        for table, one in zip(tables, (optimizer, twin), strict=True):
            slices = tf.IndexedSlices(values, rows, tf.constant([10, 3]))
            one.apply_gradients([(slices, table)])
    np.testing.assert_array_equal(*tables)
    assert LazyAdam.from_config(LazyAdam(**OPTIONS).get_config()).beta_1 == 0.8


def test_a_checkpoint_holds_its_moments(tmp_path):
    def train(optimizer, table, steps):
        for rows, values in steps:
            slices = tf.IndexedSlices(values, rows, tf.constant([10, 3]))
            optimizer.apply_gradients([(slices, table)])

    steps = list(batches())
    whole, table = LazyAdam(**OPTIONS), tf.Variable(tf.ones([10, 3]))
    train(whole, table, steps)
    first, one = LazyAdam(**OPTIONS), tf.Variable(tf.ones([10, 3]))
    train(first, one, steps[:3])
    path = tf.train.Checkpoint(optimizer=first, table=one).save(
        str(tmp_path / "c")
    )
    second, two = LazyAdam(**OPTIONS), tf.Variable(tf.zeros([10, 3]))
    tf.train.Checkpoint(optimizer=second, table=two).restore(path)
    train(second, two, steps[3:])
    np.testing.assert_array_equal(two, table)


def test_amsgrad_is_refused():
    with pytest.raises(UserError, match="`amsgrad` should be False"):
        LazyAdam(amsgrad=True)
