"""A cache says what the teacher said, and never what another one said."""

import json

import numpy as np
import pyarrow.parquet as pq
import pytest
import tensorflow as tf

from kd_tfrs.distillation import (
    EmbeddingTeacher,
    PairTeacher,
    TwoTowerTeacher,
    build_cache,
    cache,
    load_cache,
)
from kd_tfrs.errors import UserError
from kd_tfrs.testing import tiny_world

NUM_USERS, NUM_ITEMS = 9, 20


@pytest.fixture(autouse=True)
def _small_shards(monkeypatch):
    monkeypatch.setattr(cache, "_SHARD_ROWS", 6)
    monkeypatch.setattr(cache, "_BLOCK_ROWS", 4)


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
    for told, known in (
        (cached.embed_queries(users), teacher.embed_queries(users)),
        (cached.embed_candidates(items), teacher.embed_candidates(items)),
        (cached.all_scores(users), teacher.all_scores(users)),
    ):
        np.testing.assert_allclose(told, known, rtol=1e-5, atol=1e-6)
    for k in (1, 7):
        told, known = cached.top_k(users, k), teacher.top_k(users, k)
        np.testing.assert_array_equal(told[0], known[0])
        np.testing.assert_allclose(told[1], known[1], rtol=1e-5)


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
    for told, known in zip(again, expected, strict=True):
        np.testing.assert_array_equal(told, known)


def test_a_finished_cache_asks_the_teacher_nothing(
    tmp_path, teacher, monkeypatch
):
    build(teacher, tmp_path)
    monkeypatch.setattr(teacher, "embed_queries", None)
    monkeypatch.setattr(teacher, "embed_candidates", None)
    build(teacher, tmp_path)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"fingerprint": "abd"}, "`fingerprint`"),
        ({"k": 6}, "`k`"),
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
    with pytest.raises(UserError, match="another teacher or other data"):
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
    assert manifest["fingerprint"] == "abc"
    assert (manifest["num_queries"], manifest["num_candidates"]) == (10, 20)
    assert manifest["temperature"] == 0.3


def test_arguments_out_of_range(tmp_path, teacher):
    with pytest.raises(UserError, match="float32 or float16"):
        build(teacher, tmp_path, dtype="float64")
    with pytest.raises(UserError, match="`k` should be a positive integer"):
        build(teacher, tmp_path, k=0)
    pairs = PairTeacher(len, {"u": np.ones(2)}, {"i": np.ones(2)})
    with pytest.raises(UserError, match="teacher with embeddings"):
        build(pairs, tmp_path)
    assert not list(tmp_path.iterdir())
