"""Hints on filtered features: Zhu and Zhang 2025, the linear filter."""

from typing import ClassVar

import numpy as np
import pytest
import tensorflow as tf
from feature_checks import FeatureLossChecks, copy_weights, dense, features

from kd_tfrs.distillation.losses.frequency import FrequencyHint
from kd_tfrs.distillation.losses.hint import Hint
from kd_tfrs.errors import UserError

NEIGHBOURS = [[0, 1], [1], [2, 3, 0], [], [1, 3], [0], [2], [3, 1], [0, 2]]


def normalised(graph):
    degree = graph.sum(axis=1)
    root = np.where(degree > 0, 1 / np.sqrt(np.maximum(degree, 1e-12)), 0)
    return root[:, None] * graph * root


def cosines(t):
    unit = t / np.linalg.norm(t, axis=1, keepdims=True)
    return normalised(np.maximum(unit @ unit.T, 0))


def two_steps(neighbours):
    """The block of the users in the squared matrix of the whole graph."""
    users, items = len(neighbours), 1 + max(j for x in neighbours for j in x)
    graph = np.zeros((users + items, users + items))
    for u, items_of_u in enumerate(neighbours):
        for i in items_of_u:
            graph[u, users + i] = graph[users + i, u] = 1
    return (normalised(graph) @ normalised(graph))[:users, :users]


def hint(loss, graph, t, s):
    passed = (1 - loss.alpha) * np.eye(len(t)) + loss.alpha * graph
    t, s = passed @ t, passed @ dense(loss.projection, s)
    if loss.normalize:
        t, s = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (t, s))
    return ((t - s) ** 2).sum(axis=1).mean()


class TestFrequencyHint(FeatureLossChecks):
    options: ClassVar = {
        "alpha": 0.6,
        "hidden_units": (5,),
        "normalize": False,
    }

    def make(self, **options):
        return FrequencyHint(**options)

    def reference(self, loss, t, s):
        return hint(loss, cosines(t), t, s)


class _WithRows(FrequencyHint):
    """Row i of the features is row i of the catalogue."""

    def __call__(self, y_true, y_pred, *args, **kwargs):
        rows = tf.range(tf.shape(y_pred)[0])
        return super().__call__(y_true, y_pred, *args, rows=rows, **kwargs)


def test_the_graph_of_interactions_is_the_papers_two_steps_away():
    t, s = features()
    for alpha, normalize in ((0.2, True), (0.7, False)):
        loss = _WithRows(NEIGHBOURS, alpha, normalize=normalize)
        wanted = (t.astype(np.float64), s.astype(np.float64))
        value = loss(t, s)
        expected = hint(loss, two_steps(NEIGHBOURS), *wanted)
        np.testing.assert_allclose(value, expected, rtol=1e-5)


def test_rows_are_looked_up_and_repeats_change_nothing():
    t, s = features()
    rows = np.array([4, 0, 2, 8])
    loss = FrequencyHint(NEIGHBOURS, 0.5)
    value = loss(t[rows], s[rows], rows=rows)
    graph = two_steps([NEIGHBOURS[i] for i in rows])
    wanted = (x[rows].astype(np.float64) for x in (t, s))
    np.testing.assert_allclose(value, hint(loss, graph, *wanted), rtol=1e-5)
    again = np.array([4, 0, 4, 2, 0, 8])
    mask = np.array([1, 1, 0, 1, 0, 1], bool)
    np.testing.assert_allclose(
        loss(t[again], s[again], mask=mask, rows=again), value, rtol=1e-5
    )


def test_high_frequencies_count_less():
    # Two groups that share nothing; a low frequency is equal within a group,
    # the highest alternates.
    graph = [[0, 1], [0, 1], [2, 3], [2, 3]]
    t = np.zeros((4, 1), np.float32)
    loss = _WithRows(graph, 0.4, normalize=False)
    loss.ensure_built(1, 1)
    loss.projection.set_weights([np.ones((1, 1)), np.zeros(1)])
    low = np.array([[1.0], [1.0], [-1.0], [-1.0]], np.float32)
    high = np.array([[1.0], [-1.0], [1.0], [-1.0]], np.float32)
    np.testing.assert_allclose(loss(t, low), 1.0, rtol=1e-6)
    np.testing.assert_allclose(loss(t, high), (1 - 0.4) ** 2, rtol=1e-6)


def test_without_a_filter_it_is_a_hint():
    t, s = features()
    loss, plain = FrequencyHint(alpha=0.0), Hint(normalize=True)
    for each in (loss, plain):
        each.ensure_built(6, 4)
    copy_weights(plain, loss)
    np.testing.assert_allclose(loss(t, s), plain(t, s), rtol=1e-6)


def test_the_graph_is_part_of_the_config():
    loss = FrequencyHint(tf.ragged.constant(NEIGHBOURS), 0.3, name="other")
    twin = tf.keras.losses.deserialize(tf.keras.losses.serialize(loss))
    assert twin.get_config() == loss.get_config()
    t, s = features()
    for each in (loss, twin):
        each.ensure_built(6, 4)
    copy_weights(loss, twin)
    rows = np.arange(9)
    np.testing.assert_array_equal(loss(t, s, rows=rows), twin(t, s, rows=rows))


def test_wrong_arguments_are_refused():
    t, s = features()
    with pytest.raises(UserError, match="needs the catalogue rows"):
        FrequencyHint(NEIGHBOURS)(t, s)
    with pytest.raises(UserError, match="alpha"):
        FrequencyHint(alpha=1.1)
    with pytest.raises(UserError, match="neighbours"):
        FrequencyHint(tf.ragged.constant([[0.5], [1.0]]))
    with pytest.raises(NotImplementedError, match="rows"):
        FrequencyHint().call(t, s)
