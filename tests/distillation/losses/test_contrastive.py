"""Contrastive distillation: Tian, Krishnan and Isola 2020, in the batch."""

from typing import ClassVar

import numpy as np
import pytest
from feature_checks import FeatureLossChecks, cosine, dense, features

from kd_tfrs.distillation.losses.contrastive import ContrastiveRepresentation
from kd_tfrs.errors import UserError


class TestContrastiveRepresentation(FeatureLossChecks):
    options: ClassVar = {"width": 3, "temperature": 0.5}

    def make(self, **options):
        return ContrastiveRepresentation(**options)

    def reference(self, loss, t, s):
        t, s = dense(loss.teacher_head, t), dense(loss.student_head, s)
        n = range(len(t))
        found = []
        for i in n:
            own = cosine(t[i], s[i]) / loss.temperature
            students = [cosine(t[i], s[j]) / loss.temperature for j in n]
            teachers = [cosine(t[j], s[i]) / loss.temperature for j in n]
            found += [
                np.log(np.exp(others).sum()) - own
                for others in (students, teachers)
            ]
        return np.mean(found)


def test_indifference_costs_the_log_of_the_rows():
    t, s = (np.ones_like(x) for x in features())
    loss = ContrastiveRepresentation()
    np.testing.assert_allclose(loss(t, s), np.log(9), rtol=1e-5)
    mask = np.arange(9) < 4
    np.testing.assert_allclose(loss(t, s, mask=mask), np.log(4), rtol=1e-5)


def test_far_apart_and_matched_costs_nothing():
    rows = np.eye(9, dtype=np.float32)
    loss = ContrastiveRepresentation(width=9, temperature=0.02)
    loss.ensure_built(9, 9)
    for head in loss.trainable_layers:
        head.set_weights([np.eye(9), np.zeros(9)])
    np.testing.assert_allclose(loss(rows, rows), 0.0, atol=1e-6)


@pytest.mark.parametrize("wrong", [{"width": 0}, {"temperature": 0.0}])
def test_wrong_arguments_are_refused(wrong):
    with pytest.raises(UserError, match=next(iter(wrong))):
        ContrastiveRepresentation(**wrong)
