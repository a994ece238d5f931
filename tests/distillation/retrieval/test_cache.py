"""A cache gives the scores of its teacher, and of no other one."""

import json

import numpy as np
import pyarrow.parquet as pq
import pytest
import tensorflow as tf

from kd_tfrs.distillation import DistillationTerm, SoftTargets
from kd_tfrs.distillation.retrieval import (
    Distiller,
    EmbeddingTeacher,
    PairTeacher,
    TeacherTopK,
    TwoTowerTeacher,
    build_cache,
    cache,
    cache_shards,
    load_cache,
)
from kd_tfrs.distillation.retrieval.cache import Fingerprint
from kd_tfrs.distillation.retrieval.teachers.lists import ListTeacher
from kd_tfrs.distillation.retrieval.teachers.scores import ScoreTeacher
from kd_tfrs.errors import UserError
from kd_tfrs.testing.retrieval import tiny_world

NUM_USERS, NUM_ITEMS = 9, 20


@pytest.fixture(autouse=True)
def _small_shards(monkeypatch):
    monkeypatch.setattr(cache, "_SHARD_ROWS", 6)
    monkeypatch.setattr(cache_shards, "_BLOCK_ROWS", 4)


@pytest.fixture(scope="module")
def teacher():
    world = tiny_world(NUM_USERS, NUM_ITEMS)
    model = world.model(5)
    return TwoTowerTeacher(
        model.query_tower,
        model.candidate_tower,
        world.query_tables,
        world.candidate_tables,
        temperature=0.3,
        seen=world.seen(),
    )


def build(teacher, directory, **options):
    options = {"fingerprint": "abc", "k": 7, "progress": False, **options}
    return build_cache(teacher, directory, **options)


def shards(directory):
    return sorted(directory.glob("*.parquet"))


def test_what_was_written_is_read(tmp_path, teacher):
    cached = build(teacher, tmp_path)
    assert isinstance(cached, EmbeddingTeacher)
    assert len(shards(tmp_path)) == 2 + 4
    users, items = tf.range(NUM_USERS + 1), tf.range(NUM_ITEMS)
    for actual, wanted in (
        (cached.embed_queries(users), teacher.embed_queries(users)),
        (cached.embed_candidates(items), teacher.embed_candidates(items)),
        (cached.all_scores(users), teacher.all_scores(users)),
    ):
        np.testing.assert_allclose(actual, wanted, rtol=1e-5, atol=1e-6)
    for k in (1, 7):
        actual, wanted = cached.top_k(users, k), teacher.top_k(users, k)
        np.testing.assert_array_equal(actual[0], wanted[0])
        np.testing.assert_allclose(actual[1], wanted[1], rtol=1e-4, atol=1e-5)


def test_short_lists_keep_their_empty_places(tmp_path):
    seen = tf.RaggedTensor.from_tensor(tf.constant([[0, 1, 2]] * 2))
    teacher = EmbeddingTeacher(np.ones((2, 1)), np.ones((5, 1)), seen=seen)
    for dtype in ("float32", "float16"):
        cached = build(teacher, tmp_path / dtype, k=4, dtype=dtype)
        rows, scores = cached.top_k(tf.range(2), 4)
        np.testing.assert_array_equal(rows[:, :2], [[3, 4]] * 2)
        np.testing.assert_array_equal(
            scores, [[1.0, 1.0, -np.inf, -np.inf]] * 2
        )


def test_lists_are_as_long_as_the_catalogue_at_most(tmp_path, teacher):
    rows, _ = build(teacher, tmp_path, k=500).top_k(tf.range(2), NUM_ITEMS)
    assert rows.shape == [2, NUM_ITEMS]
    # The same request finds its cache again.
    build(teacher, tmp_path, k=500)


def test_only_missing_shards_are_written_again(tmp_path, teacher):
    expected = build(teacher, tmp_path).top_k(tf.range(10), 7)
    whole = {path: path.stat().st_mtime_ns for path in shards(tmp_path)}
    gone = shards(tmp_path)[4]
    gone.unlink()
    # What a kill in the middle of a shard leaves behind.
    (tmp_path / f".{gone.name}.partial").write_bytes(b"half a")
    with pytest.raises(UserError, match=f"not finished: {gone.name}"):
        load_cache(tmp_path, fingerprint="abc")
    again = build(teacher, tmp_path).top_k(tf.range(10), 7)
    for path, time in whole.items():
        assert (path.stat().st_mtime_ns == time) == (path != gone)
    for actual, wanted in zip(again, expected, strict=True):
        np.testing.assert_array_equal(actual, wanted)


