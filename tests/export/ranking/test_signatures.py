"""An exported ranker by value: raw rows, tf.Examples, one user's list.

The reference encodes tables by pandas outside any graph, and sorts by NumPy.
"""

import dataclasses
import os

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

from kd_tfrs.errors import UserError
from kd_tfrs.export import (
    CSavedModel,
    export_saved_model,
    saved_model,
    versions,
)
from kd_tfrs.export.ranking import (
    KerasRanker,
    RankingCheck,
    RankingInputs,
    RankingModule,
    SavedModelRanker,
    ServingTables,
    compare_rankers,
    verify_ranking,
)
from kd_tfrs.export.ranking import (
    verify as ranking_verify,
)
from kd_tfrs.export.ranking.client import _sent
from kd_tfrs.models import FeatureSet
from kd_tfrs.models.ranking import RankerConfig, RankingModel, build_ranker
from kd_tfrs.testing.ranking import tiny_ranking

OFFSETS = {"liked": -0.7}


@dataclasses.dataclass(frozen=True)
class World:
    """A ranker in process, as a module, and as a folder."""

    data: object
    model: RankingModel
    inputs: RankingInputs
    tables: ServingTables
    keras: KerasRanker
    module: RankingModule
    path: object
    saved: SavedModelRanker

    @property
    def rows(self):
        """All examples: known and unknown, some values missing."""
        parts = self.data.examples
        table = pd.concat(
            [parts.train.table, parts.validation.table, parts.test.table],
            ignore_index=True,
        )
        history = [
            getattr(parts, name).history
            for name in ("train", "validation", "test")
        ]
        return table, np.concatenate(history)

    @property
    def rank_by(self):
        return "liked" if self.no_item == "" else "rating"

    @property
    def items(self):
        return self.tables.items["item_id"].tolist()

    @property
    def users(self):
        return self.tables.users["user_id"].tolist()

    @property
    def unknown_user(self):
        return "unknown_user" if isinstance(self.users[0], str) else 999

    @property
    def no_item(self):
        is_text = isinstance(self.items[0], str)
        return "" if is_text else np.iinfo(np.int64).min


def make_world(integer_ids, base_dir):
    data = tiny_ranking(integer_ids=integer_ids)
    model = data.model("din" if integer_ids else "dnn")
    train = data.examples.train
    inputs = RankingInputs.of(model, data.features, train)
    tables = ServingTables.of(data.interactions, data.split.train, train)
    rank_by = "rating" if integer_ids else None
    options = {"logit_offsets": OFFSETS, "rank_by": rank_by}
    module = RankingModule(model, inputs, tables, **options)
    path = export_saved_model(module, base_dir)
    keras = KerasRanker(model.network, model.tasks, inputs, tables, **options)
    saved = SavedModelRanker(path)
    return World(data, model, inputs, tables, keras, module, path, saved)


@pytest.fixture(scope="module")
def worlds(tmp_path_factory):
    return {
        kind: make_world(kind, tmp_path_factory.mktemp("ranker") / "model")
        for kind in (False, True)
    }


@pytest.fixture(params=[False, True], ids=["string", "int64"])
def world(request, worlds):
    return worlds[request.param]


@pytest.fixture
def text(worlds):
    return worlds[False]


def requests(world):
    """Known and unknown users, contexts and candidates, long and short."""
    items, history = world.items, world.items[2:7]
    empty = world.no_item
    return [
        (world.users[0], items, 5, None),
        (world.users[3], items[::-1], 20, {"device": "tv", "hour": 3}),
        (world.users[4], items[:1], 1, {"age": 30.0, "country": "it"}),
        (world.unknown_user, [items[2], empty, items[1]], 3, {"price": np.nan}),
        (world.users[5], items, 3, {"history": history, "country": "xx"}),
        (world.users[5], items, 3, {"history": history[:1], "hour": None}),
        (world.unknown_user, items, 3, {"history": [], "hour": 6}),
        (world.users[5], items, 3, {"history": [empty, empty]}),
    ]


def test_rows_score_as_their_encoded_features(world):
    """The network on what `FeatureSet` encodes, the offset added."""
    table, history = world.rows
    encoded = world.data.features.encode(table)
    item_id = next(f for f in world.data.features if f.name == "item_id")
    encoded["history"] = item_id.encode_ids(history)
    outputs = world.model.network(encoded)
    found = world.saved.score(table, history)
    for task in ("liked", "rating"):
        expected = outputs[f"logits_{task}"] + OFFSETS.get(task, 0.0)
        np.testing.assert_allclose(found[task], expected, atol=1e-5)


def test_an_export_equals_the_model(world):
    table, history = world.rows
    check = RankingCheck(world.keras, table, history, requests(world))
    parity = verify_ranking(world.path, check)
    assert (parity.rows, parity.requests) == (len(table), 8)
    assert parity.identical_lists == 1.0
    assert parity.max_logit_difference < 1e-5
    assert parity.max_score_difference < 1e-5


