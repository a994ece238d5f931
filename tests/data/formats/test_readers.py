import gzip
import json

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from kd_tfrs.data.formats import readers
from kd_tfrs.errors import UserError

FRAME = pd.DataFrame(
    {"user_id": [1, 1, 2], "item_id": [7, 8, 7], "rating": [3.5, 4.0, 1.0]}
)


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(content, str):
        content = content.encode()
    path.write_bytes(content)
    return path


def error_of(path, columns=None):
    with pytest.raises(UserError) as caught:
        readers.read_table(path, columns)
    message = str(caught.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize(
    ("name", "separator"), [("a.csv", ","), ("a.tsv", "\t"), ("a.csv.gz", ",")]
)
def test_delimited_round_trip(tmp_path, name, separator):
    FRAME.to_csv(tmp_path / name, sep=separator, index=False)
    read = readers.read_table(tmp_path / name)
    pd.testing.assert_frame_equal(read, FRAME)


def test_parquet_round_trip_and_projection(tmp_path):
    FRAME.to_parquet(tmp_path / "a.parquet")
    read = readers.read_table(tmp_path / "a.parquet", ["item_id", "user_id"])
    pd.testing.assert_frame_equal(read, FRAME[["item_id", "user_id"]])


@pytest.mark.parametrize("name", ["a.jsonl", "a.json", "a.ndjson.gz"])
def test_json_lines_round_trip(tmp_path, name):
    text = FRAME.to_json(orient="records", lines=True).encode()
    write(tmp_path / name, gzip.compress(text) if "gz" in name else text)
    pd.testing.assert_frame_equal(readers.read_table(tmp_path / name), FRAME)


def test_json_field_that_the_first_line_lacks(tmp_path):
    path = write(tmp_path / "a.jsonl", '{"u": 1}\n\n{"u": 2, "r": 3}\n')
    ratings = readers.read_table(path, ["r"])["r"]
    assert ratings.isna().tolist() == [True, False]


def test_adjacency(tmp_path):
    path = write(tmp_path / "a.txt", "0 5 6\n1\n\n 2 5\r\n0 9")
    read = readers.read_table(path)
    assert read.dtypes.tolist() == [np.int64, np.int64]
    assert read.to_numpy().tolist() == [[0, 5], [0, 6], [2, 5], [0, 9]]


def test_typed_header(tmp_path):
    path = write(
        tmp_path / "x.inter",
        'user_id:token\tq:token\trating:float\n01\tsay "hi\t3\n2\tb\t4\n',
    )
    read = readers.read_table(path, text=["user_id"])
    assert read["user_id"].tolist() == ["01", "2"]
    assert read["q"].tolist() == ['say "hi', "b"]
    assert read["rating"].tolist() == [3, 4]


def test_folder_of_shards_keeps_the_order_and_skips_other_files(tmp_path):
    for part in (1, 0, 2):
        rows = FRAME.assign(part=part)
        rows.to_parquet(tmp_path / f"part-{part}.parquet")
    write(tmp_path / "_SUCCESS", "")
    write(tmp_path / "README.txt", "words")
    write(tmp_path / ".part-0.parquet.crc", "x")
    read = readers.read_table(tmp_path, progress=True)
    assert read["part"].tolist() == [0] * 3 + [1] * 3 + [2] * 3


def test_shards_of_different_number_types_are_joined(tmp_path):
    write(tmp_path / "0.csv", "u,r\n1,3\n")
    write(tmp_path / "1.csv", "u,r\n2,3.5\n")
    assert readers.read_table(tmp_path)["r"].tolist() == [3.0, 3.5]


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        (["1", "20", "-3"], [1, 20, -3]),
        (["1", "007"], ["1", "007"]),  # would not print back
        (["1", "x"], ["1", "x"]),
        ([" 1 ", "2"], [1, 2]),
        (["9007199254740993", "1"], [2**53 + 1, 1]),
        (["99999999999999999999", "1"], ["99999999999999999999", "1"]),
    ],
)
def test_ids_become_integers_only_when_nothing_is_lost(
    tmp_path, cells, expected
):
    path = write(tmp_path / "a.csv", "id,x\n" + ",1\n".join(cells) + ",1\n")
    assert readers.read_table(path, text=["id"])["id"].tolist() == expected


def test_large_integer_ids_beside_a_missing_one_stay_exact(tmp_path):
    path = write(tmp_path / "a.csv", f"id,x\n{2**53 + 1},1\n,1\n")
    assert readers.read_table(path, text=["id"])["id"][0] == 2**53 + 1


def test_lists_dictionaries_decimals_and_dates_become_plain(tmp_path):
    table = pa.table(
        {
            "genres": pa.array([["a", "b"], None]),
            "kind": pa.array(["x", "y"]).dictionary_encode(),
            "price": pa.array([1, 2], pa.decimal128(5, 2)),
            "day": pa.array([0, 86400], pa.timestamp("s")).cast(pa.date32()),
            "record": pa.array([{"a": 1}, {"a": 2}]),
        }
    )
    pq.write_table(table, tmp_path / "a.parquet")
    read = readers.read_table(tmp_path / "a.parquet")
    assert read["genres"].tolist()[0] == "a|b"
    assert read["kind"].tolist() == ["x", "y"]
    assert read["price"].tolist() == [1.0, 2.0]
    assert read["day"].dt.year.tolist() == [1970, 1970]
    assert "record" not in read


