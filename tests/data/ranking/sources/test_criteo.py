"""Reading Criteo's logs, and errors that name the line."""

import gzip

import numpy as np
import pandas as pd
import pytest

from kd_tfrs.data.ranking.sources.criteo import (
    CATEGORIES,
    NUMBERS,
    load_criteo,
    read_criteo,
    signed_log,
)
from kd_tfrs.errors import UserError
from kd_tfrs.models import FeatureSet


def line(label, numbers=(), categories=()):
    numbers = [*numbers, *[""] * (13 - len(numbers))]
    categories = [*categories, *[""] * (26 - len(categories))]
    return "\t".join(map(str, [label, *numbers, *categories])) + "\n"


def log(lines, seed=0):
    """Lines as Criteo writes them, some cells empty."""
    rng = np.random.default_rng(seed)
    text = []
    for _ in range(lines):
        numbers = rng.integers(-2, 3000, 13).astype(str)
        numbers[rng.random(13) < 0.3] = ""
        categories = [f"{n:08x}" for n in rng.integers(0, 50, 26)]
        categories = np.where(rng.random(26) < 0.1, "", categories)
        text.append(line(rng.integers(0, 2), numbers, categories))
    return text


def save(path, lines):
    path.parent.mkdir(parents=True, exist_ok=True)
    content = "".join(lines).encode()
    path.write_bytes(
        gzip.compress(content) if path.suffix == ".gz" else content
    )
    return path


def error_of(path):
    with pytest.raises(UserError) as caught:
        read_criteo(path)
    message = str(caught.value)
    assert "\n" not in message
    assert path.name in message
    return message


@pytest.mark.parametrize("name", ["train.txt", "day_0", "day_0.gz", "a.tsv.gz"])
def test_cells_have_the_values_of_the_lines(tmp_path, name):
    lines = [
        line(1, [0, -1, "", 9], ["68fd1e64", "", "80e26c9b"]),
        line(0, ["", 3, "", ""], ["", "0a519c5c"]),
    ]
    table = read_criteo(save(tmp_path / name, lines))
    assert table.columns.tolist() == ["label", *NUMBERS, *CATEGORIES]
    assert table["label"].tolist() == [1.0, 0.0]
    np.testing.assert_allclose(
        table[["I1", "I2", "I3", "I4"]],
        [
            [0, -np.log(2), np.nan, np.log(10)],
            [np.nan, np.log(4), np.nan, np.nan],
        ],
    )
    assert table["C1"].tolist() == ["68fd1e64", ""]
    assert table["C2"].tolist() == ["", "0a519c5c"]
    assert table["C26"].tolist() == ["", ""]


def test_a_larger_log_against_pandas(tmp_path):
    path = save(tmp_path / "train.txt", log(500))
    table = read_criteo(path)
    plain = pd.read_csv(
        path,
        sep="\t",
        header=None,
        names=table.columns,
        dtype=dict.fromkeys(CATEGORIES, str),
    )
    np.testing.assert_array_equal(table["label"], plain["label"])
    numbers = plain[list(NUMBERS)].to_numpy(float)
    expected = np.where(numbers < 0, -1, 1) * np.log(1 + abs(numbers))
    np.testing.assert_allclose(table[list(NUMBERS)], expected)
    for name in CATEGORIES:
        assert table[name].tolist() == plain[name].fillna("").tolist()


def test_signed_log_keeps_the_order():
    values = np.array([-3.0, -1.0, 0.0, 1.0, 1e6])
    assert (np.diff(signed_log(values)) > 0).all()
    assert np.isnan(signed_log(np.array([np.nan]))).all()


@pytest.mark.parametrize(
    ("broken", "expected_message"),
    [
        (line(2, [1]), "line 3: the label should be 0 or 1. Received: 2"),
        (line("", [1]), "line 3: the label"),
        (line("yes", [1]), "line 3: the label"),
        (line(1, [1, "many"]), "line 3: I2 should be an integer"),
        (line(1, [], ["", "xyz"]), "line 3: C2 should be hexadecimal"),
        (line(1, [], ["1" * 40]), "line 3: C1 should be hexadecimal"),
        (line(1)[:-2] + "\n", "row 3"),
        (line(1)[:-1] + "\tmore\n", "row 3"),
        ("1,2,3\n", "row 3"),
    ],
)
def test_broken_lines_raise(tmp_path, broken, expected_message):
    lines = [*log(2), broken, *log(3)]
    assert expected_message in error_of(save(tmp_path / "train.txt", lines))


