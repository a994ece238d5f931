import collections
import json
import os
import subprocess
import sys

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tensorflow as tf

from kd_tfrs.data import Column, Schema
from kd_tfrs.data.catalogue import Catalogue
from kd_tfrs.data.retrieval.shards import IdCounts, shuffled
from kd_tfrs.data.retrieval.streaming import (
    StreamedBatches,
    catalogue_from_shards,
)
from kd_tfrs.errors import UserError
from kd_tfrs.testing.retrieval import tiny_world

IDS = Schema((Column("user_id", "user", "id"), Column("item_id", "item", "id")))


@pytest.fixture(scope="module")
def world():
    return tiny_world(num_users=15, num_items=20)


@pytest.fixture
def folder(world, tmp_path):
    """The world's events in seven shards of several row groups."""
    events = world.interactions.events
    for number, rows in enumerate(np.array_split(np.arange(len(events)), 7)):
        events.iloc[rows].to_parquet(
            tmp_path / f"{number}.parquet", row_group_size=3
        )
    return tmp_path


def streamed(world, folder, **options):
    options = {
        "weight_column": "weight",
        "batch_size": 8,
        "shuffle_rows": 16,
        **options,
    }
    return StreamedBatches(
        folder,
        world.catalogue,
        world.query_tables,
        world.candidate_tables,
        **options,
    )


def triples(dataset):
    """Every event of every batch, in order."""
    return [
        event
        for batch in dataset.as_numpy_iterator()
        for event in zip(
            batch["query_row"].tolist(),
            batch["candidate_row"].tolist(),
            batch["event_weight"].tolist(),
            strict=False,
        )
    ]


def all_triples(world):
    weights = world.interactions.events["weight"]
    return list(
        zip(
            world.user_rows.tolist(),
            world.item_rows.tolist(),
            weights.astype(np.float32).tolist(),
            strict=True,
        )
    )


def same(first, second):
    pairs = zip(first, second, strict=True)
    return all(
        np.array_equal(x, y)
        for a, b in pairs
        for x, y in zip(tf.nest.flatten(a), tf.nest.flatten(b), strict=True)
    )


def test_an_epoch_has_the_events_of_the_files(world, folder):
    wanted = collections.Counter(all_triples(world))
    batches = streamed(world, folder, batch_size=1)
    for epoch in (0, 1):
        dataset = batches.dataset(epoch + 1, epoch)
        assert collections.Counter(triples(dataset)) == wanted


