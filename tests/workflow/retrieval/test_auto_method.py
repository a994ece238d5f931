"""The method of a run that names none, by the size of the catalogue."""

import pytest

from kd_tfrs.errors import UserError
from kd_tfrs.workflow.retrieval.auto_method import (
    LARGEST_CATALOGUE,
    resolve_auto,
)
from kd_tfrs.workflow.retrieval.config import DistillationOptions
from kd_tfrs.workflow.retrieval.methods import (
    METHODS,
    parse_method,
)


@pytest.mark.parametrize(
    ("more", "losses", "reason"),
    [
        (0, "soft_targets_all:1", "at most"),
        (1, "soft_targets:1", "more than"),
    ],
)
def test_the_size_of_the_catalogue_decides(more, losses, reason):
    given = DistillationOptions()
    options, text = resolve_auto(given, LARGEST_CATALOGUE + more)
    assert options.losses == (losses,)
    # The teacher alone teaches.
    assert options.student_loss_weight == 0
    assert f"{reason} {LARGEST_CATALOGUE:,}" in text
    assert f"has {LARGEST_CATALOGUE + more:,} items" in text
    assert parse_method(losses, METHODS).method in METHODS
    assert given.losses == ("auto",), "what was given stays as it was"


@pytest.mark.parametrize("num_items", [10, 10**6])
def test_what_is_given_beside_it_is_kept(num_items):
    given = DistillationOptions(temperature=0.9, num_random=7)
    options, _ = resolve_auto(given, num_items)
    assert (options.temperature, options.num_random) == (0.9, 7)
    # A method that is named has its own.
    named = DistillationOptions(losses=("soft_targets:1",))
    options, _ = resolve_auto(named, num_items)
    assert options.temperature is options.num_random is None


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


@pytest.mark.parametrize(
    "options",
    [
        {"losses": ("auto", "rd:0.5")},
        {"losses": ("auto:0.5",)},
        {"candidates": "top_k"},
    ],
)
def test_auto_stands_alone(options):
    with pytest.raises(UserError, match="should be auto alone"):
        resolve_auto(DistillationOptions(**options), 100)