def test_byte_order_mark_and_unnamed_index_column(tmp_path):
    path = write(tmp_path / "a.csv", b"\xef\xbb\xbfa,,b\n1,0,2\n")
    assert readers.read_table(path).to_dict("list") == {"a": [1], "b": [2]}


BAD_FILES = {
    "empty.csv": (b"", ["empty.csv", "empty file"]),
    "rows.csv": (b"a,b\n", ["no row"]),
    "semicolon.csv": (b"a;b\n1;2\n", ["line 1", "commas", "semicolons"]),
    "comma.tsv": (b"a,b\n1,2\n", ["line 1", "tabs", "commas"]),
    "twice.csv": (b"a,a\n1,2\n", ["line 1", "`a` more than once"]),
    "ragged.csv": (b"a,b\n1,2\n3,4,5\n", ["row 3", "3,4,5"]),
    "latin.csv": (b"a,b\n1,2\n3,caf\xe9\n", ["line 3, byte 6 is 0xe9"]),
    "header.csv": (b"caf\xe9,b\n1,2\n", ["line 1, byte 4 is 0xe9"]),
    "utf16.csv": ("a,b\n1,2\n".encode("utf-16"), ["UTF-16"]),
    "nogzip.csv.gz": (b"a,b\n1,2\n", ["nogzip.csv.gz"]),
    "cut.csv.gz": (
        gzip.compress(bytes(range(97, 123)) * 9 + b"\n1\n" * 999)[:-12],
        ["cut.csv.gz", "to its end"],
    ),
    "empty.parquet": (b"", ["complete Parquet file"]),
    "text.parquet": (b"a,b\n1,2\n" * 9, ["complete Parquet file"]),
    "line.jsonl": (b'{"a": 1}\n{"a": }\n', ["line 2", "JSON"]),
    "array.json": (b'[{"a": 1}]', ["line 1", "one object a line"]),
    "kinds.jsonl": (b'{"a": 1}\n{"a": "x"}\n', ["one type"]),
    "empty.jsonl": (b"\n", ["empty file"]),
    "latin.jsonl": (b'{"a": "x"}\n{"a": "\xe9"}\n', ["line 2, byte 8"]),
    "words.txt": (b"0 1\n1 2 x9 4\n", ["line 2", "'x9'"]),
    "minus.txt": (b"0 1\n1 -2\n", ["line 2", "'-2'"]),
    "long.txt": (b"0 1234567890123456789012\n", ["line 1", "18 digits"]),
    "lonely.txt": (b"0\n1\n", ["no line with an item"]),
    "data.xlsx": (b"x", [".xlsx", ".csv"]),
    "data": (b"x", ["no extension"]),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_bad_file_ends_in_one_line_that_points(tmp_path, name):
    content, parts = BAD_FILES[name]
    message = error_of(write(tmp_path / name, content))
    for part in parts:
        assert part in message
    assert name in message


def test_truncated_parquet(tmp_path):
    path = tmp_path / "a.parquet"
    FRAME.to_parquet(path)
    write(path, path.read_bytes()[:-30])
    assert "complete Parquet file" in error_of(path)


def test_damaged_parquet_page(tmp_path):
    path = tmp_path / "a.parquet"
    pd.DataFrame({"a": np.arange(20_000)}).to_parquet(path)
    data = bytearray(path.read_bytes())
    data[4:4000] = b"\xff" * 3996
    assert "complete Parquet file" in error_of(write(path, bytes(data)))


def test_missing_column_names_the_shard(tmp_path):
    FRAME.to_parquet(tmp_path / "0.parquet")
    FRAME.drop(columns="rating").to_parquet(tmp_path / "1.parquet")
    message = error_of(tmp_path, ["user_id", "rating"])
    assert "1.parquet" in message
    assert "`rating`" in message


def test_parquet_with_the_same_name_twice(tmp_path):
    table = pa.table([pa.array([1]), pa.array([2])], names=["a", "a"])
    pq.write_table(table, tmp_path / "a.parquet")
    assert "more than once" in error_of(tmp_path / "a.parquet")


def test_folder_of_mixed_formats(tmp_path):
    write(tmp_path / "a.csv", "a\n1\n")
    write(tmp_path / "b.jsonl", json.dumps({"a": 1}))
    message = error_of(tmp_path)
    assert "a.csv (CSV)" in message
    assert "b.jsonl (JSON lines)" in message


def test_shards_of_clashing_types(tmp_path):
    write(tmp_path / "0.csv", "u\n1\n")
    write(tmp_path / "1.csv", "u\nx\n")
    assert "same types" in error_of(tmp_path)


def test_nothing_there(tmp_path):
    assert "does not exist" in error_of(tmp_path / "nothing.csv")
    assert "without one" in error_of(tmp_path)
