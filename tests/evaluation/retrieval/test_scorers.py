import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

from kd_tfrs.errors import UserError
from kd_tfrs.evaluation import catalogue as catalogue_module
from kd_tfrs.evaluation.catalogue import top_k
from kd_tfrs.evaluation.retrieval import (
    EmbeddingScorer,
    PopularityScorer,
    Scorer,
)
from kd_tfrs.evaluation.retrieval.saved_model_scorer import (
    SavedModelScorer,
    version_folder,
)


def brute_force(scores, item_ids, k, exclude):
    """Sorts by score, then by id: what top k has to be, by the book."""
    rows = []
    for row, banned in zip(scores, exclude, strict=True):
        pairs = sorted(
            (-score, item)
            for score, item in zip(row, item_ids, strict=True)
            if item not in set(banned)
        )
        rows.append([item for _, item in pairs[:k]])
    return rows


def tied_scorer(kind, seed=0, users=30, items=40):
    """Embeddings of small integers, so that many scores are equal."""
    random = np.random.default_rng(seed)
    queries = random.integers(-1, 2, (users, 3)).astype(np.float32)
    candidates = random.integers(-1, 2, (items, 3)).astype(np.float32)
    item_ids = random.permutation(10 * items)[:items]
    item_ids = [kind(i) for i in item_ids]
    user_ids = [kind(i) for i in random.permutation(users)]
    scorer = EmbeddingScorer(user_ids, queries, item_ids, candidates)
    return scorer, user_ids, item_ids, queries @ candidates.T


@pytest.mark.parametrize("kind", [int, str])
@pytest.mark.parametrize("block", [1, 2**24])
def test_recommend_is_brute_force_with_ties_and_masks(kind, block, monkeypatch):
    monkeypatch.setattr(catalogue_module, "_BLOCK_SCORES", block)
    scorer, user_ids, item_ids, scores = tied_scorer(kind)
    random = np.random.default_rng(1)
    exclude = [
        list(random.choice(np.array(item_ids, object), random.integers(0, 9)))
        for _ in user_ids
    ]
    ids, values = scorer.recommend(user_ids, 10, exclude)
    assert ids.tolist() == brute_force(scores, item_ids, 10, exclude)
    assert values.dtype == np.float32
    assert (np.diff(values, axis=1) <= 0).all()


@pytest.mark.parametrize("levels", [2, 50, 10**6])
@pytest.mark.parametrize("width", [2048, 3001])
def test_top_k_of_a_wide_row_is_a_stable_sort(levels, width):
    random = np.random.default_rng(levels)
    # From two values only, where all are near the top, to hardly any ties.
    scores = random.integers(0, levels, (20, width)).astype(np.float32)
    scores[0, 5:] = -np.inf
    scores[1] = -np.inf
    scores[2] = 0
    scores[3, ::2] = -0.0
    scores[4] = np.arange(width)
    order = np.argsort(-scores, axis=1, kind="stable")[:, :100]
    values, columns = top_k(scores, 100)
    np.testing.assert_array_equal(columns, order)
    np.testing.assert_array_equal(
        values, np.take_along_axis(scores, order, axis=1)
    )


def test_the_fast_way_is_taken_and_left():
    random = np.random.default_rng(0)
    few = random.random((50, 4096), np.float32)
    values, columns = catalogue_module._top_k_above_bound(few, 100)
    order = np.argsort(-few, axis=1, kind="stable")[:, :100]
    np.testing.assert_array_equal(columns, order)
    np.testing.assert_array_equal(
        values, np.take_along_axis(few, order, axis=1)
    )
    equal = np.zeros((50, 4096), np.float32)
    assert catalogue_module._top_k_above_bound(equal, 1) is None


@pytest.mark.parametrize("kind", [int, str])
def test_score_agrees_with_recommend(kind):
    scorer, user_ids, _, _ = tied_scorer(kind)
    ids, values = scorer.recommend(user_ids, 7)
    np.testing.assert_allclose(scorer.score(user_ids, ids), values, rtol=1e-6)


def test_fewer_items_than_k_end_in_minus_infinity():
    scorer = EmbeddingScorer([1], [[1.0]], [5, 6, 7], [[1.0], [2.0], [3.0]])
    ids, scores = scorer.recommend([1], 5, [[7, 5]])
    assert ids.shape == scores.shape == (1, 5)
    assert ids[0, 0] == 6
    assert scores[0].tolist() == [2.0] + [-np.inf] * 4


def test_everything_excluded_leaves_only_minus_infinity():
    scorer = EmbeddingScorer([1], [[1.0]], [5], [[1.0]])
    assert scorer.recommend([1], 1, [[5]])[1].tolist() == [[-np.inf]]


def test_no_queries_give_no_rows():
    scorer = EmbeddingScorer([1], [[1.0]], [5], [[1.0]])
    ids, scores = scorer.recommend(np.array([], np.int64), 3)
    assert ids.shape == scores.shape == (0, 3)


def test_unknown_users_get_the_fallback_and_unknown_items_nothing():
    scorer = EmbeddingScorer(
        ["a"], [[1.0]], ["x", "y"], [[1.0], [2.0]], fallback=[-1.0]
    )
    ids, _ = scorer.recommend(["a", "unknown"], 2)
    assert ids.tolist() == [["y", "x"], ["x", "y"]]
    scores = scorer.score(["unknown"], [["y", "?"]])
    assert scores.tolist() == [[-2.0, -np.inf]]


def test_excluding_an_unknown_item_is_no_error():
    scorer = EmbeddingScorer([1], [[1.0]], [5], [[1.0]])
    assert scorer.recommend([1], 1, [[99]])[0].tolist() == [[5]]


