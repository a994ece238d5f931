"""From options to losses, weights and listeners."""

import pytest

from kd_tfrs.distillation import (
    InBatch,
    Sampled,
    ScoreRegression,
    SoftLabelLikelihood,
    SoftTargets,
    TeacherHardLabel,
    TeacherTopK,
)
from kd_tfrs.errors import UserError
from kd_tfrs.workflow.builders import build_terms, parse_loss
from kd_tfrs.workflow.config import DistillationOptions


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("soft_targets", ("soft_targets", 1.0)),
        ("soft_targets:0.8", ("soft_targets", 0.8)),
        ("score_regression:1e-3", ("score_regression", 1e-3)),
    ],
)
def test_losses_are_read(text, found):
    assert parse_loss(text) == found


@pytest.mark.parametrize(
    "text",
    [
        "kl",
        "",
        "soft_targets:0",
        "soft_targets:-1",
        "soft_targets:loud",
        "soft_targets:nan",
        "soft_targets:inf",
        "soft_targets:1:2",
    ],
)
def test_losses_that_cannot_be_read(text):
    with pytest.raises(UserError, match="--distillation_losses"):
        parse_loss(text)


def test_every_loss_gets_its_weight_and_shares_the_listener():
    options = DistillationOptions(
        losses=(
            "soft_targets:0.5",
            "soft_label_likelihood",
            "teacher_hard_label:2",
            "score_regression:0.1",
        )
    )
    terms, weights = build_terms(options, num_steps=10, num_items=1000)
    assert [type(term.loss) for term in terms] == [
        SoftTargets,
        SoftLabelLikelihood,
        TeacherHardLabel,
        ScoreRegression,
    ]
    assert weights == [0.5, 1.0, 2.0, 0.1]
    assert len({id(term.over) for term in terms}) == 1


@pytest.mark.parametrize(
    ("over", "kind"),
    [("top_k", TeacherTopK), ("in_batch", InBatch), ("sampled", Sampled)],
)
def test_listeners(over, kind):
    options = DistillationOptions(over=over, top_k=50, num_random=7)
    (term,), _ = build_terms(options, num_steps=10, num_items=1000)
    assert isinstance(term.over, kind)


def test_lists_are_no_longer_than_the_catalogue():
    (term,), _ = build_terms(
        DistillationOptions(top_k=200), num_steps=10, num_items=30
    )
    assert term.over.k == 30


def test_temperature_goes_its_way_in_a_line():
    options = DistillationOptions(temperature=4.0, final_temperature=1.0)
    (term,), _ = build_terms(options, num_steps=100, num_items=30)
    way = term.loss.temperature
    assert [float(way(step)) for step in (0, 50, 100, 500)] == pytest.approx(
        [4.0, 2.5, 1.0, 1.0]
    )
