import numpy as np
import pandas as pd
import pytest

from kd_tfrs.errors import UserError
from kd_tfrs.evaluation.retrieval import EmbeddingScorer, SampledRanking


def frame(*events):
    return pd.DataFrame(events, columns=["user_id", "item_id"])


class Recorder:
    """Scores by a function of the item id and keeps the candidates."""

    def __init__(self, score):
        self.function = score

    def recommend(self, queries, k, exclude=None):
        raise NotImplementedError

    def score(self, queries, candidates):
        self.queries, self.candidates = queries, candidates
        return self.function(candidates).astype(np.float32)


def test_negatives_are_distinct_and_never_seen_by_their_user():
    random = np.random.default_rng(0)
    pairs = np.stack(np.divmod(random.permutation(600)[:200], 30), axis=1)
    events = frame(*pairs)
    train, validation, test = events[:100], events[100:150], events[150:]
    scorer = Recorder(lambda items: items)
    protocol = SampledRanking(
        train, test, range(30), exclude=validation, num_negatives=9
    )
    protocol.evaluate(scorer)
    seen = events.groupby("user_id")["item_id"].agg(set)
    held_out = set(test.itertuples(index=False, name=None))
    for user, row in zip(scorer.queries, scorer.candidates, strict=True):
        assert len(set(row)) == 10
        assert (user, row[0]) in held_out
        assert not seen[user] & set(row[1:])


def test_the_draw_depends_on_the_seed_only():
    train, test = frame((1, 0)), frame((1, 1))

    def drawn(seed):
        scorer = Recorder(lambda items: items)
        SampledRanking(
            train, test, range(50), num_negatives=10, seed=seed
        ).evaluate(scorer)
        return scorer.candidates.tolist()

    assert drawn(1) == drawn(1) != drawn(2)
    scorer = Recorder(lambda items: items)
    SampledRanking(train, test, range(50), num_negatives=10).evaluate(scorer)
    assert scorer.candidates.tolist() == drawn(0)


def test_the_draw_is_uniform():
    users = 4000
    train = frame(*((u, 0) for u in range(users)))
    test = frame(*((u, 1) for u in range(users)))
    scorer = Recorder(lambda items: items)
    SampledRanking(train, test, range(12), num_negatives=5, ks=(1,)).evaluate(
        scorer
    )
    counts = np.bincount(scorer.candidates[:, 1:].ravel(), minlength=12)
    assert counts[:2].tolist() == [0, 0]
    # Each of the 10 others is in half of the draws: 2000, sd 32.
    assert np.abs(counts[2:] - users / 2).max() < 4 * 32


def test_ranks_by_hand_with_ties():
    # All items but 0 are candidates, in one order or another.
    train, test = frame((1, 0)), frame((1, 3))
    protocol = SampledRanking(
        train, test, range(6), num_negatives=4, ks=(1, 3, 5)
    )
    best = protocol.evaluate(Recorder(lambda i: i == 3)).metrics
    assert best["hit_rate@1"] == best["ndcg@1"] == best["mrr"] == 1
    # All equal: 1 and 2 come before 3, thus rank 3.
    tied = protocol.evaluate(Recorder(lambda i: 0 * i)).metrics
    assert (tied["hit_rate@1"], tied["hit_rate@3"]) == (0, 1)
    assert tied["mrr"] == pytest.approx(1 / 3)
    assert tied["ndcg@3"] == pytest.approx(1 / np.log2(4))
    worst = protocol.evaluate(Recorder(lambda i: i != 3)).metrics
    assert (worst["hit_rate@3"], worst["mrr"]) == (0, 1 / 5)


def test_a_user_with_many_events_counts_once():
    train, test = frame((1, 0), (2, 0)), frame((1, 1), (1, 8), (2, 1))
    protocol = SampledRanking(train, test, range(9), num_negatives=4, ks=(1,))
    result = protocol.evaluate(Recorder(lambda i: i == 1))
    assert result.per_user["hit_rate@1"].tolist() == [0.5, 1.0]
    assert result.metrics["hit_rate@1"] == 0.75


def test_an_item_outside_of_the_catalogue_counts_as_missed():
    train = frame((1, 0), (2, 0))
    test = frame((1, 1), (1, 99), (2, 98))
    protocol = SampledRanking(train, test, range(9), num_negatives=4, ks=(1,))
    result = protocol.evaluate(Recorder(lambda i: i == 1))
    # Of user 1's two items one can be found; of user 2's, none.
    assert result.per_user["hit_rate@1"].tolist() == [0.5, 0.0]
    assert result.metrics["mrr"] == 0.25


def test_any_scorer_will_do_and_text_ids_too():
    train, test = frame(("u", "a")), frame(("u", "b"))
    items = list("abcdef")
    scorer = EmbeddingScorer(["u"], [[1.0]], items, np.eye(6)[:, 1:2])
    protocol = SampledRanking(train, test, items, num_negatives=4, ks=(1,))
    assert protocol.evaluate(scorer).metrics["hit_rate@1"] == 1


def test_mistakes_raise():
    train, test = frame((1, 0)), frame((1, 1))
    with pytest.raises(UserError, match="here 3"):
        SampledRanking(train, test, range(5), num_negatives=4, ks=(1,))
    with pytest.raises(UserError, match="`num_negatives` should be"):
        SampledRanking(train, test, range(5), num_negatives=0)
    with pytest.raises(UserError, match="all of other items"):
        SampledRanking(train, frame((1, 99)), range(50), num_negatives=20)