def test_a_finished_cache_does_not_run_the_teacher(
    tmp_path, teacher, monkeypatch
):
    build(teacher, tmp_path)
    monkeypatch.setattr(teacher, "features", None)
    monkeypatch.setattr(teacher, "reversed", None)
    build(teacher, tmp_path)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (
            {"fingerprint": "abd"},
            "is of another teacher. Received: teacher fingerprint abd, the "
            "cache has abc",
        ),
        (
            {"fingerprint": Fingerprint("abc", "x")},
            "is of other data. Received: data fingerprint x, the cache has "
            "none",
        ),
        ({"k": 6}, "`k`"),
        ({"item_k": 3}, "`item_k` is None, requested 3"),
        ({"dtype": "float16"}, "`dtype`"),
    ],
)
def test_another_cache_is_refused_and_left_alone(
    tmp_path, teacher, change, named
):
    build(teacher, tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(UserError, match=named):
        build(teacher, tmp_path, **change)
    assert before == {path: path.read_bytes() for path in tmp_path.iterdir()}


def test_a_cache_of_another_teacher_is_not_read(tmp_path, teacher):
    build(teacher, tmp_path)
    with pytest.raises(UserError, match="is of another teacher"):
        load_cache(tmp_path, fingerprint="other")


def test_no_cache_is_no_teacher(tmp_path):
    with pytest.raises(UserError, match=r"manifest\.json is missing"):
        load_cache(tmp_path / "nowhere", fingerprint="abc")


def test_float16_halves_the_files_and_keeps_the_order(tmp_path, teacher):
    full = build(teacher, tmp_path / "32")
    half = build(teacher, tmp_path / "16", dtype="float16")
    table = pq.read_table(shards(tmp_path / "16")[-1])
    assert str(table["embedding"].type.value_type) == "halffloat"
    rows = tf.range(NUM_USERS + 1)
    np.testing.assert_array_equal(
        half.top_k(rows, 7)[0], full.top_k(rows, 7)[0]
    )
    np.testing.assert_allclose(
        half.all_scores(rows), full.all_scores(rows), atol=5e-3
    )
    assert half.all_scores(rows).dtype == tf.float32


def test_what_float16_cannot_hold_is_refused(tmp_path):
    teacher = EmbeddingTeacher(np.full((2, 1), 300.0), np.full((3, 1), 300.0))
    build(teacher, tmp_path / "32")
    with pytest.raises(UserError, match=r"up to 65504.*90000.*Use float32"):
        build(teacher, tmp_path / "16", dtype="float16")


def test_the_manifest_tells_what_it_is(tmp_path, teacher):
    build(teacher, tmp_path)
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    assert manifest["teacher_fingerprint"] == "abc"
    assert manifest["data_fingerprint"] == ""
    assert (manifest["k"], manifest["dtype"]) == (7, "float32")
    assert manifest["outputs"] == {"query": [], "candidate": []}
    assert (manifest["num_queries"], manifest["num_candidates"]) == (10, 20)
    assert manifest["temperature"] == 0.3


def test_arguments_out_of_range(tmp_path, teacher):
    with pytest.raises(UserError, match="float32 or float16"):
        build(teacher, tmp_path, dtype="float64")
    with pytest.raises(UserError, match="`k` should be a positive integer"):
        build(teacher, tmp_path, k=0)
    with pytest.raises(UserError, match="`item_k` should be a positive"):
        build(teacher, tmp_path, item_k=0)
    with pytest.raises(UserError, match="`unlisted` should be left out"):
        build(teacher, tmp_path, unlisted=0.0)
    with pytest.raises(UserError, match="`output` should be one that"):
        build(teacher, tmp_path, outputs=("hidden_9",))
    pairs = PairTeacher(lambda x: x["u"], {"u": np.ones(2)}, {"i": np.ones(2)})
    with pytest.raises(UserError, match="should have towers"):
        build(pairs, tmp_path, outputs=("hidden_0",))
    assert not list(tmp_path.iterdir())


def test_a_cache_of_older_times_is_refused(tmp_path, teacher):
    build(teacher, tmp_path)
    (tmp_path / "manifest.json").write_text('{"format": 1}')
    for ask in (
        lambda: load_cache(tmp_path, fingerprint="abc"),
        lambda: build(teacher, tmp_path),
    ):
        with pytest.raises(UserError, match="should be of format 2"):
            ask()


def test_what_kind_of_fingerprint(tmp_path, teacher):
    whose = Fingerprint("abc", "data")
    build(teacher, tmp_path, fingerprint=whose)
    load_cache(tmp_path, fingerprint=("abc", "data"))
    with pytest.raises(UserError, match="is of other data"):
        load_cache(tmp_path, fingerprint=Fingerprint("abc", "else"))
    with pytest.raises(UserError, match="is of another teacher"):
        load_cache(tmp_path, fingerprint=Fingerprint("abd", "data"))


@pytest.fixture(scope="module")
def deep_teacher():
    world = tiny_world(NUM_USERS, NUM_ITEMS)
    model = world.model(5, hidden_units=(6, 3))
    return TwoTowerTeacher(
        model.query_tower,
        # An item tower of another kind, without the second hidden layer.
        lambda inputs: {
            k: v
            for k, v in model.candidate_tower(inputs).items()
            if k != "hidden_1"
        },
        world.query_tables,
        world.candidate_tables,
        seen=world.seen(),
    )


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_hidden_outputs_are_kept(tmp_path, deep_teacher, dtype):
    outputs = ("hidden_0", "hidden_1")
    cached = build(deep_teacher, tmp_path, outputs=outputs, dtype=dtype)
    for side, count, names in (
        ("query", NUM_USERS + 1, ["embedding", "hidden_0", "hidden_1"]),
        ("candidate", NUM_ITEMS, ["embedding", "hidden_0"]),
    ):
        for name in names:
            rows = tf.range(count)
            wanted = deep_teacher.features(side, rows, name)
            actual = cached.features(side, rows, name)
            assert actual.dtype == tf.float32
            assert cached.width(side, name) == wanted.shape[1]
            np.testing.assert_allclose(actual, wanted, rtol=2e-3, atol=2e-3)
    with pytest.raises(UserError, match="candidate side has: emb"):
        cached.width("candidate", "hidden_1")


def test_lists_of_the_items_side_are_kept(tmp_path, deep_teacher):
    cached = build(deep_teacher, tmp_path, item_k=4)
    users, actual = cached.reversed().top_k(tf.range(NUM_ITEMS), 4)
    _, wanted = deep_teacher.reversed().top_k(tf.range(NUM_ITEMS), 4)
    np.testing.assert_allclose(actual, wanted, rtol=1e-4, atol=1e-5)
    scores = deep_teacher.reversed().all_scores(tf.range(NUM_ITEMS))
    listed = tf.gather(scores, users, batch_dims=1)
    left = np.isfinite(actual)
    np.testing.assert_allclose(
        actual.numpy()[left], listed.numpy()[left], rtol=1e-4, atol=1e-5
    )
    with pytest.raises(UserError, match="item_k"):
        build(deep_teacher, tmp_path / "without").reversed()


@pytest.mark.parametrize("item_k", [None, 3])
def test_a_teacher_without_embeddings_leaves_its_lists(tmp_path, item_k):
    scores = np.random.default_rng(0).normal(size=(9, 13)).astype(np.float32)
    teacher = ScoreTeacher(scores)
    cached = build(
        teacher, tmp_path, k=5, item_k=item_k, unlisted=-9.0, outputs=()
    )
    assert isinstance(cached, ListTeacher)
    assert (cached.num_queries, cached.num_candidates) == (9, 13)
    assert len(shards(tmp_path)) == 2 + (3 if item_k else 0)
    actual, wanted = (x.top_k(tf.range(9), 5) for x in (cached, teacher))
    np.testing.assert_array_equal(actual[0], wanted[0])
    np.testing.assert_allclose(actual[1], wanted[1])
    assert float(tf.reduce_min(cached.all_scores(tf.range(9)))) == -9.0
    if item_k:
        actual, wanted = (
            x.reversed().top_k(tf.range(13), 3) for x in (cached, teacher)
        )
        np.testing.assert_array_equal(actual[0], wanted[0])
    with pytest.raises(UserError, match="`unlisted` = None"):
        load_cache(tmp_path, fingerprint="abc").all_scores(tf.range(2))


def test_pairs_are_cached_as_lists(tmp_path):
    pairs = PairTeacher(
        lambda x: x["u"] * x["i"],
        {"u": np.array([0.0, 1.0, -1.0])},
        {"i": np.arange(5.0)},
    )
    rows, scores = build(pairs, tmp_path, k=2).top_k(tf.range(3), 2)
    np.testing.assert_array_equal(rows, [[0, 1], [4, 3], [0, 1]])
    np.testing.assert_array_equal(scores, [[0, 0], [4, 3], [0, -1]])


def test_students_share_a_cache(tmp_path, deep_teacher):
    world = tiny_world(NUM_USERS, NUM_ITEMS)
    cached = build(deep_teacher, tmp_path, item_k=3, outputs=("hidden_0",))
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    rows = tf.range(NUM_USERS + 1)
    wanted = cached.top_k(rows, 7)[1].numpy()
    for dim in (2, 3):
        student = world.model(dim)
        start = student.query_tower.get_weights()[0].copy()
        distiller = Distiller(
            cached,
            student,
            DistillationTerm(SoftTargets(), TeacherTopK(4, 3, 5)),
        )
        distiller.compile("sgd")
        distiller.fit(
            world.batches().dataset(1, join=distiller.join), verbose=0
        )
        assert not np.allclose(start, student.query_tower.get_weights()[0])
    np.testing.assert_array_equal(cached.top_k(rows, 7)[1], wanted)
    assert before == {path: path.read_bytes() for path in tmp_path.iterdir()}
