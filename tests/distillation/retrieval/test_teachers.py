"""All teachers have one face, and say the same where they know the same."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from kd_tfrs.distillation.retrieval import (
    EmbeddingTeacher,
    PairTeacher,
    TeacherTopK,
    TwoTowerTeacher,
)
from kd_tfrs.distillation.retrieval.teachers import mask_seen, transpose_seen
from kd_tfrs.errors import UserError
from kd_tfrs.testing.retrieval import tiny_world

TAU = 0.25


@pytest.fixture(scope="module")
def world():
    return tiny_world()


@pytest.fixture(scope="module")
def model(world):
    # Dropout, to see that it is off.
    return world.model(6, temperature=TAU, hidden_units=(8,), dropout=0.5)


@pytest.fixture(scope="module")
def embeddings(world, model):
    return (
        model.query_tower(world.query_tables)["embedding"].numpy(),
        model.candidate_tower(world.candidate_tables)["embedding"].numpy(),
    )


def pair_scorer(model, world):
    users, items = list(world.query_tables), list(world.candidate_tables)

    def score(inputs):
        query = model.query_tower({k: inputs[k] for k in users})
        candidate = model.candidate_tower({k: inputs[k] for k in items})
        products = query["embedding"] * candidate["embedding"]
        return tf.reduce_sum(products, axis=1, keepdims=True) / TAU

    return score


@pytest.fixture(scope="module", params=["none", "seen"])
def teachers(request, world, model, embeddings):
    seen = world.seen() if request.param == "seen" else None
    tables = (world.query_tables, world.candidate_tables)
    score = pair_scorer(model, world)
    return (
        TwoTowerTeacher(
            model.query_tower, model.candidate_tower, *tables, TAU, seen
        ),
        EmbeddingTeacher(*embeddings, TAU, seen=seen),
        PairTeacher(score, *tables, seen),
    )


def test_they_agree_on_every_score(teachers, embeddings):
    rows = tf.constant([0, 3, 12, 3])
    expected = embeddings[0][rows.numpy()] @ embeddings[1].T / TAU
    for teacher in teachers:
        assert (teacher.num_queries, teacher.num_candidates) == (13, 20)
        np.testing.assert_allclose(
            teacher.all_scores(rows), expected, rtol=1e-4, atol=1e-5
        )


def test_they_agree_on_the_best(teachers, world, embeddings):
    rows = np.arange(1, 13, dtype=np.int32)
    for teacher in teachers:
        items, scores = teacher.top_k(tf.constant(rows), 20)
        for user, ranked, values in zip(rows, items, scores, strict=True):
            left = np.isfinite(values)
            gone = set(world.item_rows[world.user_rows == user])
            if teacher.seen is None:
                gone = set()
            assert set(ranked.numpy()[~left]) == gone
            wanted = embeddings[0][user] @ embeddings[1].T / TAU
            np.testing.assert_allclose(
                values.numpy()[left],
                np.sort(np.delete(wanted, sorted(gone)))[::-1],
                rtol=1e-4,
                atol=1e-5,
            )


def test_they_agree_on_a_batch(teachers, world):
    sampler = TeacherTopK(k=4, num_random=6, num_queries=5)
    inputs = []
    for teacher in teachers:
        batch = world.batch(
            lambda rows, seed, t=teacher: sampler.join(rows, seed, t)
        )
        selection = sampler.select(batch)
        inputs.append(teacher.batch_scores(batch).scores(selection))
        # The same, unscored again instead of believed.
        unscored = selection._replace(list_scores=None)
        np.testing.assert_allclose(
            teacher.batch_scores(batch).scores(unscored),
            inputs[-1],
            rtol=1e-4,
            atol=1e-5,
        )
    for other in inputs[1:]:
        np.testing.assert_allclose(other, inputs[0], rtol=1e-4, atol=1e-5)


def test_ties_go_to_the_lower_row():
    teacher = EmbeddingTeacher(np.ones((2, 1)), np.ones((7, 1)))
    rows, _ = teacher.top_k(tf.constant([1]), 7)
    np.testing.assert_array_equal(rows, [np.arange(7)])


def test_mask_seen_leaves_the_rest():
    scores = tf.reshape(tf.range(6.0), [2, 3])
    seen = tf.ragged.constant([[2, 0], []], dtype=tf.int32)
    np.testing.assert_array_equal(
        mask_seen(scores, seen), [[-np.inf, 1, -np.inf], [3, 4, 5]]
    )


def test_nothing_flows_back_and_nothing_is_dropped(teachers, world, model):
    batch = world.batch()
    query_rows = tf.range(3)
    for teacher in teachers:
        with tf.GradientTape() as tape:
            scores = teacher.all_scores(query_rows)
        variables = model.trainable_variables
        if teacher is not teachers[1]:
            assert tape.gradient(scores, variables) == [None] * len(variables)
        np.testing.assert_array_equal(scores, teacher.all_scores(query_rows))
    # Where the towers run inside the step, in training or not.
    batch_scores = teachers[0].batch_scores(batch)
    with tf.GradientTape() as tape:
        embedded = batch_scores.embed_queries(tf.range(8))
    assert tape.gradient(embedded, variables) == [None] * len(variables)


def test_a_plain_keras_model_is_a_teacher():
    rng = np.random.default_rng(0)
    users, items = rng.normal(size=(5, 3)), rng.normal(size=(9, 4))
    query = tf.keras.Sequential([tf.keras.layers.Dense(2, input_shape=(3,))])
    candidate = tf.keras.Sequential(
        [tf.keras.layers.Dense(2, input_shape=(4,))]
    )
    teacher = TwoTowerTeacher(query, candidate, users, items, temperature=0.1)
    expected = query(users).numpy() @ candidate(items).numpy().T / 0.1
    np.testing.assert_allclose(
        teacher.all_scores(tf.range(5)), expected, rtol=1e-4, atol=1e-5
    )


def test_a_plain_keras_model_of_pairs_is_a_teacher():
    inputs = {
        "u": tf.keras.Input((2,), name="u"),
        "i": tf.keras.Input((3,), name="i"),
    }
    x = tf.keras.layers.Concatenate()(list(inputs.values()))
    x = tf.keras.layers.Dropout(0.9)(x)
    model = tf.keras.Model(inputs, tf.keras.layers.Dense(1)(x))
    rng = np.random.default_rng(0)
    users = rng.normal(size=(4, 2)).astype(np.float32)
    items = rng.normal(size=(6, 3)).astype(np.float32)
    teacher = PairTeacher(model, {"u": users}, {"i": items})
    kernel, bias = model.layers[-1].get_weights()
    expected = (users @ kernel[:2]) + (items @ kernel[2:]).T + bias
    np.testing.assert_allclose(
        teacher.all_scores(tf.range(4)), expected, rtol=1e-4, atol=1e-5
    )


def test_a_saved_model_is_a_teacher(tmp_path, world, model, embeddings):
    module = tf.Module()
    score = pair_scorer(model, world)
    spec = {
        name: tf.TensorSpec([None, *table.shape[1:]], table.dtype)
        for tables in (world.query_tables, world.candidate_tables)
        for name, table in tables.items()
    }
    module.towers = (model.query_tower, model.candidate_tower)
    module.score = tf.function(score, input_signature=[spec])
    tf.saved_model.save(module, str(tmp_path / "pairs"))
    loaded = tf.saved_model.load(str(tmp_path / "pairs"))
    pairs = PairTeacher(
        loaded.score, world.query_tables, world.candidate_tables
    )
    # And one of two towers.
    for side in ("query", "candidate"):
        getattr(model, f"{side}_tower").save(tmp_path / side)
    towers = TwoTowerTeacher(
        tf.saved_model.load(str(tmp_path / "query")),
        tf.saved_model.load(str(tmp_path / "candidate")),
        world.query_tables,
        world.candidate_tables,
        temperature=TAU,
    )
    expected = embeddings[0] @ embeddings[1].T / TAU
    for teacher in (pairs, towers):
        np.testing.assert_allclose(
            teacher.all_scores(tf.range(13)), expected, rtol=1e-4, atol=1e-5
        )


def test_lists_may_be_any_integers(world):
    lists = np.tile(np.arange(3), (13, 1)), np.zeros((13, 3))
    teacher = EmbeddingTeacher(np.ones((13, 2)), np.ones((20, 2)), lists=lists)
    rows, scores = teacher.top_k(tf.constant([1, 5]), 2)
    assert (rows.dtype, scores.dtype) == (tf.int32, tf.float32)
    np.testing.assert_array_equal(rows, [[0, 1], [0, 1]])
    world.batch(lambda b, seed: TeacherTopK(2).join(b, seed, teacher))


def hidden_of(model, world):
    return {
        "query": {"hidden_0": model.query_tower(world.query_tables)},
        "candidate": {
            "hidden_0": model.candidate_tower(world.candidate_tables)
        },
    }


def test_named_outputs(world, model, embeddings):
    outputs = hidden_of(model, world)
    hidden = {
        side: {"hidden_0": x["hidden_0"]["hidden_0"].numpy()}
        for side, x in outputs.items()
    }
    live = TwoTowerTeacher(
        model.query_tower,
        model.candidate_tower,
        world.query_tables,
        world.candidate_tables,
        TAU,
    )
    half = {
        side: {k: v.astype(np.float16) for k, v in x.items()}
        for side, x in hidden.items()
    }
    known = EmbeddingTeacher(*embeddings, TAU, hidden=half)
    rows = tf.constant([5, 0, 5])
    for side, vectors in zip(("query", "candidate"), embeddings, strict=True):
        for teacher, atol in ((live, 1e-5), (known, 2e-3)):
            assert teacher.width(side) == 6
            assert teacher.width(side, "hidden_0") == 8
            found = tf.function(teacher.features)(side, rows, "hidden_0")
            assert found.dtype == tf.float32
            np.testing.assert_allclose(
                found, hidden[side]["hidden_0"][rows.numpy()], atol=atol
            )
            np.testing.assert_allclose(
                teacher.features(side, rows), vectors[rows.numpy()], atol=1e-5
            )
    with tf.GradientTape() as tape:
        total = tf.reduce_sum(live.features("query", rows, "hidden_0"))
    assert tape.gradient(total, model.query_tower.trainable_variables)[0] is (
        None
    )


def test_reversed_gives_the_best_users_of_an_item(world, model, embeddings):
    seen = world.seen()
    teachers = (
        TwoTowerTeacher(
            model.query_tower,
            model.candidate_tower,
            world.query_tables,
            world.candidate_tables,
            TAU,
            seen,
        ),
        EmbeddingTeacher(*embeddings, TAU, seen=seen),
    )
    for teacher in teachers:
        other = teacher.reversed()
        assert (other.num_queries, other.num_candidates) == (20, 13)
        assert (teacher.first_query, teacher.first_candidate) == (1, 0)
        assert (other.first_query, other.first_candidate) == (0, 1)
        users, scores = other.top_k(tf.range(20), 13)
        for item in range(20):
            wanted = embeddings[0] @ embeddings[1][item] / TAU
            gone = set(world.user_rows[world.item_rows == item]) | {0}
            left = np.isfinite(scores[item])
            assert set(users[item].numpy()[~left]) == gone
            np.testing.assert_allclose(
                scores[item].numpy()[left],
                np.sort(np.delete(wanted, sorted(gone)))[::-1],
                rtol=1e-4,
                atol=1e-5,
            )
        # And back again.
        back = other.reversed()
        assert (back.first_query, back.first_candidate) == (1, 0)
        for x, y in zip(
            back.top_k(tf.range(13), 20),
            teacher.top_k(tf.range(13), 20),
            strict=True,
        ):
            np.testing.assert_array_equal(x, y)


def test_reversed_keeps_cached_lists_and_outputs():
    rng = np.random.default_rng(0)
    users = rng.normal(size=(4, 2)).astype(np.float32)
    items = rng.normal(size=(5, 2)).astype(np.float32)
    hidden = {"query": {"h": users[:, :1]}, "candidate": {"h": items}}
    item_lists = np.full((5, 2), 3), np.full((5, 2), 9.0)
    lists = np.full((4, 1), 2), np.full((4, 1), 7.0)
    teacher = EmbeddingTeacher(
        users, items, lists=lists, hidden=hidden, item_lists=item_lists
    )
    other = teacher.reversed()
    assert other.width("query", "h") == 2
    assert other.width("candidate", "h") == 1
    np.testing.assert_array_equal(other.top_k(tf.constant([1]), 2)[1], [[9, 9]])
    np.testing.assert_array_equal(
        other.reversed().top_k(tf.constant([1]), 1)[0], [[2]]
    )
    with pytest.raises(UserError, match="item_k"):
        EmbeddingTeacher(users, items, lists=lists).reversed()


def test_transpose_seen():
    seen = tf.ragged.constant([[2, 0], [], [0]], dtype=tf.int32)
    assert transpose_seen(seen, 4).to_list() == [[0, 2], [], [0], []]
    assert transpose_seen(seen, 4).dtype == tf.int32
    assert transpose_seen(None, 4) is None


def test_features_of_teachers_without_towers_are_refused():
    teacher = PairTeacher(
        lambda x: x["u"], {"u": np.ones(2)}, {"i": np.ones(2)}
    )
    for ask in (
        lambda: teacher.features("query", tf.constant([0])),
        lambda: teacher.width("query"),
        teacher.reversed,
    ):
        with pytest.raises(UserError, match="Take a TwoTowerTeacher"):
            ask()


def test_wrong_arguments_raise_errors():
    two, three = np.ones((2, 1)), np.ones((3, 1))
    lists = (np.zeros((2, 1)), np.zeros((2, 1)))
    seen = tf.ragged.constant([[0], []], dtype=tf.int32)
    query = tf.constant([0])
    for message, make in {
        "should not exceed the number of": lambda: EmbeddingTeacher(
            two, three
        ).top_k(query, 4),
        "exceed the cache's 1": lambda: EmbeddingTeacher(
            two, three, lists=lists
        ).top_k(query, 2),
        "`seen` should be left out": lambda: EmbeddingTeacher(
            two, three, lists=lists, seen=seen
        ),
        "`output` should be one": lambda: EmbeddingTeacher(two, three).features(
            "query", query, "hidden_0"
        ),
        "has: embedding. Received: `output` = 'x'": lambda: TwoTowerTeacher(
            tf.identity, tf.identity, two, three
        ).features("query", query, "x"),
        "`side` should be query or": lambda: EmbeddingTeacher(two, three).width(
            "user"
        ),
        "`side` should be query": lambda: TwoTowerTeacher(
            tf.identity, tf.identity, two, three
        ).features("item", query),
        "`hidden` should have the keys": lambda: EmbeddingTeacher(
            two, three, hidden={"user": {}}
        ),
        "a row for each of 2": lambda: EmbeddingTeacher(
            two, three, hidden={"query": {"h": three}}
        ),
        "`item_lists` should be rows": lambda: EmbeddingTeacher(
            two, three, item_lists=lists
        ),
        "`temperature` should be positive": lambda: EmbeddingTeacher(
            two, three, temperature=0.0
        ),
        "different names": lambda: PairTeacher(
            len, {"x": two, "y": two}, {"x": three}
        ),
        "one row for each user": lambda: PairTeacher(
            len, {"x": two, "y": three}, {"z": three}
        ),
    }.items():
        with pytest.raises(UserError, match=message):
            make()


def test_rows_of_other_data_are_refused():
    rng = np.random.default_rng(0)
    users, items = (np.float32(rng.normal(size=(n, 3))) for n in (7, 5))
    teacher = EmbeddingTeacher(users, items)
    teacher.check_rows(7, 5)
    # A table without the unknown user has one row less: each user would have
    # the embedding of the next one.
    for rows in ((8, 5), (7, 6)):
        with pytest.raises(UserError, match="row 0 is the unknown user"):
            teacher.check_rows(*rows)
    seen = tf.RaggedTensor.from_row_lengths(np.int32([1, 2]), [0] * 4 + [1, 1])
    with pytest.raises(UserError, match="`seen` should have a row"):
        EmbeddingTeacher(users, items, seen=seen)


def test_tables_of_other_order_and_ids_map_onto_the_catalogue(caplog):
    world = tiny_world(ids_only=True)
    catalogue = world.catalogue
    rng = np.random.default_rng(0)
    # The teacher lacks two items, has another, and its own order.
    items = ["other", *catalogue.item_ids[:1:-1]]
    users = catalogue.user_ids[::-1]
    user_table = rng.normal(size=(len(users), 4)).astype(np.float32)
    item_table = rng.normal(size=(len(items), 4)).astype(np.float32)
    with caplog.at_level("INFO", logger="kd_tfrs"):
        teacher = EmbeddingTeacher.of_ids(
            catalogue, users, user_table, items, item_table, 0.5
        )
    assert "100.0 % of the 12 query ids" in caplog.text
    assert "90.0 % of the 20 candidate ids" in caplog.text
    assert teacher.matched == {"query": 1.0, "candidate": 0.9}
    teacher.check_rows(catalogue.num_users + 1, catalogue.num_items)
    scores = teacher.all_scores(tf.range(catalogue.num_users + 1)).numpy()
    mean = item_table.mean(axis=0)
    for row, user in enumerate([None, *catalogue.user_ids]):
        query = user_table.mean(axis=0)
        if user is not None:
            query = user_table[list(users).index(user)]
        for column, item in enumerate(catalogue.item_ids):
            own = item in items
            candidate = item_table[items.index(item)] if own else mean
            np.testing.assert_allclose(
                scores[row, column], query @ candidate / 0.5, rtol=1e-4
            )


def test_numbers_and_text_are_compared_as_text():
    world = tiny_world(ids_only=True)
    catalogue = dataclasses.replace(
        world.catalogue,
        users=world.catalogue.users.assign(user_id=np.arange(12)),
    )
    table = np.eye(12, 4, dtype=np.float32)
    teacher = EmbeddingTeacher.of_ids(
        catalogue,
        [str(x) for x in range(12)],
        table,
        catalogue.item_ids,
        np.ones((20, 4), np.float32),
    )
    np.testing.assert_array_equal(teacher.embed_queries([1, 4]), table[[0, 3]])
