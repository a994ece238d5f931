import os
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from kd_tfrs.errors import UserError
from kd_tfrs.evaluation import paired_test
from kd_tfrs.evaluation.catalogue import head_items
from kd_tfrs.evaluation.retrieval import (
    EmbeddingScorer,
    FullRanking,
    PopularityScorer,
    list_metrics,
)
from kd_tfrs.evaluation.retrieval import protocol as protocol_module


def frame(*events):
    return pd.DataFrame(events, columns=["user_id", "item_id"])


class Fixed:
    """Recommends the given lists, whatever is excluded."""

    def __init__(self, lists):
        self.lists = lists

    def recommend(self, queries, k, exclude=None):
        ids = np.zeros((len(queries), k), np.int64)
        scores = np.full((len(queries), k), -np.inf, np.float32)
        for i, user in enumerate(queries):
            row = self.lists[user][:k]
            ids[i, : len(row)] = row
            scores[i, : len(row)] = np.arange(len(row), 0, -1)
        return ids, scores

    def score(self, queries, candidates):
        raise NotImplementedError


def random_split(seed, users=40, items=30):
    """Train, validation, test without a repeated event; one unknown item."""
    random = np.random.default_rng(seed)
    pairs = random.permutation(users * items)[: users * 10]
    events = frame(*np.stack(np.divmod(pairs, items), axis=1))
    parts = random.choice(3, len(events), p=[0.6, 0.15, 0.25])
    train, validation, test = (events[parts == part] for part in range(3))
    return train, validation, pd.concat([test, frame((0, 999))])


@pytest.mark.parametrize("kind", [int, str])
def test_agrees_with_ranx(kind, monkeypatch):
    # Compiling ranx takes minutes, and running it as Python a second.
    monkeypatch.setattr(pytest.importorskip("numba").config, "DISABLE_JIT", 1)
    from ranx import Qrels, Run, evaluate

    train, validation, test = (
        part.astype({"user_id": kind, "item_id": kind})
        for part in random_split(0)
    )
    items = [kind(i) for i in range(30)]
    random = np.random.default_rng(1)
    # Small integers: most scores are equal to some other score.
    queries = random.integers(-1, 2, (40, 2))
    candidates = random.integers(-1, 2, (30, 2))
    users = [kind(i) for i in range(40)]
    scorer = EmbeddingScorer(users, queries, items, candidates)
    depth = 15
    protocol = FullRanking(
        train, test, items, exclude=validation, ks=(1, 5, 10), depth=depth
    )
    result = protocol.evaluate(scorer)

    # The same by the book: dicts, sorted by score and then by id.
    scores = queries @ candidates.T
    qrels, run = {}, {}
    seen = pd.concat([train, validation])
    for user, found in test.groupby("user_id")["item_id"]:
        banned = set(seen.loc[seen["user_id"] == user, "item_id"])
        row = scores[int(user)]
        ranked = sorted(
            (i for i in items if i not in banned),
            key=lambda i, row=row: (-row[int(i)], i),
        )
        qrels[str(user)] = {str(i): 1 for i in found}
        # ranx leaves ties to chance: give it the order instead.
        run[str(user)] = {
            str(i): float(depth - r) for r, i in enumerate(ranked[:depth])
        }
    names = [
        f"{name}@{k}"
        for name in ("recall", "hit_rate", "precision", "f1", "ndcg")
        for k in (1, 5, 10)
    ] + ["mrr", "map"]
    expected = evaluate(Qrels(qrels), Run(run), names)
    for name in names:
        assert result.metrics[name] == pytest.approx(expected[name]), name
        mean = result.per_user[name].mean()
        assert mean == pytest.approx(expected[name]), name
    assert result.users.tolist() == sorted(set(test["user_id"]))


def test_a_small_case_by_hand():
    # User 1 has seen 10 and 11, user 2 has seen 10; no user has seen 12.
    train = frame((1, 10), (1, 11), (2, 10))
    test = frame((1, 13), (2, 11), (2, 12))
    lists = {1: [12, 13], 2: [11, 13]}
    protocol = FullRanking(train, test, [10, 11, 12, 13], ks=(1, 2), depth=4)
    found = protocol.evaluate(Fixed(lists)).metrics
    assert found["recall@2"] == (1 + 1 / 2) / 2
    assert found["hit_rate@1"] == (0 + 1) / 2
    assert found["mrr"] == (1 / 2 + 1) / 2
    assert found["map"] == (1 / 2 + 1 / 2) / 2
    assert found["coverage@2"] == 3 / 4
    assert found["coverage@1"] == 2 / 4
    assert found["popularity@2"] == (0 + (1 + 0) / 2) / 2
    # Shares with one event added to each of 4 items: 10 3/7, 11 2/7, rest 1/7.
    bits = -np.log2(np.array([2, 1]) / 7)
    assert found["novelty@1"] == pytest.approx((bits[1] + bits[0]) / 2)
    # Nobody took two of the listed items.
    assert found["diversity@2"] == 1
    assert found["gini@1"] == 0.5


