"""Topology distillation: Kang et al. 2021."""

from typing import ClassVar

import numpy as np
import pytest
import tensorflow as tf
from feature_checks import (
    FeatureLossChecks,
    cosine,
    dense,
    features,
    mixture,
    softmax,
)

from kd_tfrs.distillation.losses.expert_mixture import gumbel
from kd_tfrs.distillation.losses.topology import (
    FullTopology,
    HierarchicalTopology,
)
from kd_tfrs.errors import UserError


class TestFullTopology(FeatureLossChecks):
    def make(self, **options):
        return FullTopology(**options)

    def reference(self, loss, t, s):
        n = range(len(t))
        return np.mean(
            [
                (cosine(t[i], t[j]) - cosine(s[i], s[j])) ** 2
                for i in n
                for j in n
            ]
        )

    def test_equal_directions_have_one_topology(self):
        t, _ = features()
        np.testing.assert_allclose(self.make()(t, 7 * t), 0.0, atol=1e-6)


def hierarchical(loss, t, s, around=None):
    """`around`: the student whose prototypes are taken, which is itself."""
    n = len(t)
    logits = dense(loss.assignment, t)
    group = logits.argmax(axis=1)
    total, relations = 0.0, 0
    for i in range(n):
        for j in range(n):
            near = cosine(t[i], t[j])
            if group[i] == group[j] and near > 0:
                total += (near - cosine(s[i], s[j])) ** 2
                relations += 1
    groups = sorted(set(group))
    around = s if around is None else around
    middle = [
        {k: x[group == k].mean(axis=0) for k in groups} for x in (t, around)
    ]
    others = middle
    if loss.level == "entities":
        others = [dict(enumerate(x)) for x in (t, s)]
    for i in others[0]:
        for k in groups:
            a = cosine(others[0][i], middle[0][k])
            b = cosine(others[1][i], middle[1][k])
            total += (a - b) ** 2
            relations += 1
    noise = gumbel(np.ones(n), logits.shape[1], loss.seed, 0).numpy()
    z = softmax((np.log(softmax(logits)) + noise) / loss.initial_temperature)
    gap = ((t - mixture(loss.networks, s, z)) ** 2).sum()
    return (total + loss.assignment_weight * gap) / relations


class TestHierarchicalTopology(FeatureLossChecks):
    options: ClassVar = {
        "num_groups": 3,
        "level": "prototypes",
        "assignment_weight": 0.3,
        "assignment_rows": None,
        "initial_temperature": 0.7,
        "final_temperature": 0.7,
        "seed": 5,
    }

    def make(self, **options):
        return HierarchicalTopology(**options)

    def reference(self, loss, t, s):
        return hierarchical(loss, t, s)

    def moved(self, loss, t, s, to):
        t, s = (np.asarray(x, np.float64) for x in (t, s))
        return hierarchical(loss, t, to, around=s)

    def test_groups_of_entities(self):
        loss = self.built(num_groups=3, assignment_weight=0.0)
        t, s = features(rows=30)
        assert len(set(dense(loss.assignment, t).argmax(axis=1))) == 3
        np.testing.assert_allclose(loss(t, s), self.wanted(loss, t, s), 1e-5)

    def test_a_copy_of_the_teacher_has_its_topology(self):
        for level in ("entities", "prototypes"):
            loss = self.make(num_groups=3, level=level, assignment_weight=0.0)
            t, _ = features()
            np.testing.assert_allclose(loss(t, t), 0.0, atol=1e-6)

    def test_one_group_is_the_full_topology_and_its_middle(self):
        t, s = features()
        t = np.abs(t)  # No relation is left out.
        loss = self.built(num_groups=1, assignment_weight=0.0)
        full = FullTopology()(t, s)
        middle = np.mean(
            [
                (cosine(a, t.mean(axis=0)) - cosine(b, s.mean(axis=0))) ** 2
                for a, b in zip(t, s, strict=True)
            ]
        )
        np.testing.assert_allclose(
            loss(t, s), (9 * full + middle) / 10, rtol=1e-5
        )

    def test_the_choice_is_hard_at_the_end(self):
        t, s = features()
        one, two = (
            self.built(num_groups=3, annealing_steps=10, assignment_weight=w)
            for w in (1.0, 0.0)
        )
        near = np.array([[cosine(a, b) for a in t] for b in t]) > 0
        logits = dense(one.assignment, t)
        group = logits.argmax(axis=1)
        near &= group[:, None] == group
        relations = near.sum() + len(t) * len(set(group))
        keys = np.log(softmax(logits))
        keys += gumbel(np.ones(len(t)), 3, one.seed, 12).numpy()
        z = np.eye(3)[keys.argmax(axis=1)]
        gap = (t - mixture(one.networks, s, z)) ** 2
        np.testing.assert_allclose(
            one(t, s, step=12) - two(t, s, step=12),
            gap.sum() / relations,
            rtol=1e-4,
        )

    def test_some_rows_stand_for_all_in_learning_the_groups(self):
        t, s = features()
        t = np.abs(t)
        one, two = (
            self.built(num_groups=1, assignment_rows=x, assignment_weight=w)
            for x, w in ((4, 1.0), (4, 0.0))
        )
        gap = t[:4] - mixture(one.networks, s[:4], np.ones((4, 1)))
        # 81 relations within the group and 9 with its prototype.
        np.testing.assert_allclose(
            one(t, s) - two(t, s),
            (gap**2).sum(axis=1).mean() * 9 / 90,
            rtol=1e-4,
        )

    def test_groups_learn_from_the_last_term_alone(self):
        t, s = features()
        loss = self.built(num_groups=3, assignment_weight=0.0)
        with tf.GradientTape() as tape:
            value = loss(t, tf.constant(s))
        kernel = loss.assignment.trainable_variables[0]
        assert tape.gradient(value, kernel) is None


@pytest.mark.parametrize(
    "wrong",
    [
        {"num_groups": 0},
        {"level": "users"},
        {"assignment_weight": -0.1},
        {"assignment_rows": 0},
        {"initial_temperature": 0.0},
        {"final_temperature": 2.0},
        {"annealing_steps": 0},
    ],
)
def test_wrong_arguments_are_refused(wrong):
    with pytest.raises(UserError, match=f"`{next(iter(wrong))}` should be"):
        HierarchicalTopology(**wrong)
