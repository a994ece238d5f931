"""The method that a run without one takes."""

import pytest

from kd_tfrs.workflow.config import DistillationOptions
from kd_tfrs.workflow.methods import resolve_auto
from kd_tfrs.workflow.methods.auto import LARGEST_CATALOGUE


@pytest.mark.parametrize(
    ("num_items", "method", "words"),
    [
        (LARGEST_CATALOGUE, "soft_targets_all:1", "at most 30,000"),
        (LARGEST_CATALOGUE + 1, "soft_targets:1", "more than 30,000"),
    ],
)
def test_the_size_of_the_catalogue_decides(num_items, method, words):
    options, reason = resolve_auto(DistillationOptions(), num_items)

    assert options.losses == (method,)
    assert options.student_loss_weight == 0
    assert options.temperature == 0.4
    assert method in reason
    assert words in reason


def test_what_is_given_stays():
    given = DistillationOptions(
        temperature=1.0, num_random=64, student_loss_weight=0.5
    )

    options, reason = resolve_auto(given, 10**6)

    assert (options.temperature, options.num_random) == (1.0, 64)
    assert options.student_loss_weight == 0.5
    assert "labels of weight 0.5" in reason


def test_named_methods_keep_their_own_settings():
    given = DistillationOptions(losses=("rrd:0.5",))

    options, reason = resolve_auto(given, 100)

    assert options.losses == ("rrd:0.5",)
    assert options.student_loss_weight == 0.2
    assert options.temperature is None
    assert "as given" in reason