def test_diversity_uses_the_vectors_in_the_order_of_the_given_items():
    train, test = frame((1, 10)), frame((1, 11))
    lists = Fixed({1: [13, 11]})
    vectors = np.array([[1, 0], [2, 0], [0, 1]])  # of 13, 11, 10
    protocol = FullRanking(
        train, test, [13, 11, 10], item_vectors=vectors, ks=(2,), depth=2
    )
    assert protocol.evaluate(lists).metrics["diversity@2"] == pytest.approx(0)
    with pytest.raises(UserError, match="one row for each item"):
        FullRanking(train, test, [13, 11, 10], item_vectors=vectors[:2])


def test_large_data_are_sketched(monkeypatch):
    train, _, test = random_split(2)
    scorer = PopularityScorer(train, range(30))
    exact = FullRanking(train, test, range(30)).evaluate(scorer).metrics
    monkeypatch.setattr(protocol_module, "_EXACT_DIVERSITY", 0)
    sketch = partial(list_metrics.sketch_columns, width=32)
    monkeypatch.setattr(list_metrics, "sketch_columns", sketch)
    found = FullRanking(train, test, range(30)).evaluate(scorer).metrics
    assert found["diversity@20"] != exact["diversity@20"]
    assert found["diversity@20"] == pytest.approx(
        exact["diversity@20"], abs=0.2
    )


def test_head_is_the_fewest_items_with_most_events():
    # 50 + 30 are 80 % of 100; the tie of 10 and 10 is in the tail.
    assert head_items(np.array([10, 50, 10, 30])).tolist() == [
        False,
        True,
        False,
        True,
        False,
    ]
    # Of equal counts the smaller id is in the head.
    assert head_items(np.array([1, 1]), 0.5).tolist() == [True, False, False]


def test_slices_by_hand():
    # Item 10 takes 4 of 5 events and is the head; 99 is unknown, thus tail.
    train = frame((1, 10), (2, 10), (3, 10), (4, 10), (1, 11))
    test = frame((1, 12), (1, 99), (2, 11), (5, 10))
    lists = {1: [12], 2: [12], 5: [10]}
    protocol = FullRanking(
        train, test, [10, 11, 12], ks=(1,), depth=1, new_user_events=1
    )
    found = protocol.evaluate(Fixed(lists)).metrics
    assert found["recall@1"] == (1 / 2 + 0 + 1) / 3
    # New are user 2 (one event) and user 5 (none).
    assert found["recall@1[new_users]"] == (0 + 1) / 2
    # User 5 has nothing in the tail.
    assert found["recall@1[long_tail]"] == (1 / 2 + 0) / 2


def test_an_empty_slice_is_none():
    train = frame((1, 10), (1, 11))
    test = frame((1, 12))
    protocol = FullRanking(
        train, test, [10, 11, 12], ks=(1,), depth=1, new_user_events=1
    )
    found = protocol.evaluate(Fixed({1: [12]})).metrics
    assert found["recall@1[new_users]"] is None
    assert found["recall@1[long_tail]"] == 1
    train = frame((1, 10), (2, 12))
    protocol = FullRanking(train, frame((1, 12)), [10, 12], ks=(1,), depth=1)
    found = protocol.evaluate(Fixed({1: [12]})).metrics
    assert found["recall@1[long_tail]"] is None


def test_fast_is_the_accuracy_part_of_the_whole():
    train, validation, test = random_split(3)
    protocol = FullRanking(train, test, range(30), exclude=[validation])
    scorer = PopularityScorer(train, range(30))
    whole, fast = (
        protocol.evaluate(scorer),
        protocol.evaluate(scorer, fast=True),
    )
    assert set(fast.metrics) < set(whole.metrics)
    assert "ndcg@20" in fast.metrics
    assert "coverage@20" not in fast.metrics
    for name, value in fast.metrics.items():
        assert whole.metrics[name] == value


def test_repeated_held_out_events_count_once():
    train, test = frame((1, 10)), frame((1, 11), (1, 11))
    protocol = FullRanking(train, test, [10, 11], ks=(1,), depth=2)
    assert protocol.evaluate(Fixed({1: [11]})).metrics["recall@1"] == 1


def test_a_catalogue_smaller_than_the_depth():
    train, test = frame((1, 10), (2, 11)), frame((1, 11), (2, 10))
    protocol = FullRanking(train, test, [10, 11])
    found = protocol.evaluate(PopularityScorer(train, [10, 11])).metrics
    assert found["recall@50"] == 1
    assert found["coverage@5"] == 1