def test_the_remainder_is_left_out(world, folder):
    count = len(world.user_rows)
    batches = streamed(world, folder, batch_size=8)
    assert count % 8
    assert batches.steps_per_epoch == count // 8
    seen = triples(batches.dataset(2))
    assert len(seen) == 2 * (count // 8) * 8
    wanted = collections.Counter(all_triples(world))
    for epoch in (seen[: len(seen) // 2], seen[len(seen) // 2 :]):
        assert not collections.Counter(epoch) - wanted


def test_epochs_and_seeds_differ_and_rows_are_mixed(world, folder):
    batches = streamed(world, folder, seed=3)
    first = triples(batches.dataset(1))
    assert first == triples(streamed(world, folder, seed=3).dataset(1))
    assert first != triples(batches.dataset(2, 1))
    assert first != triples(streamed(world, folder, seed=4).dataset(1))
    place = {event: i for i, event in enumerate(all_triples(world))}
    steps = np.diff([place[event] for event in first])
    assert np.mean(steps == 1) < 0.3


def test_a_resumed_epoch_is_the_same(world, folder):
    batches = streamed(world, folder, num_uniform_negatives=3)
    whole = list(batches.dataset(4))
    again = streamed(world, folder, num_uniform_negatives=3)
    resumed = list(again.dataset(4, start_epoch=2))
    assert len(resumed) == 2 * batches.steps_per_epoch
    assert same(whole[len(resumed) :], resumed)


def test_batches_look_like_those_in_memory(world, folder):
    def join(rows, seed):
        extra = tf.random.stateless_uniform([2], seed, 0, 20, tf.int32)
        rows["candidate_row"] = tf.concat([rows["candidate_row"], extra], 0)
        return rows

    options = {"batch_size": 8, "num_uniform_negatives": 5}
    stream = streamed(world, folder, **options).dataset(1, join=join)
    memory = world.batches(**options).dataset(1, join=join)
    assert stream.element_spec == memory.element_spec
    batch = next(iter(stream))
    assert batch["candidate_row"].shape == [8 + 5 + 2]
    assert batch["candidate_probability"].shape == [8 + 5]
    # The draws depend on the seed and the step, not on where events are.
    in_memory = next(iter(memory))
    np.testing.assert_array_equal(
        batch["candidate_row"][8:], in_memory["candidate_row"][8:]
    )
    for side, tables in (
        ("query", world.query_tables),
        ("candidate", world.candidate_tables),
    ):
        for name, table in tables.items():
            np.testing.assert_array_equal(
                batch[side][name], table[batch[f"{side}_row"].numpy()]
            )


def test_a_model_fits(world, folder):
    batches = streamed(world, folder)
    model = world.model()
    model.compile(optimizer=tf.keras.optimizers.legacy.Adagrad(0.5))
    history = model.fit(
        batches.dataset(8),
        epochs=8,
        steps_per_epoch=batches.steps_per_epoch,
        verbose=0,
    ).history["loss"]
    assert len(history) == 8
    assert history[-1] < history[0]


def test_weights_are_one_without_a_column(world, folder):
    batch = next(iter(streamed(world, folder, weight_column=None).dataset(1)))
    np.testing.assert_array_equal(batch["event_weight"], np.ones(8))


def test_one_file_and_a_list_of_files(world, folder):
    files = sorted(folder.iterdir())
    assert streamed(world, files).num_events == len(world.user_rows)
    rows = pq.read_metadata(files[0]).num_rows
    one = streamed(world, files[0], batch_size=1)
    assert one.steps_per_epoch == len(list(one.dataset(1))) == rows


@pytest.mark.parametrize("window", [4, 7, 50])
def test_shuffled_keeps_rows_and_its_window(window):
    blocks = np.arange(40).reshape(10, 4)
    mixed = shuffled(iter(blocks), window, np.random.default_rng(1))
    read = 0
    seen = []
    for block in mixed:
        seen.extend(block.tolist())
        # A row comes out after it was read, and blocks are of bounded size.
        read = min(40, len(seen) + window)
        assert max(seen) < read + 4
        assert len(block) <= max(4, window)
    assert sorted(seen) == list(range(40))
    assert seen != list(range(40))


# The catalogue.


def assert_same_catalogue(built, wanted):
    pd.testing.assert_frame_equal(built.users, wanted.users, check_dtype=False)
    pd.testing.assert_frame_equal(built.items, wanted.items, check_dtype=False)
    np.testing.assert_array_equal(built.user_events, wanted.user_events)
    np.testing.assert_array_equal(built.item_events, wanted.item_events)
    assert built.user_column == wanted.user_column
    assert built.item_column == wanted.item_column


def test_catalogue_is_that_of_the_events_in_memory(world, folder):
    data = world.interactions
    built = catalogue_from_shards(folder, data.schema, data.users, data.items)
    assert_same_catalogue(built, Catalogue.build(data, data.events))


def test_catalogue_without_tables(world, folder):
    built = catalogue_from_shards(folder, world.interactions.schema)
    assert built.items.columns.tolist() == ["item_id"]
    np.testing.assert_array_equal(built.item_ids, world.catalogue.item_ids)
    np.testing.assert_array_equal(built.user_ids, world.catalogue.user_ids)
    np.testing.assert_array_equal(
        built.item_events, world.catalogue.item_events
    )


def test_catalogue_keeps_items_without_events_and_adds_ids(tmp_path):
    frame = pd.DataFrame({"user_id": [5, 5, 3], "item_id": [1, 9, 9]})
    frame.to_parquet(tmp_path / "a.parquet")
    items = pd.DataFrame({"item_id": [9, 4]})
    built = catalogue_from_shards(tmp_path, IDS, items=items)
    assert built.item_ids.tolist() == [1, 4, 9]
    assert built.item_events.tolist() == [1, 0, 2]
    assert built.user_ids.tolist() == [3, 5]
    assert built.user_events.tolist() == [0, 1, 2]


def test_ids_of_mixed_kinds_become_text(tmp_path):
    for name, ids in (("a", [1, 2]), ("b", ["2", "x"])):
        frame = pd.DataFrame({"user_id": [7, 7], "item_id": ids})
        frame.to_parquet(tmp_path / f"{name}.parquet")
    built = catalogue_from_shards(tmp_path, IDS)
    assert built.item_ids.tolist() == ["1", "2", "x"]
    assert built.item_events.tolist() == [1, 2, 1]
    batches = StreamedBatches(tmp_path, built, {}, {}, batch_size=4)
    (batch,) = batches.dataset(1)
    assert sorted(batch["candidate_row"].numpy()) == [0, 1, 1, 2]


def test_counts_merge_without_losing_any(monkeypatch):
    monkeypatch.setattr("kd_tfrs.data.retrieval.shards._MERGE_IDS", 10)
    rng = np.random.default_rng(0)
    blocks = rng.integers(0, 60, (30, 20))
    counts = IdCounts()
    for block in blocks:
        counts.add(pd.Series(block))
    wanted = np.bincount(blocks.ravel(), minlength=60)
    total = counts.total().sort_index()
    assert total.tolist() == wanted[total.index].tolist()
    assert total.sum() == blocks.size


# The caller's mistakes.


def error_of(call):
    with pytest.raises(UserError) as caught:
        call()
    message = str(caught.value)
    assert "\n" not in message
    assert "Received:" in message
    return message


@pytest.mark.parametrize("column", ["user_id", "item_id"])
@pytest.mark.parametrize("wrong", ["unknown", None])
def test_an_id_that_the_catalogue_lacks(world, folder, column, wrong):
    events = world.interactions.events.head(3).copy()
    events[column] = events[column].astype(object)
    events.loc[1, column] = wrong
    events.to_parquet(folder / "9.parquet")
    message = error_of(lambda: streamed(world, folder))
    assert column in message
    assert "9.parquet" in message
    assert repr(wrong) in message or "nan" in message
    # Without the check the same line stands in TensorFlow's error.
    unchecked = streamed(world, folder, check=False)
    with pytest.raises(tf.errors.InvalidArgumentError, match="UserError"):
        list(unchecked.dataset(1))


@pytest.mark.parametrize("wrong", [-1.0, np.nan, np.inf])
def test_an_impossible_weight(world, folder, wrong):
    events = world.interactions.events.head(3).copy()
    events.loc[1, "weight"] = wrong
    events.to_parquet(folder / "9.parquet")
    assert "weight" in error_of(lambda: streamed(world, folder))


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"shuffle_rows": 7}, "`shuffle_rows`"),
        ({"batch_size": 0}, "`batch_size`"),
        ({"num_uniform_negatives": -1}, "`num_uniform_negatives`"),
        ({"weight_column": "stars"}, "`stars`"),
    ],
)
def test_wrong_options(world, folder, options, named):
    assert named in error_of(lambda: streamed(world, folder, **options))