def test_predictions_stand_beside_the_logits(text):
    sent = text.saved.requests(*text.rows)
    found = text.saved.signatures["serving_default"](
        **{name: tf.constant(x) for name, x in sent.items()}
    )
    odds = np.exp(-found["logits_liked"].numpy())
    np.testing.assert_allclose(found["liked"], 1 / (1 + odds), rtol=1e-5)
    np.testing.assert_array_equal(found["rating"], found["logits_rating"])


@pytest.mark.parametrize("count", [0, 1, 7])
def test_any_number_of_rows(world, count):
    table, history = world.rows
    few = world.saved.score(table[:count], history[:count])
    for name, logits in world.saved.score(table, history).items():
        np.testing.assert_allclose(few[name], logits[:count], atol=1e-6)


def test_what_is_not_sent_is_unknown(world):
    """As in training: a missing number is the mean, a category is 0."""
    table, history = world.rows
    fewer = table.drop(columns=["age", "device", "genres", "hour", "year"])
    encoded = world.inputs.encode(table, history)
    for name in ("age", "device", "genres", "hour", "year"):
        encoded[name] = np.zeros_like(encoded[name])
    encoded["history"] = np.zeros_like(encoded["history"])
    expected = world.model.network(encoded)["logits_rating"]
    found = world.saved.score(fewer)["rating"]
    np.testing.assert_allclose(found, expected, atol=1e-5)


def example(row, history, floats, integers):
    """A tf.train.Example; what is missing is left out."""

    def feature(name, values):
        if name in floats:
            return tf.train.Feature(float_list=tf.train.FloatList(value=values))
        if name in integers:
            return tf.train.Feature(int64_list=tf.train.Int64List(value=values))
        values = [v.encode() for v in values]
        return tf.train.Feature(bytes_list=tf.train.BytesList(value=values))

    known = {k: [v] for k, v in row.items() if not pd.isna(v) and v != ""}
    known["history"] = [i for i in history if i not in ("", -1)]
    features = {k: feature(k, v) for k, v in known.items()}
    return tf.train.Example(
        features=tf.train.Features(feature=features)
    ).SerializeToString()


def test_tf_examples_score_as_columns(world):
    table, history = world.rows
    names = [c.name for c in world.inputs.columns]
    kinds = {c.name: c.dtype for c in world.inputs.columns}
    kinds["history"] = world.inputs.history.dtype
    of = {t: {n for n, k in kinds.items() if k == t} for t in kinds.values()}
    # A tf.Example has float32 only: the columns have the same values.
    floats = list(of[tf.float64])
    table = table.astype(dict.fromkeys(floats, np.float32))
    serialized = [
        example(row, past, of[tf.float64], of.get(tf.int64, ()))
        for row, past in zip(
            table[names].to_dict("records"), history, strict=True
        )
    ]
    found = world.saved.signatures["serve_examples"](
        examples=tf.constant(serialized)
    )
    for name, logits in world.saved.score(table, history).items():
        np.testing.assert_allclose(found[f"logits_{name}"], logits, atol=1e-5)


def test_an_empty_example_has_only_missing_values(text):
    serve = text.saved.signatures["serve_examples"]
    found = serve(
        examples=tf.constant([tf.train.Example().SerializeToString()])
    )
    encoded = {
        name: np.zeros([1, *x.shape[1:]], x.dtype.name)
        for name, x in text.model.network.input.items()
    }
    expected = text.model.network(encoded)["logits_rating"]
    np.testing.assert_allclose(found["logits_rating"], expected, atol=1e-6)


def test_rank_sorts_what_the_rows_score(world):
    """Rows by hand for one user: the items' columns beside the user's."""
    user, device = world.users[2], "web"
    table = world.tables.items.merge(
        world.tables.users[world.tables.users["user_id"] == user], how="cross"
    ).assign(device=device, price=0.5)
    history = np.tile(world.tables.histories[2], (len(table), 1))
    scores = world.saved.score(table, history)[world.rank_by]
    best = np.argsort(-scores)[:6]
    ids, found = world.saved.rank(
        user,
        np.random.default_rng(3).permutation(world.items),
        6,
        {"device": device, "price": 0.5},
    )
    assert ids.tolist() == [world.items[i] for i in best]
    np.testing.assert_allclose(found, scores[best], atol=1e-5)


def test_a_request_wins_over_the_table(text):
    user = text.users[3]
    row = text.tables.users.iloc[3]
    own = text.saved.rank(user, text.items, 5)
    context = {"age": row["age"], "country": row["country"]}
    context["history"] = text.tables.histories[3]
    again = text.saved.rank(user, text.items, 5, context)
    np.testing.assert_array_equal(own[1], again[1])
    older = text.saved.rank(user, text.items, 5, {"age": 90.0})
    assert np.abs(own[1] - older[1]).max() > 1e-3