def test_column_names_may_be_other():
    train = frame((1, 10)).rename(columns={"user_id": "u", "item_id": "i"})
    test = frame((1, 11)).rename(columns={"user_id": "u", "item_id": "i"})
    protocol = FullRanking(train, test, [10, 11], user_col="u", item_col="i")
    scorer = PopularityScorer(train, [10, 11], item_col="i")
    assert protocol.evaluate(scorer).metrics["mrr"] == 1
    with pytest.raises(UserError, match="column `user_id`"):
        FullRanking(train, test, [10, 11])


def test_mistakes_in_the_split_raise():
    train, test = frame((1, 10)), frame((1, 11))
    with pytest.raises(UserError, match="held out and excluded"):
        FullRanking(train, train, [10, 11])
    with pytest.raises(UserError, match="user 1 with item 11"):
        FullRanking(train, test, [10, 11], exclude=test)
    with pytest.raises(UserError, match="at least one event"):
        FullRanking(train, test[:0], [10, 11])
    with pytest.raises(UserError, match="up to the depth 10"):
        FullRanking(train, test, [10, 11], ks=(20,), depth=10)
    with pytest.raises(UserError, match="kind integer"):
        FullRanking(train.astype(str), test, [10, 11])


@pytest.mark.parametrize(
    ("row", "message"),
    [([10], "1 excluded"), ([11, 11], "1 repeated"), ([77], "item 77")],
)
def test_scorers_that_break_the_contract_raise(row, message):
    protocol = FullRanking(frame((1, 10)), frame((1, 11)), [10, 11, 12])
    with pytest.raises(UserError, match=message):
        protocol.evaluate(Fixed({1: row}))


def test_a_repeated_item_raises_in_any_list():
    train, test = frame((1, 10), (2, 10)), frame((1, 11), (2, 12))
    protocol = FullRanking(train, test, [10, 11, 12], ks=(2,), depth=2)
    with pytest.raises(UserError, match="0 excluded and 1 repeated"):
        protocol.evaluate(Fixed({1: [11, 12], 2: [12, 12]}))


def test_small_data_are_not_sketched():
    # 3000 users in pairs of two items each: more than a sketch has columns,
    # and cosines of 0 and 1 that it would blur.
    users = range(3000)
    train = frame(*((u, u % 4) for u in users), (3000, 0))
    train = pd.concat([train, frame(*((u, 4 + u % 4) for u in users))])
    protocol = FullRanking(train, frame((3000, 5)), range(8), ks=(2,), depth=2)
    for row, expected in (([1, 5], 0.0), ([1, 6], 1.0)):
        found = protocol.evaluate(Fixed({3000: row})).metrics
        assert found["diversity@2"] == pytest.approx(expected, abs=1e-6)


def test_nan_scores_raise():
    class Diverged(Fixed):
        def recommend(self, queries, k, exclude=None):
            ids, scores = super().recommend(queries, k)
            return ids, scores * np.nan

    protocol = FullRanking(frame((1, 10)), frame((1, 11)), [10, 11])
    with pytest.raises(UserError, match="NaN"):
        protocol.evaluate(Diverged({1: [11]}))


def test_per_user_values_can_be_tested_for_significance():
    train, validation, test = random_split(5)
    protocol = FullRanking(train, test, range(30), exclude=validation)
    popular = protocol.evaluate(PopularityScorer(train, range(30)))
    test = paired_test(popular.per_user["mrr"], popular.per_user["mrr"])
    assert test.difference == 0
    assert test.num_pairs == len(popular.users)


DATA = Path(os.environ.get("KD_TFRS_DATA_DIR", "nowhere"))
CITEULIKE = DATA / "citeulike-full"


@pytest.mark.skipif(
    not CITEULIKE.is_dir(),
    reason="citeulike-full is not in KD_TFRS_DATA_DIR",
)
def test_the_whole_of_citeulike_in_seconds():
    train, validation, test = (
        pd.read_csv(CITEULIKE / f"{part}.tsv", sep="\t")
        for part in ("train", "valid", "test")
    )
    items = pd.unique(pd.concat([train, validation, test])["item_id"])
    users = pd.unique(train["user_id"])
    random = np.random.default_rng(0)
    scorer = EmbeddingScorer(
        users,
        random.standard_normal((len(users), 200), np.float32),
        items,
        random.standard_normal((len(items), 200), np.float32),
    )
    protocol = FullRanking(train, test, items, exclude=validation)
    result = protocol.evaluate(scorer)
    assert len(result.users) == 5219
    # 2 to 4 seconds on two cores; the limit leaves room for a busy machine.
    assert result.seconds < 30
    # A random ranking finds k of the items that are left: a little over k / n.
    assert result.metrics["recall@50"] == pytest.approx(50 / 25181, abs=2e-3)