def test_broken_files_raise(tmp_path):
    error_of(save(tmp_path / "empty.txt", []))
    error_of(save(tmp_path / "train.txt", ["1,2\n", "3,4\n"]))
    path = save(tmp_path / "train.txt.gz", log(50))
    path.write_bytes(path.read_bytes()[:-20])
    error_of(path)
    path.write_bytes("1\té".encode("latin1"))
    error_of(path)


def test_one_file_is_cut_by_order(tmp_path):
    lines = log(50)
    parts = load_criteo(save(tmp_path / "x" / "train.txt", lines))
    labels = [float(text[0]) for text in lines]
    assert parts.train.labels["click"].tolist() == labels[:40]
    assert parts.validation.labels["click"].tolist() == labels[40:45]
    assert parts.test.labels["click"].tolist() == labels[45:]
    assert parts.name == "criteo"
    assert parts.train.history is None
    assert parts.train.groups is None
    assert [c.name for c in parts.train.columns] == [*NUMBERS, *CATEGORIES]
    assert "label" not in parts.train.table
    np.testing.assert_array_equal(parts.test.weights, 1)


def test_days_are_read_in_their_order(tmp_path):
    lines = log(60)
    save(tmp_path / "day_10.gz", lines[40:])
    save(tmp_path / "day_2.gz", lines[20:40])
    save(tmp_path / "day_0.gz", lines[:20])
    (tmp_path / "README.txt").write_text("about")
    parts = load_criteo(tmp_path, validation=0.2, test=0.3)
    together = pd.concat(
        [parts.train.table, parts.validation.table, parts.test.table]
    )
    expected = [text.rstrip("\n").split("\t")[14] for text in lines]
    assert together["C1"].tolist() == expected
    assert len(parts.test) == 18


def test_given_parts_are_kept(tmp_path):
    parts = {"train": log(40, 1), "valid": log(6, 2), "test": log(8, 3)}
    for name, lines in parts.items():
        save(tmp_path / f"{name}.txt", lines)
    read = load_criteo(tmp_path)
    sizes = [len(p) for p in (read.train, read.validation, read.test)]
    assert sizes == [40, 6, 8]
    (tmp_path / "valid.txt").unlink()
    read = load_criteo(tmp_path)
    sizes = [len(p) for p in (read.train, read.validation, read.test)]
    assert sizes == [36, 4, 8]


def test_a_part_may_be_several_files(tmp_path):
    lines = log(60)
    save(tmp_path / "train_10.txt", lines[20:40])
    save(tmp_path / "train_9.txt", lines[:20])
    train = [text.rstrip("\n").split("\t")[14] for text in lines[:40]]
    # Without a part for test, all that is called train is cut by order.
    parts = load_criteo(tmp_path)
    cut = (parts.train, parts.validation, parts.test)
    assert pd.concat([p.table for p in cut])["C1"].tolist() == train
    save(tmp_path / "test_1.txt", lines[40:45])
    save(tmp_path / "test_2.txt", lines[45:])
    parts = load_criteo(tmp_path)
    assert len(parts.test) == 20
    learned = pd.concat([parts.train.table, parts.validation.table])
    assert learned["C1"].tolist() == train


def test_a_test_file_without_labels_is_ignored(tmp_path):
    save(tmp_path / "train.txt", log(40))
    unlabelled = [text.split("\t", 1)[1] for text in log(8)]
    save(tmp_path / "test.txt", unlabelled)
    parts = load_criteo(tmp_path)
    assert (len(parts.train), len(parts.test)) == (32, 4)


def test_unknown_categories_are_encoded(tmp_path):
    parts = load_criteo(save(tmp_path / "train.txt", log(80)), hash_buckets=100)
    features = FeatureSet.adapt(parts.train.columns, parts.train.table)
    table = parts.test.table.copy()
    table["C1"] = "ffffffff"
    encoded = features.encode(table)
    assert encoded["C1"].min() >= 1
    assert {f.vocabulary_size for f in features} == {0, 101}
    assert np.isfinite(encoded["I1"]).all()
    missing = (parts.test.table["C2"] == "").to_numpy()
    np.testing.assert_array_equal(encoded["C2"] == 0, missing)


@pytest.mark.parametrize(
    "shares",
    [
        {"validation": 0.0},
        {"test": 1.0},
        {"validation": 0.6, "test": 0.6},
        {"test": -0.1},
    ],
)
def test_impossible_shares_are_refused(tmp_path, shares):
    with pytest.raises(UserError, match="shares above 0"):
        load_criteo(save(tmp_path / "train.txt", log(20)), **shares)


def test_no_files(tmp_path):
    with pytest.raises(UserError, match="Received: none"):
        load_criteo(tmp_path)
    with pytest.raises(UserError, match="Received: none"):
        load_criteo(tmp_path / "nothing")
