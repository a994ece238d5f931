"""The synthetic clicks: drawn from their probabilities, and learnable."""

import time

import numpy as np
import pandas as pd
import pytest

from kd_tfrs.data.synthetic.impressions import SCHEMA, auc, generate_impressions
from kd_tfrs.errors import UserError


@pytest.fixture(scope="module")
def made():
    return generate_impressions()


def test_sizes_columns_and_order(made):
    data = made.interactions
    assert len(data.events) == 200_000
    assert data.events["timestamp"].is_monotonic_increasing
    assert data.events["position"].between(1, 10).all()
    events = {"user_id", "item_id", "device", "position", "timestamp"}
    assert set(data.events.columns) == events | {"click", "like"}
    assert set(data.events["click"]) == {0.0, 1.0}
    assert not (data.events["like"] > data.events["click"]).any()
    for table, name in ((data.users, "user_id"), (data.items, "item_id")):
        assert table[name].is_unique
        assert table[name].is_monotonic_increasing
        assert set(table[name]) == set(data.events[name])
        assert table.notna().all().all()
    assert data.report.events == 200_000
    assert {c.name for c in SCHEMA.columns if c.training_only} == {"position"}


def test_labels_are_draws_of_the_true_probabilities(made):
    for task, probability in made.probabilities.items():
        labels = made.interactions.events[task].to_numpy()
        assert probability.dtype == np.float32
        tenths = np.quantile(probability, np.linspace(0, 1, 11)[1:-1])
        group = np.searchsorted(tenths, probability)
        for tenth in range(10):
            expected = probability[group == tenth]
            deviation = np.sqrt((expected * (1 - expected)).sum()) / len(
                expected
            )
            observed = labels[group == tenth].mean()
            assert abs(observed - expected.mean()) < 5 * deviation
    assert 0.18 < made.interactions.events["click"].mean() < 0.22


def test_no_score_beats_the_true_probabilities(made):
    best = made.bayes_auc("click")
    assert 0.78 < best < 0.87
    assert made.bayes_auc("like") > 0.85
    events = made.interactions.events
    popular = events.groupby("item_id")["click"].transform("mean")
    known = auc(events["click"].to_numpy(), popular.to_numpy())
    assert 0.55 < known < best - 0.05
    last = slice(180_000, None)
    expected = auc(
        events["click"].to_numpy()[last], made.probabilities["click"][last]
    )
    assert made.bayes_auc("click", last) == expected


def test_columns_interact(made):
    """Clicks by age and category are no sum of the two."""
    data = made.interactions
    events = data.events.merge(data.users).merge(data.items, on="item_id")
    table = pd.crosstab(
        events["age"], events["category"], events["click"], aggfunc="mean"
    )
    table = np.log(table / (1 - table)).to_numpy()
    both = table - table.mean(0) - table.mean(1)[:, None] + table.mean()
    # A cell has some 2,000 events, so a logit errs by about 0.06.
    assert both.std() > 0.2


def test_the_position_matters_and_comes_from_the_slate(made):
    events = made.interactions.events
    rate = events.groupby("position")["click"].mean()
    assert rate[1] > 1.4 * rate[10]
    slate = events["position"].to_numpy()[:20].tolist()
    assert slate == [*range(1, 11), *range(1, 11)]
    for name in ("user_id", "timestamp"):
        slates = events[name].to_numpy().reshape(-1, 10)
        assert (slates == slates[:, :1]).all()


def test_some_users_and_items_appear_late(made):
    events = made.interactions.events
    early = events[:140_000]
    for name in ("user_id", "item_id"):
        new = ~events[name][160_000:].isin(early[name])
        assert 0.02 < new.mean() < 0.25


def test_the_seed_decides():
    one, again, other = (generate_impressions(500, seed=s) for s in (3, 3, 4))
    for name in ("events", "users", "items"):
        pd.testing.assert_frame_equal(
            getattr(one.interactions, name), getattr(again.interactions, name)
        )
    np.testing.assert_array_equal(
        one.probabilities["like"], again.probabilities["like"]
    )
    assert not one.interactions.events.equals(other.interactions.events)
    assert one.interactions.fingerprint() == again.interactions.fingerprint()


@pytest.mark.parametrize(
    "sizes",
    [
        {"num_events": 100},
        {"num_events": 333, "num_users": 3, "num_items": 2, "dim": 1},
        {"num_events": 1_001, "num_users": 500, "slate_size": 7},
        {"num_events": 300, "num_users": 4_000, "slate_size": 1},
    ],
)
def test_sizes_are_exact(sizes):
    data = generate_impressions(**sizes).interactions
    assert len(data.events) == sizes["num_events"]
    assert len(data.users) <= sizes.get("num_users", 20)
    assert data.events["position"].max() == sizes.get("slate_size", 10)


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"num_events": 99}, "`num_events`"),
        ({"num_users": 0}, "`num_users`"),
        ({"num_items": 1}, "`num_items`"),
        ({"dim": 0}, "`dim`"),
        ({"slate_size": 0}, "`slate_size`"),
    ],
)
def test_impossible_sizes_are_refused(sizes, message):
    with pytest.raises(UserError, match=message):
        generate_impressions(**sizes)


def test_auc_counts_pairs_and_ties_half():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 60)
    scores = rng.integers(0, 12, 60) / 12
    above = scores[labels == 1][:, None] - scores[labels == 0]
    expected = ((above > 0) + 0.5 * (above == 0)).mean()
    np.testing.assert_allclose(auc(labels, scores), expected)
    assert np.isnan(auc(np.ones(3), np.arange(3)))


@pytest.mark.slow
def test_five_million_take_less_than_a_minute():
    start = time.perf_counter()
    data = generate_impressions(5_000_000)
    assert time.perf_counter() - start < 60
    assert len(data.interactions.events) == 5_000_000
