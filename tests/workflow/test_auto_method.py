"""The method of a run that names none, by the size of the catalogue."""

import pytest

from kd_tfrs.workflow.config import DistillationOptions
from kd_tfrs.workflow.methods import METHODS, parse_method, resolve_auto


@pytest.mark.parametrize(
    ("num_items", "losses", "reason"),
    [
        (50_000, "soft_targets_all:1", "has 50,000 items, at most 50,000"),
        (50_001, "soft_targets:1", "has 50,001 items, more than 50,000"),
    ],
)
def test_the_size_of_the_catalogue_decides(num_items, losses, reason):
    given = DistillationOptions()
    options, text = resolve_auto(given, num_items)
    assert options.losses == (losses,)
    # The teacher alone teaches.
    assert options.student_loss_weight == 0
    assert reason in text
    assert parse_method(losses, METHODS).method in METHODS
    assert given.losses == ("auto",), "what was given stays as it was"


@pytest.mark.parametrize("num_items", [10, 10**6])
def test_a_method_that_is_named_is_taken(num_items):
    given = DistillationOptions(losses=("rrd:2", "soft_targets"))
    options, text = resolve_auto(given, num_items)
    assert options.losses == given.losses
    # The weight of the labels beside methods that are named, if unset.
    assert options.student_loss_weight == 0.2
    assert text == "rrd:2,soft_targets, as given, beside labels of weight 0.2"


@pytest.mark.parametrize("losses", [("auto",), ("soft_targets:1",)])
@pytest.mark.parametrize("weight", [0.0, 0.7])
def test_a_weight_of_the_labels_that_is_given_is_kept(losses, weight):
    given = DistillationOptions(losses=losses, student_loss_weight=weight)
    options, text = resolve_auto(given, 100)
    assert options.student_loss_weight == weight
    assert ("labels of weight 0.7" in text) == (weight == 0.7)
