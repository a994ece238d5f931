import os
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from kd_tfrs.data import datasets
from kd_tfrs.data.schema import Column, Schema
from kd_tfrs.errors import UserError

DATA_DIR = os.environ.get("KD_TFRS_DATA_DIR")
needs_data = pytest.mark.skipif(
    not DATA_DIR, reason="KD_TFRS_DATA_DIR is not set"
)
FRAME = pd.DataFrame(
    {
        "uid": ["a", "a", "b"],
        "movie": [7, 8, 7],
        "stars": [3.0, 4.0, 1.0],
        "ts": [1_000_000_000, 1_000_000_001, 1_000_000_002],
        "noise": ["x", "y", "z"],
    }
)
NAMES = {"user_id": "uid", "item_id": "movie", "time": "ts", "label": "stars"}


def save(frame, path):
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".parquet":
        frame.to_parquet(path)
    elif path.suffix == ".jsonl":
        frame.to_json(path, orient="records", lines=True)
    else:
        separator = "\t" if path.suffix == ".tsv" else ","
        frame.to_csv(path, sep=separator, index=False)
    return path


def error_of(*arguments, **options):
    with pytest.raises(UserError) as caught:
        datasets.load(*arguments, **options)
    return str(caught.value)


@pytest.mark.parametrize("suffix", ["csv", "tsv", "parquet", "jsonl"])
def test_own_file_of_every_format(tmp_path, suffix):
    path = save(FRAME, tmp_path / f"ratings.{suffix}")
    data = datasets.load(path, **NAMES)
    assert data.name == "ratings"
    pd.testing.assert_frame_equal(
        data.events[list(NAMES.values())],
        FRAME[list(NAMES.values())],
        check_dtype=False,
    )
    assert data.events["movie"].dtype == np.int64
    assert "noise" not in data.events


@pytest.mark.parametrize(
    ("user", "item", "time", "label"),
    [
        ("user_id", "item_id", "timestamp", "rating"),
        ("userId", "movieId", "time", "label"),
        ("USER", "iid", "ts", "score"),
        ("uid", "product_id", "date", "stars"),
    ],
)
def test_usual_names_are_guessed(tmp_path, user, item, time, label):
    frame = FRAME.rename(
        columns={"uid": user, "movie": item, "ts": time, "stars": label}
    )
    schema = datasets.load(save(frame, tmp_path / "a.csv")).schema
    assert (schema.user_id, schema.item_id) == (user, item)
    assert (schema.time, schema.label) == (time, label)


def test_nothing_fits(tmp_path):
    frame = FRAME.rename(columns={"uid": "person"})
    message = error_of(save(frame, tmp_path / "a.csv"))
    assert "['person', 'movie', 'stars', 'ts', 'noise']" in message
    for flag in ("user", "item", "time", "label"):
        assert f"--{flag}_column" in message


def test_named_column_that_is_not_there(tmp_path):
    path = save(FRAME, tmp_path / "a.csv")
    message = error_of(path, **NAMES | {"label": "grade"})
    assert "`grade`" in message
    assert "'stars'" in message


def test_one_column_for_two_roles(tmp_path):
    path = save(FRAME, tmp_path / "a.csv")
    assert "one column for each" in error_of(path, **NAMES | {"label": "ts"})