def test_an_unknown_item_comes_last_and_loses_its_id(world):
    unknown = "what" if world.no_item == "" else 12345
    candidates = [unknown, world.items[1], world.no_item, world.items[0]]
    ids, scores = world.saved.rank(world.users[0], candidates, 5)
    assert set(ids[:2]) == set(world.items[:2])
    assert ids[2:].tolist() == [world.no_item] * 3
    assert np.isfinite(scores[:2]).all()
    assert np.isneginf(scores[2:]).all()


@pytest.mark.parametrize("candidates", [[], None])
def test_no_candidate_at_all(world, candidates):
    candidates = [world.no_item] if candidates is None else candidates
    for ranker in (world.saved, world.keras):
        ids, scores = ranker.rank(world.users[0], candidates, 2)
        assert ids.tolist() == [world.no_item] * 2
        assert np.isneginf(scores).all()


def test_ties_go_to_the_smaller_id(text):
    """Rows come sorted, unknown items in front."""
    rows = tf.constant([-1, 0, 3, 4, 4, 9])
    scores = tf.constant([9.0, 1.0, 2.0, 2.0, 2.0, 1.0])
    for k in (1, 4, 6, 8):
        found = text.module.tables.best(rows, scores, tf.constant(k))
        ids = [i.decode() for i in found["item_id"].numpy()]
        expected = [text.items[i] for i in (3, 4, 4, 0, 9)]
        assert ids == [*expected, "", "", ""][:k]
        values = [2.0, 2.0, 2.0, 1.0, 1.0, *[-np.inf] * 3][:k]
        assert found["score"].numpy().tolist() == values


def test_the_reference_breaks_ties_alike(text):
    def same(encoded):
        zeros = np.zeros(len(encoded["user_id"]))
        return {"logits_liked": zeros, "logits_rating": zeros}

    keras = KerasRanker(same, text.model.tasks, text.inputs, text.tables)
    shuffled = np.random.default_rng(0).permutation(text.items)
    found = keras.rank(text.users[0], shuffled, 4)[0]
    assert found.tolist() == text.items[:4]


def test_the_c_library_answers_the_same(text):
    """As a server would, without Python's TensorFlow."""
    loaded = CSavedModel(text.path)
    for request in requests(text)[:2]:
        sent = text.saved.rank_request(*request)
        found = loaded.run("rank", sent)
        ids, scores = text.saved.rank(*request)
        np.testing.assert_allclose(found["score"], scores, atol=1e-6)
        if found["item_id"].dtype == object:
            found["item_id"] = [i.decode() for i in found["item_id"]]
        assert list(found["item_id"]) == ids.tolist()


def test_another_model_is_refused(text):
    table, history = text.rows
    other = KerasRanker(
        text.model.network,
        text.model.tasks,
        text.inputs,
        logit_offsets={"liked": 0.1},
    )
    check = RankingCheck(other, table[:5], history[:5])
    with pytest.raises(UserError, match=r"Received: a difference of 0\.8"):
        verify_ranking(text.path, check)


def test_what_is_refused_never_gets_into_place(text, tmp_path, monkeypatch):
    """Writing and loading stand for themselves elsewhere."""

    def save(module, folder, signatures):
        os.makedirs(folder)

    monkeypatch.setattr(saved_model.tf.saved_model, "save", save)
    monkeypatch.setattr(
        ranking_verify,
        "SavedModelRanker",
        lambda path: Spoiled(text.keras, ended),
    )
    table, history = text.rows
    check = RankingCheck(text.keras, table[:5], history[:5], requests(text)[:1])
    with pytest.raises(UserError, match="The old versions stay in place"):
        export_saved_model(
            text.module,
            tmp_path,
            verify=lambda path: verify_ranking(path, check),
        )
    assert list(tmp_path.iterdir()) == []
    loose = dataclasses.replace(check, tolerance=np.inf)
    export_saved_model(
        text.module, tmp_path, verify=lambda path: verify_ranking(path, loose)
    )
    assert versions(tmp_path) == [1]


class Spoiled:
    """A ranker whose lists are changed on the way."""

    def __init__(self, ranker, change):
        self.ranker, self.change = ranker, change

    def score(self, table, history):
        return self.ranker.score(table, history)

    def rank(self, *request):
        return self.change(*(x.copy() for x in self.ranker.rank(*request)))


def swapped(ids, scores):
    ids[[0, 1]] = ids[[1, 0]]
    return ids, scores


def another(ids, scores):
    ids[0] = "somebody else"
    return ids, scores


def ended(ids, scores):
    scores[-1] = -np.inf
    return ids, scores


