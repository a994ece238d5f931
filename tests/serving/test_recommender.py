"""Retrieval and ranking in one call: by hand, in process, through exports."""

import dataclasses

import numpy as np
import pytest

from kd_tfrs.data.catalogue import Catalogue
from kd_tfrs.errors import UserError
from kd_tfrs.evaluation.retrieval import EmbeddingScorer
from kd_tfrs.export import LiteRtRunner, export_saved_model, to_litert
from kd_tfrs.export.ranking import (
    KerasRanker,
    RankingInputs,
    RankingModule,
    ServingTables,
)
from kd_tfrs.export.retrieval import RetrievalModule
from kd_tfrs.models import FeatureSet
from kd_tfrs.models.ranking import (
    RankerConfig,
    RankingModel,
    RankingTask,
    build_ranker,
)
from kd_tfrs.models.retrieval import TowerConfig, build_tower
from kd_tfrs.serving import Candidates, Recommender
from kd_tfrs.testing.ranking import tiny_ranking

RETRIEVED = 6
COLUMNS = ("user_id", "age", "item_id", "genres", "device")


@dataclasses.dataclass(frozen=True)
class World:
    """Both models in process and as folders."""

    scorer: EmbeddingScorer
    ranker: KerasRanker
    tables: ServingTables
    folders: tuple

    @property
    def users(self):
        return self.tables.users["user_id"].to_numpy()

    @property
    def items(self):
        return self.tables.items["item_id"].to_numpy()


def make_retrieval(data, folder):
    """Towers over ids alone."""
    catalogue = Catalogue.build(data.interactions, data.split.train)
    schema = data.interactions.schema
    user = FeatureSet.adapt(schema.user_features[:1], catalogue.users)
    item = FeatureSet.adapt(schema.item_features[:1], catalogue.items)
    tower = build_tower(user, TowerConfig(embedding_dim=4), name="query")
    tables = user.encode(catalogue.users, unknown_first=True)
    queries = tower(tables)["embedding"].numpy()
    # The item tower is not served.
    rng = np.random.default_rng(0)
    candidates = rng.normal(size=(catalogue.num_items, 4)).astype(np.float32)
    fallback = queries.mean(axis=0)
    module = RetrievalModule(
        np.concatenate([[fallback], queries[1:]]), candidates, catalogue
    )
    export_saved_model(module, folder)
    assert item.features[0].vocabulary_size
    return EmbeddingScorer(
        catalogue.user_ids,
        queries[1:],
        catalogue.item_ids,
        candidates,
        fallback,
    )


def make_ranking(data, folder):
    features = FeatureSet([f for f in data.features if f.name in COLUMNS])
    tasks = (RankingTask("liked"),)
    network = build_ranker(features, RankerConfig("dnn", 4, (8,)), tasks)
    rng = np.random.default_rng(1)
    network.set_weights([rng.normal(size=w.shape) for w in network.weights])
    train = data.examples.train
    model = RankingModel(network, tasks)
    inputs = RankingInputs.of(model, features, train)
    tables = ServingTables.of(data.interactions, data.split.train, train)
    export_saved_model(RankingModule(model, inputs, tables), folder)
    return KerasRanker(network, tasks, inputs, tables), tables


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    data = tiny_ranking()
    base = tmp_path_factory.mktemp("models")
    scorer = make_retrieval(data, base / "retrieval")
    ranker, tables = make_ranking(data, base / "ranking")
    return World(scorer, ranker, tables, (base / "retrieval", base / "ranking"))


@pytest.fixture(scope="module")
def in_process(world):
    return Recommender(world.scorer, world.ranker, RETRIEVED)


@pytest.fixture(scope="module")
def exported(world):
    return Recommender(*world.folders, num_retrieved=RETRIEVED)


def requests(world):
    """Known and unknown users, contexts, and seen items."""
    return [
        (world.users[0], 3, None, None),
        (world.users[1], 6, {"device": "tv"}, world.items[:4].tolist()),
        (world.users[2], 1, {"device": "radio", "age": 20.0}, []),
        ("unknown", 4, None, world.items[3:5]),
        (world.users[3], 5, {"age": None}, world.items[2:]),
    ]


def by_hand(world, user, k, context, exclude):
    """Scores all, drops the seen, sorts; then the same with the ranker."""
    seen = set() if exclude is None else set(exclude)
    scores = world.scorer.score([user], world.items[None])[0]
    kept = [
        (-score, item)
        for score, item in zip(scores, world.items, strict=True)
        if item not in seen
    ]
    candidates = [item for _, item in sorted(kept)[:RETRIEVED]]
    ids, found = world.ranker.rank(user, candidates, len(candidates), context)
    ranked = sorted(zip(-found, ids, strict=True))[:k]
    return [item for _, item in ranked], [-score for score, _ in ranked]