def test_files_that_cannot_be_streamed(world, tmp_path):
    schema = world.interactions.schema
    csv = tmp_path / "a.csv"
    csv.write_text("user_id,item_id\n1,2\n")
    empty, cut, holes = (tmp_path / f"{n}.parquet" for n in "bcd")
    frame = pd.DataFrame({"user_id": ["u", None], "item_id": ["i", "i"]})
    frame.head(0).to_parquet(empty)
    frame.to_parquet(holes)
    cut.write_bytes(holes.read_bytes()[:-20])
    for path, expected in (
        (csv, "Parquet"),
        (empty, "without a row"),
        (cut, "complete Parquet"),
        (holes, "missing"),
        (tmp_path / "none", "does not exist"),
    ):
        message = error_of(lambda p=path: catalogue_from_shards(p, schema))
        assert expected in message


def test_a_page_that_cannot_be_read(tmp_path):
    path = tmp_path / "a.parquet"
    table = pa.table({"user_id": range(9000), "item_id": range(9000)})
    pq.write_table(table, path, compression="snappy", use_dictionary=False)
    content = bytearray(path.read_bytes())
    content[100:2000] = b"\xff" * 1900
    path.write_bytes(content)
    assert "complete" in error_of(lambda: catalogue_from_shards(path, IDS))


