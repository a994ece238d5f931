"""Parity is by value: what differs is refused, whatever differs."""

import numpy as np
import pandas as pd
import pytest

from kd_tfrs.errors import UserError
from kd_tfrs.evaluation.retrieval import FullRanking, SavedModelScorer
from kd_tfrs.export.retrieval import compare_scorers, verify_export
from kd_tfrs.export.retrieval import verify as verify_module

K = 10


class Spoiled:
    """A scorer with changed recommendations or scores."""

    def __init__(self, scorer, recommend=None, score=None):
        self._scorer = scorer
        self._recommend = recommend or (lambda ids, scores: (ids, scores))
        self._score = score or (lambda scores: scores)

    def recommend(self, queries, k, exclude=None):
        found = self._scorer.recommend(queries, k, exclude)
        return self._recommend(*(array.copy() for array in found))

    def score(self, queries, candidates):
        return self._score(self._scorer.score(queries, candidates).copy())


@pytest.mark.parametrize("k", [1, K, 17, 20])
def test_an_export_equals_the_towers(served, k):
    users = [*served.users, served.unknown_user]
    parity = verify_export(served.path, served.scorer(), users, k=k)
    assert (parity.users, parity.k) == (13, k)
    assert parity.identical_lists == 1.0
    assert parity.max_score_difference < 1e-5


def test_the_folder_of_versions_will_do(served):
    parity = verify_export(
        served.path.parent, served.scorer(), served.users, k=3
    )
    assert parity.identical_lists == 1.0


def test_another_embedding_is_refused(served):
    candidates = np.stack(list(served.candidates.values()))
    candidates[4] *= -1
    other = served.scorer(candidate_embeddings=candidates)
    with pytest.raises(UserError, match="should score as the model does"):
        verify_export(served.path, other, served.users, k=K)


def test_another_fallback_is_refused(served):
    other = served.scorer(fallback=-served.fallback)
    verify_export(served.path, other, served.users, k=K)
    with pytest.raises(UserError, match="should score as the model does"):
        verify_export(served.path, other, [served.unknown_user], k=K)


def test_the_tolerance_decides(served):
    scale = {
        "query_embeddings": 1.001 * np.stack(list(served.queries.values()))
    }
    other = served.scorer(**scale)
    parity = verify_export(served.path, other, served.users, k=K, tolerance=0.1)
    assert 1e-4 < parity.max_score_difference < 1e-2
    assert parity.identical_lists == 1.0
    with pytest.raises(UserError, match=r"within 1e-05\. Received: a diff"):
        verify_export(served.path, other, served.users, k=K, tolerance=1e-5)


def ended(ids, scores):
    return ids, np.full_like(scores, -np.inf)


def not_a_number(ids, scores):
    scores[0, 0] = np.nan
    return ids, scores


def swapped(ids, scores):
    ids[:, [0, 3]] = ids[:, [3, 0]]
    return ids, scores


@pytest.mark.parametrize("spoil", [ended, not_a_number, swapped])
def test_spoiled_lists_are_refused(served, monkeypatch, spoil):
    monkeypatch.setattr(
        verify_module,
        "SavedModelScorer",
        lambda path: Spoiled(SavedModelScorer(path), recommend=spoil),
    )
    with pytest.raises(UserError, match="should score as the model does"):
        verify_export(served.path, served.scorer(), served.users, k=K)


@pytest.mark.parametrize("value", [np.nan, -np.inf, 0.0])
def test_spoiled_scores_are_refused(served, monkeypatch, value):
    def spoil(scores):
        scores[1, 2] = value
        return scores

    monkeypatch.setattr(
        verify_module,
        "SavedModelScorer",
        lambda path: Spoiled(SavedModelScorer(path), score=spoil),
    )
    with pytest.raises(UserError, match="should score as the model does"):
        verify_export(served.path, served.scorer(), served.users, k=K)


def test_ties_in_another_order_are_counted_and_allowed():
    class Fixed:
        def __init__(self, ids):
            self._ids = np.array([ids, [1, 2, 3]])

        def recommend(self, queries, k, exclude=None):
            return self._ids, np.float32([[0.5, 0.5, 0.1], [0.5, 0.5, 0.1]])

        def score(self, queries, candidates):
            return np.where(candidates == 3, 0.1, 0.5).astype(np.float32)

    parity = compare_scorers(Fixed([1, 2, 3]), Fixed([2, 1, 3]), [7, 8], 3)
    assert parity.identical_lists == 0.5
    assert parity.max_score_difference == 0.0


@pytest.mark.parametrize("count", [0, 1, 12])
def test_scorers_agree_with_and_without_exclusions(served, count):
    users, expected = served.users[:count], served.scorer()
    actual = SavedModelScorer(served.path)
    for exclude in (None, [served.items[: i % 4] for i in range(count)]):
        ids_a, scores_a = expected.recommend(users, K, exclude)
        ids_b, scores_b = actual.recommend(users, K, exclude)
        assert ids_a.shape == ids_b.shape == (count, K)
        assert ids_a.tolist() == ids_b.tolist()
        np.testing.assert_allclose(scores_a, scores_b, rtol=1e-5, atol=1e-6)
    candidates = np.array([served.items[:3]] * count).reshape(count, 3)
    np.testing.assert_allclose(
        expected.score(users, candidates),
        actual.score(users, candidates),
        rtol=1e-5,
        atol=1e-6,
    )


def test_more_users_than_a_request_holds(served, monkeypatch):
    monkeypatch.setattr(
        "kd_tfrs.evaluation.retrieval.saved_model_scorer._BATCH", 5
    )
    exclude = [served.items[: i % 3] for i in range(12)]
    expected = served.scorer().recommend(served.users, 4, exclude)
    found = SavedModelScorer(served.path).recommend(served.users, 4, exclude)
    assert found[0].tolist() == expected[0].tolist()


def test_ids_of_another_kind_are_one_clear_error(served):
    scorer = SavedModelScorer(served.path)
    other = ["a"] if served.no_item else [1]
    with pytest.raises(UserError, match="`user_id` should be"):
        scorer.recommend(other, 3)
    with pytest.raises(UserError, match="`item_id` should be"):
        scorer.score(served.users[:1], [other])
    with pytest.raises(UserError, match="`exclude` should be"):
        scorer.recommend(served.users[:1], 3, [other])


def test_full_ranking_cannot_tell_them_apart(served):
    random = np.random.default_rng(3)
    pairs = [
        (user, item)
        for user in [*served.users, served.unknown_user]
        for item in random.choice(np.array(served.items, object), 6, False)
    ]
    events = pd.DataFrame(pairs, columns=["user_id", "item_id"])
    held_out = events.groupby("user_id").cumcount() < 2
    protocol = FullRanking(
        events[~held_out], events[held_out], served.items, ks=(3, 5)
    )
    expected = protocol.evaluate(served.scorer())
    found = protocol.evaluate(SavedModelScorer(served.path))
    assert found.metrics == pytest.approx(expected.metrics)
    assert expected.metrics["recall@5"] > 0
    for name, values in expected.per_user.items():
        np.testing.assert_allclose(found.per_user[name], values, err_msg=name)
