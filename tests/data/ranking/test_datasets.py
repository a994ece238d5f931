"""`load_examples`: every source by name and by path."""

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from kd_tfrs.data.ranking.datasets import load_examples
from kd_tfrs.data.ranking.examples import PARTS
from kd_tfrs.data.synthetic.impressions import auc
from kd_tfrs.errors import UserError

KEY = b"sixteen bytes or more"
REAL = Path(os.environ.get("KD_TFRS_DATA_DIR", "/nowhere"))
needs_movielens = pytest.mark.skipif(
    not (REAL / "movielens-100k").is_dir(),
    reason="KD_TFRS_DATA_DIR has no movielens-100k",
)


def frappe_lines(count):
    text = ""
    for n in range(count):
        cells = [n % 9, 957 + n % 11, 5039, 5046, 5053, 5055, 5058, 5060]
        cells += [5069 + n % 2, 5149 + n % 3]
        text += f"{1 if n % 3 else -1} "
        text += " ".join(f"{cell}:1" for cell in cells) + "\n"
    return text


def criteo_lines(count):
    return "".join(
        "\t".join([str(n % 2), *[str(n)] * 13, *[f"{n:08x}"] * 26]) + "\n"
        for n in range(count)
    )


def click_log(folder, count=200):
    """A log in which items are shown to the same users again and again."""
    rng = np.random.default_rng(0)
    path = folder / "clicks.csv"
    pd.DataFrame(
        {
            "user_id": rng.integers(1, 9, count),
            "item_id": rng.integers(1, 6, count),
            "timestamp": 10**9 + np.arange(count),
            "rating": rng.integers(0, 2, count),
        }
    ).to_csv(path, index=False)
    return path


def test_synthetic_comes_with_its_truth():
    parts = load_examples("synthetic", num_events=5_000, seed=2)
    assert [len(getattr(parts, p)) for p in PARTS] == [4_000, 500, 500]
    assert set(parts.train.labels) == {"click", "like"}
    clicked = set()
    for part in PARTS:
        examples = getattr(parts, part)
        truth = parts.truth[part]["click"]
        assert truth.shape == (len(examples),)
        assert auc(examples.labels["click"], truth) > 0.7
        shown = zip(examples.groups, examples.items, strict=True)
        happened = examples.labels["click"] > 0
        clicked |= {p for p, c in zip(shown, happened, strict=True) if c}
    history = parts.test.history
    users = np.repeat(parts.test.groups, history.shape[1])
    for pair in zip(users, history.reshape(-1), strict=True):
        assert pair[1] == -1 or pair in clicked
    assert "__row__" not in parts.train.table
    again = load_examples("synthetic", num_events=5_000, seed=2)
    assert again.interactions.fingerprint() == parts.interactions.fingerprint()


def test_the_truth_follows_its_rows_through_a_random_split():
    by_time, by_chance = (
        load_examples(
            "synthetic", num_events=3_000, split=split, tasks=["like"]
        )
        for split in ("time", "random")
    )
    assert list(by_chance.train.labels) == ["like"]

    def rows(parts):
        table = pd.concat([getattr(parts, part).table for part in PARTS])
        truth = np.concatenate([parts.truth[part]["like"] for part in PARTS])
        keys = ["timestamp", "user_id", "item_id", "position"]
        table = table[keys].assign(truth=truth)
        return table.sort_values(keys, ignore_index=True)

    pd.testing.assert_frame_equal(rows(by_time), rows(by_chance))
    assert len(by_chance.test) == 600


def test_hash_buckets_hash_the_ids():
    parts = load_examples("synthetic", num_events=1_000, hash_buckets=64)
    buckets = {c.name: c.hash_buckets for c in parts.train.columns}
    assert buckets["user_id"] == buckets["item_id"] == 64
    assert buckets["brand"] is None


def test_frappe_by_name_and_by_path(tmp_path):
    folder = tmp_path / "frappe"
    folder.mkdir()
    for name, count in (("train", 30), ("validation", 6), ("test", 9)):
        path = folder / f"frappe.{name}.libfm"
        path.write_text(frappe_lines(count))
    for data_dir in (tmp_path, folder):
        parts = load_examples("frappe", data_dir, hash_buckets=50)
        assert [len(getattr(parts, p)) for p in PARTS] == [30, 6, 9]
        assert parts.train.columns[0].hash_buckets == 50
        assert parts.train.groups is not None
    parts = load_examples(folder)
    assert parts.train.columns[0].name == "field_0"
    assert list(parts.train.labels) == ["click"]