@pytest.mark.parametrize("change", [swapped, another, ended])
def test_right_scores_beside_wrong_ids_are_seen(text, change):
    table, history = text.rows
    check = RankingCheck(text.keras, table, history, requests(text)[:1])
    parity = compare_rankers(check, Spoiled(text.keras, change))
    assert parity.max_logit_difference == 0.0
    assert parity.max_score_difference > 1e-2


def test_derived_columns_are_those_after_the_last_event(text):
    """Counts and means of all training events, by pandas."""
    train = text.data.split.train
    tables, last = text.tables, train.groupby("item_id")["rating"]
    items = tables.items.set_index("item_id")
    for item, ratings in last:
        assert items.loc[item, "item_mean_label"] == pytest.approx(
            ratings.mean()
        )
    for user, events in train.groupby("user_id"):
        row = text.users.index(user)
        assert tables.users["user_events"][row] == len(events)
        newest = events.sort_values("timestamp", kind="stable")["item_id"]
        expected = newest.tolist()[::-1][:3]
        assert tables.histories[row].tolist()[: len(expected)] == expected


def test_a_privileged_network_is_not_served(text):
    train = text.data.examples.train
    features = FeatureSet.adapt(train.columns, train.table)
    tasks = text.model.tasks
    model = RankingModel(build_ranker(features, RankerConfig(), tasks), tasks)
    with pytest.raises(UserError, match=r"available when serving.*'position'"):
        RankingInputs.of(model, features, train)


def test_mistakes_raise(text):
    fewer = dataclasses.replace(
        text.tables, items=text.tables.items.drop(columns="genres")
    )
    with pytest.raises(UserError, match="no 'genres' among"):
        RankingModule(text.model, text.inputs, fewer)
    with pytest.raises(UserError, match="no 'genres' among"):
        KerasRanker(text.model.network, text.model.tasks, text.inputs, fewer)
    with pytest.raises(UserError, match="`rank_by` should be a task"):
        RankingModule(text.model, text.inputs, rank_by="click")
    with pytest.raises(UserError, match="`logit_offsets` should be by task"):
        RankingModule(text.model, text.inputs, logit_offsets={"click": 1.0})
    twice = pd.concat([text.tables.items] * 2)
    with pytest.raises(UserError, match="one row for each id"):
        dataclasses.replace(text.tables, items=twice)
    with pytest.raises(UserError, match=r"`context` should have .*'colour'"):
        text.saved.rank(text.users[0], text.items, 2, {"colour": "red"})
    with pytest.raises(UserError, match=r"`context` should have .*'colour'"):
        text.keras.rank(text.users[0], text.items, 2, {"colour": "red"})
    with pytest.raises(UserError, match="`hour` should be integers"):
        text.saved.rank(text.users[0], text.items, 2, {"hour": "noon"})
    with pytest.raises(UserError, match="`hour` should be integers"):
        text.saved.rank(text.users[0], text.items, 2, {"hour": 2.5})
    with pytest.raises(UserError, match="`price` should be numbers"):
        text.saved.rank(text.users[0], text.items, 2, {"price": "cheap"})
    with pytest.raises(UserError, match="`k` should be a positive integer"):
        text.saved.rank(text.users[0], text.items, 0)
    rank = text.saved.signatures["rank"]
    request = text.saved.rank_request(text.users[0], text.items, 0, None)
    with pytest.raises(tf.errors.InvalidArgumentError, match="at least 1"):
        rank(**{name: tf.constant(x) for name, x in request.items()})


@pytest.mark.parametrize(
    ("values", "dtype", "expected"),
    [
        ([1, None, 3.0], tf.int64, [1, tf.int64.min, 3]),
        ([1.0, np.nan], tf.int64, [1, tf.int64.min]),
        ([[5, 6]], tf.int64, [[5, 6]]),
        (["a", None, ""], tf.string, ["a", "", ""]),
        ([True, 3, "x"], tf.string, ["True", "3", "x"]),
        (pd.Series(["u", "v"], dtype="category"), tf.string, ["u", "v"]),
        ([2, None], tf.float64, [2.0, np.nan]),
        (np.float32([0.5]), tf.float64, [0.5]),
        ([], tf.int64, []),
    ],
)
def test_values_are_sent_as_the_signature_takes_them(values, dtype, expected):
    sent = _sent(values, dtype, "column")
    np.testing.assert_array_equal(sent, expected)
    assert tf.constant(sent, dtype).shape == np.shape(expected)


def test_without_tables_there_is_no_rank(text, tmp_path):
    module = RankingModule(text.model, text.inputs)
    assert set(module.signatures()) == {"serving_default", "serve_examples"}
    keras = KerasRanker(text.model.network, text.model.tasks, text.inputs)
    with pytest.raises(UserError, match="looks features up"):
        keras.rank(text.users[0], text.items, 2)
