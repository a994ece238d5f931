import sys

import numpy as np
import pandas as pd
import pytest

from kd_tfrs.evaluation.retrieval import (
    AlsScorer,
    FullRanking,
    PopularityScorer,
)


def two_tastes(seed=0, users=60, items=40):
    """Even users like even items, odd users odd ones; one event held out."""
    random = np.random.default_rng(seed)
    rows = [
        (f"u{u}", f"i{i}")
        for u in range(users)
        for i in random.choice(np.arange(u % 2, items, 2), 8, replace=False)
    ]
    events = pd.DataFrame(rows, columns=["user_id", "item_id"])
    last = events.duplicated("user_id", keep="last")
    return events[last], events[~last], [f"i{i}" for i in range(items + 1)]


def test_als_beats_popularity_where_tastes_differ():
    pytest.importorskip("implicit")
    train, test, items = two_tastes()
    protocol = FullRanking(train, test, items, ks=(20,), depth=20)
    popular = protocol.evaluate(PopularityScorer(train, items)).metrics
    als = AlsScorer(train, items, factors=4)
    found = protocol.evaluate(als).metrics
    # 12 or so items of the user's taste are left: all are among the first 20.
    assert found["recall@20"] > 0.95
    assert found["recall@20"] > popular["recall@20"] + 0.2


def test_als_is_repeatable_and_falls_back_on_popularity():
    pytest.importorskip("implicit")
    train, _, items = two_tastes()
    one, two = (AlsScorer(train, items, factors=4, seed=3) for _ in range(2))
    users = train["user_id"].unique()
    np.testing.assert_equal(one.recommend(users, 5), two.recommend(users, 5))
    popular = PopularityScorer(train, items)
    np.testing.assert_equal(
        one.recommend(["unknown"], 5), popular.recommend(["unknown"], 5)
    )


def test_als_takes_the_items_in_any_order():
    pytest.importorskip("implicit")
    train, _, items = two_tastes()
    users = train["user_id"].unique()
    one = AlsScorer(train, items, factors=4).recommend(users, 5)
    two = AlsScorer(train, items[::-1], factors=4).recommend(users, 5)
    np.testing.assert_array_equal(one[0], two[0])


def test_without_implicit_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "implicit.als", None)
    train, _, items = two_tastes()
    with pytest.raises(ImportError, match=r"kd_tfrs\[baselines\]"):
        AlsScorer(train, items)
