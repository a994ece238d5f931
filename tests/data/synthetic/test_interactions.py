"""The synthetic interactions: learnable, clean and of realistic sizes."""

import numpy as np
import pandas as pd
import pytest
from scipy.sparse import csr_matrix
from scipy.sparse.linalg import svds

from kd_tfrs.data import clean, split
from kd_tfrs.data.synthetic.interactions import SCHEMA, generate
from kd_tfrs.errors import UserError


@pytest.fixture(scope="module")
def default():
    return generate()


def test_sizes_and_columns(default):
    events, users, items = default
    assert (len(events), len(users), len(items)) == (150_000, 6_000, 6_000)
    data = clean(events, users, items, SCHEMA, name="synthetic")
    assert data.report.events == 150_000
    assert data.report.users == 6_000
    assert data.report.items_dropped < 60
    assert data.users.notna().all().all()
    assert data.items["title"].is_unique
    assert data.items["genres"].str.contains("|", regex=False).any()
    assert set(events["rating"]) == {1.0, 2.0, 3.0, 4.0, 5.0}


def test_times_rise_and_no_item_is_seen_before_its_release(default):
    events, _, items = default
    assert events["timestamp"].is_monotonic_increasing
    year = pd.to_datetime(events["timestamp"], unit="s").dt.year
    assert year.between(2020, 2022).all()
    release = items.set_index("item_id")["release_year"]
    assert (year.to_numpy() >= release[events["item_id"]].to_numpy()).all()


def gini(counts):
    """Half the mean absolute difference of two, divided by the mean."""
    ordered = np.sort(np.asarray(counts, float))
    ranks = np.arange(1, len(ordered) + 1)
    total = len(ordered) * ordered.sum()
    return 2 * (ranks * ordered).sum() / total - (len(ordered) + 1) / len(
        ordered
    )


@pytest.mark.parametrize("seed", [0, 1])
def test_size_and_skew_are_those_of_real_sets(seed):
    # Medians of seven real sets: a mean history of 24, Gini indices of .47
    # over users and .52 over items; their best 1 % of items have 7 to 13 %.
    events, _, _ = generate(seed=seed)
    users, items = (
        events[name].value_counts().to_numpy()
        for name in ("user_id", "item_id")
    )
    assert gini([1, 1, 1]) == pytest.approx(0)
    assert gini([0, 0, 3]) == pytest.approx(2 / 3)
    assert gini(users) == pytest.approx(0.47, abs=0.03)
    assert gini(items) == pytest.approx(0.52, abs=0.03)
    assert users.mean() == pytest.approx(25)
    assert 0.07 < items[: len(items) // 100].sum() / len(events) < 0.13


def test_every_user_has_events_enough_to_hold_out(default):
    counts = default[0]["user_id"].value_counts()
    assert counts.min() >= 5
    assert counts.max() > 3 * counts.median()


def test_attributes_predict_tastes(default):
    events, users, items = default
    joined = events.merge(users, on="user_id").merge(items, on="item_id")
    joined["genre"] = joined["genres"].str.split("|").str[0]
    table = pd.crosstab(joined["country"], joined["genre"], normalize="index")
    assert (table.max() / table.min()).median() > 1.15


def test_a_wide_model_beats_a_narrow_one_and_both_beat_popularity(default):
    data = clean(*default, SCHEMA)
    parts = split(data)
    user, item = (
        pd.Index(table[name]).get_indexer
        for table, name in ((data.users, "user_id"), (data.items, "item_id"))
    )
    seen = csr_matrix(
        (
            np.ones(len(parts.train), np.float32),
            (user(parts.train["user_id"]), item(parts.train["item_id"])),
        ),
        shape=(len(data.users), len(data.items)),
    )
    rows, targets = user(parts.test["user_id"]), item(parts.test["item_id"])

    def recall_at_10(scores):
        scores = np.where(seen.toarray() > 0, -np.inf, scores)[rows]
        own = scores[np.arange(len(rows)), targets][:, None]
        return ((scores > own).sum(axis=1) < 10).mean()

    popularity = recall_at_10(np.asarray(seen.sum(axis=0)))
    recalls = {}
    for rank in (16, 128):
        left, values, right = svds(seen, k=rank, random_state=0)
        recalls[rank] = recall_at_10(left * values @ right)
    assert recalls[16] > 2 * popularity
    assert recalls[128] > 1.2 * recalls[16]


def test_the_seed_decides():
    one, again, other = (generate(500, seed=seed) for seed in (3, 3, 4))
    for table, same in zip(one, again, strict=True):
        pd.testing.assert_frame_equal(table, same)
    assert not one[0].equals(other[0])


@pytest.mark.parametrize(
    "sizes",
    [
        {"num_events": 100},
        {"num_events": 300, "num_users": 60, "num_items": 10},
        {"num_events": 1_000, "num_users": 20, "num_items": 100},
        {"num_events": 4_000, "num_users": 20, "num_items": 12_000, "dim": 3},
    ],
)
def test_sizes_are_exact(sizes):
    events, users, items = generate(**sizes)
    assert len(events) == sizes["num_events"]
    assert not events.duplicated(["user_id", "item_id"]).any()
    assert len(users) == sizes.get("num_users", len(users))
    assert len(items) == sizes.get("num_items", len(items))
    assert items["title"].is_unique


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"num_events": 99}, "at least 100"),
        ({"dim": 0}, "`dim`"),
        ({"num_users": 50_000}, "50000 users"),
        ({"num_users": 10, "num_items": 100}, "half of all"),
    ],
)
def test_impossible_sizes_are_refused(sizes, message):
    with pytest.raises(UserError, match=message):
        generate(**sizes)
