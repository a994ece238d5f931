"""The invented data has what a recommender should find, and is clean."""

import numpy as np
import pandas as pd
import pytest
from scipy.sparse import csr_matrix
from scipy.sparse.linalg import svds

from kd_tfrs.data import clean, split
from kd_tfrs.data.synthetic import SCHEMA, generate
from kd_tfrs.errors import UserError


@pytest.fixture(scope="module")
def default():
    return generate()


def test_sizes_and_columns(default):
    events, users, items = default
    assert (len(events), len(users), len(items)) == (60_000, 1_500, 1_000)
    data = clean(events, users, items, SCHEMA, name="synthetic")
    assert data.report.events == 60_000
    assert data.report.users == 1_500
    assert data.report.items_dropped < 20
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


def test_popularity_has_a_head_and_a_tail(default):
    counts = default[0]["item_id"].value_counts().to_numpy()
    assert 0.25 < counts[:100].sum() / counts.sum() < 0.6
    assert counts[0] > 10 * np.median(counts[-200:])


def test_every_user_has_events_enough_to_hold_out(default):
    counts = default[0]["user_id"].value_counts()
    assert counts.min() >= 5
    assert counts.max() > 3 * counts.median()


def test_attributes_tell_about_tastes(default):
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
    for rank in (4, 32):
        left, values, right = svds(seen, k=rank, random_state=0)
        recalls[rank] = recall_at_10(left * values @ right)
    assert recalls[4] > 1.3 * popularity
    assert recalls[32] > 1.6 * recalls[4]


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
    ("sizes", "says"),
    [
        ({"num_events": 99}, "at least 100"),
        ({"dim": 0}, "`dim`"),
        ({"num_users": 50_000}, "50000 users"),
        ({"num_users": 10, "num_items": 100}, "half of all"),
    ],
)
def test_impossible_sizes_are_refused(sizes, says):
    with pytest.raises(UserError, match=says):
        generate(**sizes)