def test_criteo_by_name(tmp_path):
    (tmp_path / "train.txt").write_text(criteo_lines(40))
    parts = load_examples(
        "criteo", tmp_path, hash_buckets=99, validation=0.2, test=0.25
    )
    assert [len(getattr(parts, p)) for p in PARTS] == [22, 8, 10]
    assert parts.train.columns[-1].hash_buckets == 99
    assert load_examples("criteo", tmp_path).name == "criteo"


def test_own_logs_keep_repeated_impressions(tmp_path):
    parts = load_examples(click_log(tmp_path))
    assert sum(len(getattr(parts, part)) for part in PARTS) == 200
    # Labels that are 0 or 1 are a task as they are.
    assert list(parts.train.labels) == ["rating"]
    assert parts.name == "clicks"
    parts = load_examples(
        click_log(tmp_path),
        tasks=["liked"],
        read={"keep_repeats": False, "progress": False},
        history_length=3,
        liked_from=1,
        split="random",
    )
    assert sum(len(getattr(parts, part)) for part in PARTS) <= 40
    assert parts.train.history.shape[1] == 3


def test_pseudonyms_change_ids_alone(tmp_path):
    # Times differ from row to row, so that the split keeps its order.
    plain = load_examples(click_log(tmp_path))
    hidden = load_examples(click_log(tmp_path), pseudonym_key=KEY)
    for part in PARTS:
        original, renamed = getattr(plain, part), getattr(hidden, part)
        np.testing.assert_array_equal(
            original.labels["rating"], renamed.labels["rating"]
        )
        for column in ("user_id", "item_id"):
            ids, names = original.table[column], renamed.table[column]
            assert names.str.fullmatch("[0-9a-f]{32}").all()
            pairs = set(zip(ids, names, strict=True))
            assert len(pairs) == ids.nunique() == names.nunique()


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("synthetic", {"pseudonym_key": KEY}, "hides the ids of real data"),
        ("frappe", {"pseudonym_key": KEY}, "not for logs"),
        ("nothing-like-it", {}, "neither a name nor"),
        ("frappe", {"num_events": 5}, "size of `synthetic` only"),
        ("criteo", {"split": "time"}, "`split` should be left out"),
        ("frappe", {"history_length": 5}, "`history_length` should be left"),
        ("criteo", {"read": {"user_id": "x"}}, "`user_id` should be left out"),
        (
            "frappe",
            {"read": {"event_columns": ["x"]}},
            "`event_columns` should be left out",
        ),
        ("criteo", {"tasks": ["like"]}, "its only label"),
        ("synthetic", {"read": {"user_id": "x"}}, "`user_id` should be left"),
        (
            "movielens-100k",
            {"read": {"training_only_columns": ["x"]}},
            "`training_only_columns` should be left out",
        ),
        ("synthetic", {"num_events": 200, "split": "u9"}, "`split` should"),
        ("synthetic", {"num_events": 10}, "`num_events`"),
    ],
)
def test_invalid_arguments_raise(tmp_path, name, options, message):
    with pytest.raises(UserError, match=message):
        load_examples(name, tmp_path, **options)


def test_missing_log(monkeypatch, tmp_path):
    monkeypatch.setenv("KD_TFRS_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(UserError, match="Give `data_dir`"):
        load_examples("frappe")


@needs_movielens
def test_movielens_by_time():
    parts = load_examples("movielens-100k", tasks=["liked", "rating"])
    assert sum(len(getattr(parts, part)) for part in PARTS) == 100_000
    np.testing.assert_array_equal(
        parts.test.labels["liked"], parts.test.labels["rating"] >= 4
    )
    names = {column.name for column in parts.train.columns}
    assert {"age", "genres", "user_mean_label", "hour"} <= names
    times = [getattr(parts, part).table["timestamp"] for part in PARTS]
    assert times[0].max() < times[1].min() <= times[1].max() < times[2].min()
    assert parts.interactions.name == "movielens-100k"


@needs_movielens
def test_a_fold_of_ids_has_no_pseudonyms():
    with pytest.raises(UserError, match="`u1`"):
        load_examples("movielens-100k", split="u1", pseudonym_key=KEY)


@needs_movielens
def test_movielens_at_random_and_without_its_files():
    parts = load_examples(
        "movielens-100k", tasks=["rating"], split="random", seed=1
    )
    assert [len(getattr(parts, p)) for p in PARTS] == [72_000, 8_000, 20_000]
    with pytest.raises(UserError, match="split=random"):
        load_examples("movielens-100k", split="u1")
