"""libFM's lines: fields by range and by place, broken ones by line."""

import gzip

import numpy as np
import pytest

from kd_tfrs.data.ranking.sources.libfm import FRAPPE, load_libfm, read_libfm
from kd_tfrs.errors import UserError
from kd_tfrs.models import FeatureSet

# As in the published files: indices from 0, one range a field.
LINES = (
    "-1 204:1 4798:1 5041:1 5046:1 5053:1 5055:1 5058:1 5060:1 5073:1 5183:1\n"
    "1 42:1 1572:1 5042:1 5047:1 5053:1 5055:1 5058:1 5060:1 5070:1 5150:1\n"
    "1 956:1 5038:1 5045:1 5052:1 5054:1 5057:1 5059:1 5068:1 5148:1 5381:1\n"
    "-1 0:1 957:1 5039:1 5046:1 5053:1 5055:1 5058:1 5060:1 5069:1 5149:1\n"
)


def save(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    content = text.encode()
    path.write_bytes(
        gzip.compress(content) if path.suffix == ".gz" else content
    )
    return path


def error_of(path, fields=None):
    with pytest.raises(UserError) as caught:
        read_libfm(path, fields)
    message = str(caught.value)
    assert "\n" not in message
    assert path.name in message
    return message


def invented(lines, seed):
    """Lines in Frappe's form."""
    rng = np.random.default_rng(seed)
    ends = np.cumsum(list(FRAPPE.values()))
    text = ""
    for _ in range(lines):
        values = [
            end - rng.integers(1, min(size, 20) + 1)
            for end, size in zip(ends, FRAPPE.values(), strict=True)
        ]
        cells = " ".join(f"{value}:1" for value in values)
        text += f"{rng.choice([-1, 1])} {cells}\n"
    return text


def test_frappe_has_as_many_values_as_published():
    assert len(FRAPPE) == 10
    assert sum(FRAPPE.values()) == 5382


@pytest.mark.parametrize("name", ["frappe.train.libfm", "frappe.libfm.gz"])
def test_fields_by_range(tmp_path, name):
    labels, table = read_libfm(save(tmp_path / name, LINES), FRAPPE)
    assert labels.tolist() == [-1, 1, 1, -1]
    assert table.columns.tolist() == list(FRAPPE)
    assert table["user"].tolist() == [204, 42, 956, 0]
    assert table["item"].tolist() == [4798, 1572, 5038, 957]
    assert table["cost"].tolist() == [5058, 5058, 5059, 5058]
    assert table["city"].tolist() == [5183, 5150, 5381, 5149]


def test_fields_may_be_absent_and_in_any_order(tmp_path):
    text = "1 4:1 0:1\n\n0.5\t2:1  \r\n-1e-1 3:1.0 1:1"
    labels, table = read_libfm(
        save(tmp_path / "a.libfm", text), {"u": 2, "i": 1, "c": 2}
    )
    np.testing.assert_allclose(labels, [1, 0.5, -0.1])
    assert table["u"].isna().tolist() == [False, True, False]
    assert table["u"].dropna().tolist() == [0, 1]
    assert table["i"].dropna().tolist() == [2]
    assert table["c"].dropna().tolist() == [4, 3]
    assert str(table["u"].iloc[0]) == "0"


def test_fields_by_place(tmp_path):
    path = save(tmp_path / "a.libfm", "3 17:1 900:1\n4 17:1 901:1\n")
    labels, table = read_libfm(path, ["user", "film"])
    assert labels.tolist() == [3, 4]
    assert table["user"].tolist() == [17, 17]
    assert table["film"].tolist() == [900, 901]
    _, table = read_libfm(path)
    assert table.columns.tolist() == ["field_0", "field_1"]


@pytest.mark.parametrize(
    ("broken", "fields", "expected_message"),
    [
        ("1 5:1 7", None, "line 3: a line should be `label index:value ...`"),
        ("1", None, "line 3: a line should be"),
        ("yes 5:1 7:1", None, "line 3: a line should be"),
        ("1 -5:1 7:1", None, "line 3: a line should be"),
        ("1 5:1,7:1", None, "line 3: a line should be"),
        ("1 5:0.5 7:1", None, "line 3: values should be 1. Received: 0.5"),
        ("1 5:1 7:1 8:1", None, "line 3: the number of values should be 2"),
        ("1 5:1", ["a", "b"], "line 3: the number of values should be 2"),
        ("1 5:1 20:1", {"a": 10, "b": 10}, "line 3: indices should be below"),
        ("1 5:1 6:1", {"a": 10, "b": 10}, "line 3: indices should be one for"),
    ],
)
def test_broken_lines_raise(tmp_path, broken, fields, expected_message):
    text = f"1 0:1 11:1\n\n{broken}\n-1 1:1 12:1\n"
    assert expected_message in error_of(
        save(tmp_path / "a.libfm", text), fields
    )


def test_broken_files_raise(tmp_path):
    assert "empty file" in error_of(save(tmp_path / "a.libfm", "\n\n"))
    path = tmp_path / "b.libfm"
    path.write_bytes(b"1 \xff:1\n")
    assert "UTF-8" in error_of(path)
    path = save(tmp_path / "c.libfm.gz", LINES)
    path.write_bytes(path.read_bytes()[:-12])
    error_of(path)


def test_given_parts(tmp_path):
    for seed, name in enumerate(("train", "validation", "test")):
        text = invented((30, 5, 7)[seed], seed)
        save(tmp_path / f"frappe.{name}.libfm", text)
    parts = load_libfm(
        tmp_path, FRAPPE, name="frappe", user="user", item="item"
    )
    sizes = [len(p) for p in (parts.train, parts.validation, parts.test)]
    assert sizes == [30, 5, 7]
    train = parts.train
    assert set(np.unique(train.labels["click"])) == {0.0, 1.0}
    np.testing.assert_array_equal(train.groups, train.table["user"])
    np.testing.assert_array_equal(train.items, train.table["item"])
    encodings = {c.name: c.encoding.value for c in train.columns}
    assert encodings["user"] == encodings["item"] == "id"
    assert encodings["daytime"] == "category"
    features = FeatureSet.adapt(train.columns, train.table)
    encoded = features.encode(train.table)
    assert all(encoded[name].min() >= 1 for name in FRAPPE)


def test_hashed_ids_and_missing_fields_are_encoded(tmp_path):
    text = "1 0:1 3:1\n-1 1:1\n1 2:1 4:1\n-1 2:1\n1 1:1 4:1\n"
    parts = load_libfm(
        save(tmp_path / "a.libfm", text),
        {"u": 3, "c": 2},
        user="u",
        hash_buckets=30,
        validation=0.2,
        test=0.2,
    )
    features = FeatureSet.adapt(parts.train.columns, parts.train.table)
    encoded = features.encode(parts.train.table)
    np.testing.assert_array_equal(encoded["c"], [1, 0, 2])
    assert (encoded["u"] >= 1).all()
    sizes = [len(p) for p in (parts.train, parts.validation, parts.test)]
    assert sizes == [3, 1, 1]


def test_ratings_stay_as_they_are(tmp_path):
    text = "".join(f"{n % 5 + 1} {n}:1\n" for n in range(10))
    parts = load_libfm(save(tmp_path / "a.libfm", text), task="rating")
    assert parts.train.labels["rating"].tolist() == [1, 2, 3, 4, 5, 1, 2, 3]


def rows_of(part):
    """Which lines these are: `numbered` writes a line's number as a field."""
    return part.table["field_0"].tolist()


def numbered(first, stop):
    return "".join(f"{n % 2} {n}:1 1000:1\n" for n in range(first, stop))


def test_a_part_may_be_several_files(tmp_path):
    save(tmp_path / "train_10.libfm", numbered(20, 30))
    save(tmp_path / "train_2.libfm", numbered(10, 20))
    save(tmp_path / "train_1.libfm.gz", numbered(0, 10))
    save(tmp_path / "valid_1.libfm", numbered(30, 32))
    save(tmp_path / "valid_2.libfm", numbered(32, 35))
    save(tmp_path / "test.libfm", numbered(35, 39))
    parts = load_libfm(tmp_path)
    assert rows_of(parts.train) == [*range(30)]
    assert rows_of(parts.validation) == [*range(30, 35)]
    assert rows_of(parts.test) == [*range(35, 39)]


def test_a_file_of_two_parts_is_refused(tmp_path):
    path = save(tmp_path / "train_test.libfm", numbered(0, 20))
    # Alone it is a log like any other, which is cut by order.
    parts = load_libfm(path)
    assert not set(rows_of(parts.train)) & set(rows_of(parts.test))
    save(tmp_path / "test.libfm", numbered(20, 30))
    with pytest.raises(UserError, match=r"train_test\.libfm.*test and train"):
        load_libfm(tmp_path)


def test_files_of_one_log_have_the_same_fields(tmp_path):
    save(tmp_path / "train.libfm", numbered(0, 9))
    save(tmp_path / "test.libfm", "1 3:1\n")
    with pytest.raises(UserError, match=r"test\.libfm.*line 1.*should be 2"):
        load_libfm(tmp_path)


@pytest.mark.parametrize("lacking", ["user", "item"])
def test_a_line_without_an_id_raises(tmp_path, lacking):
    broken = {"user": "-1 11:1", "item": "-1 1:1 20:1"}[lacking]
    text = f"1 0:1 10:1\n\n{broken}\n1 2:1 12:1\n{broken}\n"
    path = save(tmp_path / "a.libfm", text)
    fields = {"user": 10, "item": 10, "hour": 5}
    with pytest.raises(UserError) as caught:
        load_libfm(path, fields, user="user", item="item")
    message = str(caught.value)
    # An empty line counts, as it does in an editor.
    assert f"`{path}`, line 3: " in message
    assert f"field {lacking}" in message
    assert "lines like it: 2" in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("ids", "expected_message"),
    [
        ({"user": "uid"}, "'uid' with the fields field_0, field_1"),
        ({"user": "field_0", "item": "field_0"}, "different fields"),
    ],
)
def test_ids_are_fields(tmp_path, ids, expected_message):
    path = save(tmp_path / "a.libfm", numbered(0, 20))
    with pytest.raises(UserError, match=expected_message):
        load_libfm(path, **ids)