# Memory.

_MEASURE = """
import json, re, sys
import kd_tfrs
import numpy as np
import pyarrow.parquet as pq
from kd_tfrs.data import Column, Schema
from kd_tfrs.data.retrieval.streaming import (
    StreamedBatches,
    catalogue_from_shards,
)

def peak():
    # Not ru_maxrss, which a child takes over from whoever started it.
    status = open("/proc/self/status").read()
    return int(re.search("VmHWM:\\s+(\\d+) kB", status).group(1)) * 1024

def epoch(path, catalogue):
    batches = StreamedBatches(
        path, catalogue, query, candidate,
        batch_size=8192, shuffle_rows=int(sys.argv[2]), check=False,
    )
    return sum(
        len(batch["event_weight"]) for batch in batches.dataset(1)
    )

folder = sys.argv[1]
schema = Schema(
    (Column("user_id", "user", "id"), Column("item_id", "item", "id"))
)
query = {"user_id": np.arange(20_001, dtype=np.int32)}
candidate = {"item_id": np.arange(5_000, dtype=np.int32)}
first = folder + "/00.parquet"
epoch(first, catalogue_from_shards(first, schema))
before = peak()
catalogue = catalogue_from_shards(folder, schema)
counted = peak() - before
events = epoch(folder, catalogue)
streaming = peak() - before
whole = pq.read_table(folder).to_pandas()
print(json.dumps([events, counted, streaming, peak() - before]))
"""


@pytest.mark.parametrize(
    ("num_shards", "shuffle_rows", "fraction"),
    [
        pytest.param(8, 100_000, 0.75, id="4-million"),
        pytest.param(
            40, 1_000_000, 0.2, id="20-million", marks=pytest.mark.slow
        ),
    ],
)
def test_memory_is_bounded(tmp_path, num_shards, shuffle_rows, fraction):
    rng = np.random.default_rng(0)
    for number in range(num_shards):
        # As large on disk as in memory: neither dictionary nor compression.
        pq.write_table(
            pa.table(
                {
                    "user_id": rng.integers(0, 20_000, 500_000),
                    "item_id": rng.integers(0, 5_000, 500_000),
                }
            ),
            tmp_path / f"{number:02d}.parquet",
            use_dictionary=False,
            compression="none",
        )
    size = num_shards * 500_000 * 16
    assert sum(f.stat().st_size for f in tmp_path.iterdir()) > size
    run = subprocess.run(
        [sys.executable, "-c", _MEASURE, str(tmp_path), str(shuffle_rows)],
        check=True,
        capture_output=True,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
    )
    events, counted, streaming, whole = json.loads(run.stdout)
    print(f"{size=:,} {counted=:,} {streaming=:,} {whole=:,}")
    assert events == num_shards * 500_000 // 8192 * 8192
    assert streaming < fraction * size
    # What the bound guards against does cross it.
    assert whole > fraction * size
