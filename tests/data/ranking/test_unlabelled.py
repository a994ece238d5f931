"""Unlabelled rows: existing users and items in new pairs."""

import numpy as np
import pytest

from kd_tfrs.data.ranking.unlabelled import unlabelled_rows
from kd_tfrs.data.schema import Owner
from kd_tfrs.errors import UserError

OWNERS = {
    "user": Owner.USER,
    "age": Owner.USER,
    "hour": Owner.EVENT,
    "item": Owner.ITEM,
    "genres": Owner.ITEM,
}


def rows(n=50):
    """The age identifies the user, the genres identify the item."""
    user, item = np.arange(n), np.arange(n)[::-1]
    return {
        "user": user,
        "age": user * 2,
        "hour": user % 24,
        "item": item,
        "genres": np.stack([item, item + 1], axis=1),
    }


def test_features_of_an_owner_stay_together():
    made = unlabelled_rows(rows(), OWNERS, 200, seed=1)
    np.testing.assert_array_equal(made["age"], made["user"] * 2)
    np.testing.assert_array_equal(made["hour"], made["user"] % 24)
    np.testing.assert_array_equal(made["genres"][:, 0], made["item"])
    assert made["genres"].shape == (200, 2)


def test_pairs_are_new():
    """Of 50 x 50 pairs one in 50 was there: 4 of 200 are expected."""
    made = unlabelled_rows(rows(), OWNERS, 200, seed=1)
    assert (made["user"] + made["item"] == 49).sum() < 15


def test_a_seed_is_a_draw():
    one, same, other = (
        unlabelled_rows(rows(), OWNERS, 9, seed=s)["item"] for s in (1, 1, 2)
    )
    np.testing.assert_array_equal(one, same)
    assert (one != other).any()


@pytest.mark.parametrize(
    ("names", "count"),
    [(["user", "hour"], 5), (["item"], 5), (["user", "item"], 0)],
)
def test_nothing_to_pair(names, count):
    features = {name: rows()[name] for name in names}
    with pytest.raises(UserError, match="without a label"):
        unlabelled_rows(features, OWNERS, count)
