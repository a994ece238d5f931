"""Compression goes on for as long as little is lost."""

import pytest

from kd_tfrs.workflow.pruning import largest_within


def climb(losses, max_loss=0.01):
    """Levels 1, 2, ... with these losses; returns the best and all."""
    made_from = []

    def make(level, before):
        made_from.append(before)
        return f"model {level}"

    best, done = largest_within(
        range(1, 1 + len(losses)),
        make,
        lambda made: losses[int(made.split()[1]) - 1],
        max_loss,
    )
    # Each level is made from the one before, and the first from nothing.
    assert made_from == [None, *(one.made for one in done[:-1])]
    return best, done


def test_the_last_level_within_the_limit_is_the_best():
    best, done = climb([0.0, 0.005, 0.009])
    assert (best.level, best.made, best.loss) == (3, "model 3", 0.009)
    assert [one.level for one in done] == [1, 2, 3]


def test_nothing_is_made_beyond_a_level_that_loses_too_much():
    # The fourth would lose nothing, but it is made from the third.
    best, done = climb([-0.01, 0.002, 0.03, 0.0])
    assert best.level == 2
    assert [one.loss for one in done] == [-0.01, 0.002, 0.03]


def test_a_loss_as_large_as_the_limit_is_within_it():
    assert climb([0.01, 0.0100001])[0].level == 1


@pytest.mark.parametrize("max_loss", [0.0, 0.01])
def test_the_first_level_is_left_where_none_is_within(max_loss):
    best, done = climb([0.02, 0.0], max_loss)
    assert best.level == 1
    assert len(done) == 1
