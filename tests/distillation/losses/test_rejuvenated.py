"""Rejuvenated cross entropy against its sets, written as loops."""

import numpy as np
import pytest
from list_checks import NONE, ListLossChecks, lists, slope

from kd_tfrs.distillation.losses.rejuvenated import RejuvenatedCrossEntropy
from kd_tfrs.errors import UserError


def log_softmax(x):
    return x - x.max() - np.log(np.exp(x - x.max()).sum())


def cross_entropy(t, s, items, temperature):
    if not items:
        return 0.0
    at = sorted(items)
    log_p, log_q = (log_softmax(x[at] / temperature) for x in (t, s))
    return -(np.exp(log_p) * log_q).sum()


def sets(s, mask, listed):
    """The teacher's top, the student's, and all that may close."""
    inputs = [j for j in range(len(s)) if mask[j]]
    teacher = {j for j in inputs if j < listed}
    student = set(sorted(inputs, key=lambda j: -s[j])[:listed])
    closing = {j for j in inputs if any(s[j] >= s[i] for i in teacher)}
    return teacher, student, closing


def reference(t, s, mask, listed, temperature=1.0, beta=3.0):
    """With a draw of all that may close."""
    teacher, student, closing = sets(s, mask, listed)
    share = len(closing & teacher) / len(teacher) if teacher else 0.0
    gamma = np.exp(-beta * share)
    return (1 - gamma) * cross_entropy(
        t, s, student, temperature
    ) + gamma * cross_entropy(t, s, closing | (teacher - student), temperature)


class TestRejuvenatedCrossEntropy(ListLossChecks):
    def make(self, **options):
        return RejuvenatedCrossEntropy(2.0, num_closing=9, **options)

    def changed(self):
        return RejuvenatedCrossEntropy(3.0, 2, 5.0, 7, 0.5, name="other")

    def reference(self, t, s, mask, listed):
        return reference(t, s, mask, listed, 2.0)


def test_a_smaller_draw_by_brute_force():
    # One closes. The mixture for each that may, and nothing else, comes up.
    t, s = (np.repeat(x, 3000, axis=0) for x in lists(7, queries=1))
    rows = RejuvenatedCrossEntropy(
        num_closing=1, decay=2.0, max_count=3, beta=1.0, reduction=NONE
    )(t, s, listed=5).numpy()
    one_t, one_s = t[0].astype(np.float64), s[0].astype(np.float64)
    teacher, student, closing = sets(one_s, np.ones(9, bool), 5)
    values, weights = [], []
    for j in closing:
        gamma = np.exp(-float(j in teacher) / 5)
        values.append(
            (1 - gamma) * cross_entropy(one_t, one_s, student, 1.0)
            + gamma
            * cross_entropy(one_t, one_s, {j} | (teacher - student), 1.0)
        )
        below = sum(one_s[i] <= one_s[j] for i in teacher)
        weights.append(np.exp(min(below, 3) / 2.0))
    hits = np.isclose(rows[:, None], values, rtol=1e-5)
    assert hits.any(axis=1).all()
    chances = np.zeros(len(values))
    for k, value in enumerate(values):
        same = np.isclose(values, value, rtol=1e-5)
        chances[k] = np.sum(np.array(weights)[same]) / np.sum(weights)
    # The standard deviation of a share is at most .0092.
    np.testing.assert_allclose(hits.mean(axis=0), chances, atol=5 * 0.0092)


def test_agreement_leaves_entropies_and_no_gradient():
    t, _ = lists()
    t[:, 5:] -= 30
    value, gradient = slope(RejuvenatedCrossEntropy(), t, t, listed=5)
    np.testing.assert_allclose(gradient, 0.0, atol=1e-6)
    # The student's top is the teacher's, and all of it closes: one set.
    entropy = np.mean(
        [cross_entropy(x, x, set(range(5)), 1.0) for x in t.astype(np.float64)]
    )
    np.testing.assert_allclose(value, entropy, rtol=1e-5)


def test_draws_depend_on_the_step_alone():
    t, s = lists(queries=50)
    loss = RejuvenatedCrossEntropy(num_closing=2)
    values = [float(loss(t, s, listed=5, step=x)) for x in (3, 3, 4)]
    assert values[0] == values[1] != values[2]


@pytest.mark.parametrize(
    "options",
    [
        {"temperature": 0.0},
        {"num_closing": 0},
        {"decay": 0.0},
        {"max_count": 0},
        {"beta": -1.0},
    ],
)
def test_numbers_out_of_range(options):
    with pytest.raises(UserError, match=next(iter(options))):
        RejuvenatedCrossEntropy(**options)