def test_in_process_by_hand(world, in_process):
    for request in requests(world):
        user, k, context, exclude = request
        ids, scores = in_process.recommend(user, k, context, exclude)
        expected_ids, expected = by_hand(world, *request)
        count = len(expected)
        assert ids[:count].tolist() == expected_ids
        np.testing.assert_allclose(scores[:count], expected, atol=1e-5)
        assert np.isneginf(scores[count:]).all()
        assert ids.shape == scores.shape == (k,)


def test_the_exports_say_the_same(world, in_process, exported):
    for user, k, context, exclude in requests(world):
        ids, scores = in_process.recommend(user, k, context, exclude)
        found_ids, found = exported.recommend(user, k, context, exclude)
        assert found_ids.tolist() == ids.tolist()
        np.testing.assert_allclose(found, scores, atol=1e-5)


def test_a_litert_ranker_says_the_same(world, in_process):
    pytest.importorskip("ai_edge_litert")
    keras = world.ranker
    runner = LiteRtRunner(to_litert(keras.network))
    ranker = KerasRanker(
        runner.predict, keras.tasks, keras.inputs, world.tables
    )
    small = Recommender(world.scorer, ranker, RETRIEVED)
    for user, k, context, exclude in requests(world):
        ids, scores = in_process.recommend(user, k, context, exclude)
        found_ids, found = small.recommend(user, k, context, exclude)
        assert found_ids.tolist() == ids.tolist()
        np.testing.assert_allclose(found, scores, atol=1e-5)


def z(values):
    values = np.asarray(values, np.float64)
    return (values - values.mean()) / values.std()


def test_a_blend_by_hand(world):
    """(1 - w) z(ranking) + w z(retrieval) over what was retrieved."""
    user, seen = world.users[0], world.items[:2]
    found, retrieval = world.scorer.recommend([user], RETRIEVED, [seen])
    ids, ranking = world.ranker.rank(user, found[0], RETRIEVED)
    ranking = dict(zip(ids, ranking, strict=True))
    ranking = [ranking[i] for i in found[0]]
    for weight in (0.25, 0.9):
        blend = (1 - weight) * z(ranking) + weight * z(retrieval[0])
        order = np.argsort(-blend)[:4]
        blended = Recommender(world.scorer, world.ranker, RETRIEVED, weight)
        ids, scores = blended.recommend(user, 4, exclude=seen)
        assert ids.tolist() == found[0][order].tolist()
        np.testing.assert_allclose(scores, blend[order], atol=1e-5)


def test_the_ends_of_a_blend_are_the_two_orders(world, in_process):
    """1 is the retrieval's order; next to 0 it is the ranker's."""
    user = world.users[1]
    orders = {
        1.0: world.scorer.recommend([user], RETRIEVED)[0][0],
        1e-9: in_process.recommend(user, RETRIEVED)[0],
    }
    assert orders[1.0].tolist() != orders[1e-9].tolist()
    for weight, order in orders.items():
        blended = Recommender(world.scorer, world.ranker, RETRIEVED, weight)
        assert blended.recommend(user, RETRIEVED)[0].tolist() == order.tolist()
    candidates = in_process.candidates([user])
    assert candidates.best(RETRIEVED)[0][0].tolist() == orders[1e-9].tolist()


def test_exports_blend_alike(world):
    pairs = ((world.scorer, world.ranker), world.folders)
    one, other = (Recommender(*p, RETRIEVED, 0.4) for p in pairs)
    for user, k, context, exclude in requests(world):
        ids, scores = one.recommend(user, k, context, exclude)
        found_ids, found = other.recommend(user, k, context, exclude)
        there = np.isfinite(scores)
        assert found_ids[there].tolist() == ids[there].tolist()
        np.testing.assert_allclose(found, scores, atol=1e-4)


def test_a_blend_of_equal_scores_keeps_the_order():
    """No spread, no say; a list of one has the score 0."""
    equal = Candidates(
        np.array([[3, 1, 2], [4, 9, 9]]),
        np.array([[3.0, 2.0, 1.0], [5.0, -np.inf, -np.inf]]),
        np.array([[7.0, 7.0, 7.0], [2.0, -np.inf, -np.inf]]),
    )
    ids, scores = equal.best(3, 0.5)
    assert ids[0].tolist() == [3, 1, 2]
    np.testing.assert_allclose(scores[0], 0.5 * z([3, 2, 1]), atol=1e-6)
    nothing = np.iinfo(np.int64).min
    assert ids[1].tolist() == [4, nothing, nothing]
    assert scores[1].tolist() == [0, -np.inf, -np.inf]