def test_file_without_a_header(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("1,2,5.0\n1,3,4.0\n")
    assert "looks like data" in error_of(path)


def test_ratings_that_are_text(tmp_path):
    path = save(FRAME.assign(stars="good"), tmp_path / "a.csv")
    message = error_of(path, **NAMES)
    assert "'stars'" in message
    assert "'good'" in message


def test_ids_that_are_blank(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("user_id,item_id\n ,1\n ,2\n")
    assert "user or item id missing: 2" in error_of(path)


def test_leading_zeros_of_ids_stay(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("user_id,item_id\n007,01\n8,10\n")
    assert datasets.load(path).events["user_id"].tolist() == ["007", "8"]


def test_dates_become_seconds(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("user_id,item_id,date\n1,1,2001-09-09\n1,2,2001-09-10\n")
    seconds = datasets.load(path).events["date"]
    assert seconds.tolist() == [999993600, 1000080000]


def test_title_beside_the_events(tmp_path):
    frame = FRAME.assign(movie_title=["Up", "Heat", "Up"])
    data = datasets.load(save(frame, tmp_path / "a.csv"), **NAMES)
    assert data.item_titles() == {7: "Up", 8: "Heat"}


@pytest.mark.parametrize("side", ["csv", "parquet"])
def test_folder_with_shards_and_side_tables(tmp_path, side):
    frame = FRAME.drop(columns="noise")
    save(frame.iloc[:2], tmp_path / "part-0.parquet")
    save(frame.iloc[2:], tmp_path / "part-1.parquet")
    users = pd.DataFrame({"uid": ["b", "a"], "age": [30.5, 20.5]})
    items = pd.DataFrame(
        {"item_id": [7, 8], "name": ["Up", "Heat"], "genres": ["a|b", "b"]}
    )
    save(users, tmp_path / f"users.{side}")
    save(items, tmp_path / f"items.{side}")
    data = datasets.load(tmp_path, **NAMES)
    assert len(data.events) == 3
    assert data.users["age"].tolist() == [20.5, 30.5]
    assert data.item_titles() == {7: "Up", 8: "Heat"}
    features = [column.name for column in data.schema.item_features]
    assert features == ["movie", "title", "genres"]


def test_folder_of_given_splits(tmp_path):
    for row, name in enumerate(("train", "valid", "test")):
        save(FRAME.iloc[[row]], tmp_path / f"{name}.tsv")
    data = datasets.load(tmp_path, **NAMES)
    assert list(data.given_splits) == ["train", "validation", "test"]
    assert len(data.events) == 3


def test_schema_reads_its_columns_and_no_others(tmp_path):
    path = save(FRAME, tmp_path / "a.parquet")
    schema = Schema(
        (
            Column("uid", "user", "id"),
            Column("movie", "item", "id"),
            Column("noise", "event", "category"),
        )
    )
    data = datasets.load(path, schema=schema)
    assert set(data.events) == {"uid", "movie", "noise"}
    message = error_of(path, schema=schema, time="ts")
    assert "`time` should be left out" in message


def test_adjacency_file(tmp_path):
    (tmp_path / "a.txt").write_text("0 5 6\n1 5\n")
    data = datasets.load(tmp_path / "a.txt")
    assert data.events.to_numpy().tolist() == [[0, 5], [0, 6], [1, 5]]


def test_filters_reach_cleaning(tmp_path):
    path = save(FRAME, tmp_path / "a.csv")
    assert len(datasets.load(path, **NAMES, min_label=2).events) == 2
    assert len(datasets.load(path, **NAMES, min_user_events=2).events) == 2


def test_synthetic_depends_on_its_seed_alone():
    prints = [
        datasets.load("synthetic", num_events=1_000, seed=seed).fingerprint()
        for seed in (1, 1, 2)
    ]
    assert prints[0] == prints[1] != prints[2]


def test_unknown_name_lists_the_names():
    message = error_of("movielens-2m")
    for name in datasets.DATASETS:
        assert name in message
    assert "or a path" in message


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("movielens-1m", {"num_events": 1_000}),
        ("synthetic", {"user_id": "uid"}),
        ("citeulike-full", {"label": "stars"}),
    ],
)
def test_argument_that_would_be_ignored(name, options):
    assert f"`{next(iter(options))}` should be left out" in error_of(
        name, **options
    )


@pytest.mark.parametrize(
    "name", ["movielens-1m", "goodbooks-10k", "citeulike-full", "amazon-book"]
)
def test_data_set_that_is_not_there(tmp_path, monkeypatch, name):
    monkeypatch.setenv("HOME", str(tmp_path))
    message = error_of(name, data_dir=tmp_path, download=False)
    assert f"`{name}`" in message
    assert "KD_TFRS_DATA_DIR" in message


def test_amazon_book_reads_all_parts_as_one(tmp_path):
    folder = tmp_path / "amazon-book"
    folder.mkdir()
    (folder / "train.txt").write_text("0 1 2\n")
    (folder / "test.txt").write_text("0 3\n")
    data = datasets.load("amazon-book", data_dir=tmp_path)
    assert data.events["item_id"].tolist() == [1, 2, 3]
    assert data.given_splits is None
    (folder / "train.txt").unlink()
    (folder / "test.txt").unlink()
    assert "train.txt or test.txt" in error_of("amazon-book", data_dir=tmp_path)


def test_citeulike_without_a_split(tmp_path):
    folder = tmp_path / "citeulike-loo"
    folder.mkdir()
    (folder / "train.tsv").write_text("user_id\titem_id\n0\t1\n")
    message = error_of("citeulike-loo", data_dir=tmp_path)
    assert "valid.tsv" in message


@needs_data
@pytest.mark.parametrize("name", ["citeulike-full", "citeulike-loo"])
def test_real_citeulike(name):
    data = datasets.load(name)
    sizes = {key: len(rows) for key, rows in data.given_splits.items()}
    assert sizes == {"train": 115_142, "validation": 5_219, "test": 5_219}
    assert (len(data.users), len(data.items)) == (5_219, 25_181)
    assert len(data.events) == sum(sizes.values())


@needs_data
def test_real_amazon_book_in_seconds():
    start = time.perf_counter()
    data = datasets.load("amazon-book")
    assert time.perf_counter() - start < 3
    assert len(data.events) == 603_378
    assert len(data.items) == 82_629
    # Four of the 52,643 lines name a user and no item.
    assert len(data.users) == 52_639


@needs_data
def test_real_folder_by_path():
    folder = Path(DATA_DIR) / "movielens-100k"
    data = datasets.load(folder, time="timestamp", label="rating")
    assert len(data.events) == 100_000
    assert data.item_titles()[50] == "Star Wars"