def test_the_callers_embeddings_stay_as_they_were():
    queries = np.ones((1, 2), np.float32)
    scorer = EmbeddingScorer([1], queries, [5], [[1.0, 2.0]], [9.0, 9.0])
    scorer.recommend([2], 1)
    assert queries.tolist() == [[1.0, 1.0]]


@pytest.mark.parametrize("k", [0, -3, 2.5, True, "10"])
def test_k_is_a_positive_integer(k):
    scorer = EmbeddingScorer([1], [[1.0]], [5], [[1.0]])
    with pytest.raises(UserError, match="`k` should be a positive integer"):
        scorer.recommend([1], k)


def test_shapes_and_diverged_models_raise():
    with pytest.raises(UserError, match=r"`query_embeddings`.*\[2, 1\]"):
        EmbeddingScorer([1, 2], [[1.0]], [5], [[1.0]])
    with pytest.raises(UserError, match="diverged"):
        EmbeddingScorer([1], [[np.nan]], [5], [[1.0]])
    scorer = EmbeddingScorer([1], [[1.0]], [5], [[1.0]])
    with pytest.raises(UserError, match="`candidates` should have the shape"):
        scorer.score([1], [5])


def test_popularity_is_the_same_for_all_and_breaks_ties_by_id():
    train = pd.DataFrame(
        {"user_id": [1, 2, 3, 1], "item_id": ["b", "b", "c", "a"]}
    )
    scorer = PopularityScorer(train, ["d", "c", "b", "a"])
    ids, scores = scorer.recommend(["anyone", "else"], 4, [[], ["b"]])
    assert ids[0].tolist() == ["b", "a", "c", "d"]
    assert ids[1, :3].tolist() == ["a", "c", "d"]
    assert scores.tolist() == [[2, 1, 1, 0], [1, 1, 0, -np.inf]]
    assert scorer.score([0], [["b", "?"]]).tolist() == [[2.0, -np.inf]]


class _Exported(tf.Module):
    """The smallest thing with the signatures of an export: a score table."""

    def __init__(self, table, item_ids):
        super().__init__()
        self.table = tf.constant(table, tf.float32)
        self.items = tf.constant(item_ids)

    def rows(self, user_id):
        """User "3", or 3, is the row 3 of the table."""
        if user_id.dtype == tf.string:
            user_id = tf.strings.to_number(user_id, tf.int64)
        return tf.gather(self.table, user_id)

    def recommend(self, user_id, k, exclude):
        banned = tf.reduce_any(
            exclude[:, :, None] == self.items[None, None], axis=1
        )
        scores = tf.where(banned, -np.inf, self.rows(user_id))
        # Fewer columns than requested where the catalogue is smaller.
        best, places = tf.math.top_k(scores, tf.minimum(k, tf.size(self.items)))
        return {"item_id": tf.gather(self.items, places), "score": best}

    def score(self, user_id, item_id):
        same = item_id[:, :, None] == self.items[None, None]
        scores = tf.where(same, self.rows(user_id)[:, None], 0.0)
        known = tf.reduce_any(same, axis=2)
        total = tf.reduce_sum(scores, axis=2)
        return {"score": tf.where(known, total, -np.inf)}


def export(folder, table, item_ids):
    module = _Exported(table, item_ids)
    kind = module.items.dtype
    user = tf.TensorSpec([None], kind, name="user_id")
    items = tf.TensorSpec([None, None], kind, name="item_id")
    k = tf.TensorSpec([], tf.int32, name="k")
    exclude = tf.TensorSpec([None, None], kind, name="exclude")
    signatures = {
        "recommend": tf.function(module.recommend).get_concrete_function(
            user, k, exclude
        ),
        "score": tf.function(module.score).get_concrete_function(user, items),
    }
    tf.saved_model.save(module, str(folder), signatures=signatures)


@pytest.mark.parametrize("kind", [np.int64, str])
def test_saved_model_scorer_is_brute_force(kind, tmp_path):
    random = np.random.default_rng(0)
    item_ids = [kind(i) for i in range(20, 50)]
    # More users than a batch holds, and many ties.
    table = random.integers(0, 5, (600, 30)).astype(np.float32)
    export(tmp_path / "3", table, item_ids)
    scorer = SavedModelScorer(tmp_path)
    assert isinstance(scorer, Scorer)
    users = [kind(i) for i in range(600)]
    exclude = [
        list(random.choice(np.array(item_ids, object), i % 4))
        for i in range(600)
    ]
    ids, scores = scorer.recommend(users, 10, exclude)
    assert ids.tolist() == brute_force(table, item_ids, 10, exclude)
    np.testing.assert_array_equal(scorer.score(users, ids), scores)
    ids, scores = scorer.recommend(users[:2], 40)
    assert ids.shape == (2, 40)
    assert np.isneginf(scores[:, 30:]).all()


def test_saved_model_scorer_takes_the_newest_version(tmp_path):
    for version in ("2", "10", "not-a-version"):
        (tmp_path / version).mkdir()
        (tmp_path / version / "saved_model.pb").touch()
    (tmp_path / "11").mkdir()
    assert version_folder(tmp_path).name == "10"


def test_saved_model_scorer_names_what_is_missing(tmp_path):
    with pytest.raises(UserError, match=r"holds no saved_model\.pb"):
        SavedModelScorer(tmp_path / "nothing")
    module = tf.Module()
    tf.saved_model.save(module, str(tmp_path / "1"))
    with pytest.raises(UserError, match="without"):
        SavedModelScorer(tmp_path)


def test_saved_model_scorer_refuses_the_other_kind_of_ids(tmp_path):
    export(tmp_path / "1", [[1.0]], ["0"])
    with pytest.raises(UserError, match="`user_id` should be text"):
        SavedModelScorer(tmp_path).recommend([0], 1)