def test_items_unknown_to_the_ranker_have_no_part_in_a_blend():
    """Mean and deviation are those of the ranked candidates alone."""
    gone = -np.inf
    retrieval = np.array([[9.0, 4.0, 2.0, 1.0, gone]])
    ranking = np.array([[gone, 1.0, 5.0, 3.0, gone]])
    found = Candidates(np.array([[1, 2, 3, 4, 5]]), retrieval, ranking)
    ids, scores = found.best(4, 0.3)
    blend = 0.7 * z([1, 5, 3]) + 0.3 * z([4, 2, 1])
    order = np.argsort(-blend)
    nothing = np.iinfo(np.int64).min
    assert ids[0].tolist() == [*(order + 2).tolist(), nothing]
    np.testing.assert_allclose(scores[0], [*blend[order], gone], rtol=1e-6)


def test_a_blend_out_of_range_raises():
    found = Candidates(np.array([[1, 2]]), np.ones((1, 2)), np.ones((1, 2)))
    for k in (0, 3):
        with pytest.raises(UserError, match=r"`num_retrieved` = 2\. Retrieve"):
            found.best(k)
    with pytest.raises(UserError, match=r"lie in \[0, 1\]\. Received: .* 7"):
        found.best(1, 7.0)


def test_nothing_that_was_seen_is_recommended(world, exported):
    for user in world.users[:4]:
        first, _ = exported.recommend(user, 3)
        second, scores = exported.recommend(user, 3, exclude=first)
        assert not set(first) & set(second)
        assert np.isfinite(scores).all()


def test_everything_seen_leaves_nothing(world, in_process, exported):
    for recommender in (in_process, exported):
        _, scores = recommender.recommend(
            world.users[0], 2, exclude=world.items
        )
        assert np.isneginf(scores).all()


def test_only_what_was_retrieved_is_ranked(world):
    """With one candidate the ranker has no say, with all it has the only."""
    user = world.users[5]
    one = Recommender(world.scorer, world.ranker, 1).recommend(user, 1)[0]
    assert one.tolist() == world.scorer.recommend([user], 1)[0][0].tolist()
    every = Recommender(world.scorer, world.ranker, len(world.items))
    expected = world.ranker.rank(user, world.items, 5)[0]
    assert every.recommend(user, 5)[0].tolist() == expected.tolist()


def test_an_item_that_the_ranker_does_not_know_is_left_out(world):
    best = world.scorer.recommend([world.users[0]], RETRIEVED)[0][0]
    items = world.tables.items
    fewer = dataclasses.replace(
        world.tables, items=items[items["item_id"] != best[0]]
    )
    ranker = KerasRanker(
        world.ranker.network,
        world.ranker.tasks,
        world.ranker.inputs,
        fewer,
    )
    for weight in (0.0, 0.5):
        recommender = Recommender(world.scorer, ranker, RETRIEVED, weight)
        ids, scores = recommender.recommend(world.users[0], RETRIEVED)
        assert set(ids[:-1]) == set(best[1:])
        assert np.isneginf(scores[-1])


def test_many_users_are_as_one_by_one(world, in_process):
    users, seen = world.users[:3], [world.items[:2], [], world.items[5:]]
    contexts = [{"device": "web"}, None, {"age": 50.0}]
    ids, scores = in_process.recommend_many(users, 4, seen, contexts)
    for i, user in enumerate(users):
        one = in_process.recommend(user, 4, contexts[i], seen[i])
        assert ids[i].tolist() == one[0].tolist()
        np.testing.assert_array_equal(scores[i], one[1])
    none = in_process.recommend_many(users[:0], 4)
    assert none[0].shape == none[1].shape == (0, 4)


def test_mistakes_raise(world, in_process, tmp_path):
    for k in (0, RETRIEVED + 1):
        with pytest.raises(UserError, match="at most `num_retrieved`"):
            in_process.recommend(world.users[0], k)
    with pytest.raises(
        UserError, match="`num_retrieved` should be a positive integer"
    ):
        Recommender(world.scorer, world.ranker, 0)
    with pytest.raises(UserError, match=r"should lie in \[0, 1\]. Received"):
        Recommender(world.scorer, world.ranker, 3, retrieval_weight=1.5)
    with pytest.raises(UserError, match="`ranking` should be a folder or a"):
        Recommender(world.scorer, world.scorer)
    with pytest.raises(UserError, match="should be a SavedModel"):
        Recommender(tmp_path, world.ranker)
    with pytest.raises(UserError, match="should hold an exported ranker"):
        Recommender(world.scorer, world.folders[0])
    with pytest.raises(UserError, match="`context` should have features"):
        in_process.recommend(world.users[0], 1, {"colour": "red"})
