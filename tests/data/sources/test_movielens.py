import hashlib
import os
import zipfile
from pathlib import Path

import pytest

from kd_tfrs.data import datasets
from kd_tfrs.data.schema import Encoding
from kd_tfrs.data.sources import movielens
from kd_tfrs.errors import UserError

REAL = Path(os.environ.get("KD_TFRS_DATA_DIR", "/nowhere")) / "movielens-100k"
GENRES = ["unknown", "Action", "Children's", "Film-Noir"]
ITEMS = [
    (1, "Léon (1994)", ["Action", "Film-Noir"], "1994"),
    (2, "2001: A Space Odyssey (1968)", ["Children's"], "1968"),
    (3, "unknown", [], None),
]
USERS = [(1, 24, "M", "writer", "02139"), (2, 35, "F", "other", "V0R2M")]
RATINGS = [(1, 1, 5, 881250949), (1, 2, 3, 881250950), (2, 3, 1, 881250951)]


def text(rows, separator):
    return "".join(separator.join(map(str, row)) + "\n" for row in rows)


def files_100k():
    def flags(genres):
        return [int(g in (genres or ["unknown"])) for g in GENRES]

    items = [
        (key, title, "01-Jan-1994", "", "http://x", *flags(genres))
        for key, title, genres, _ in ITEMS
    ]
    return {
        "u.data": text(RATINGS, "\t"),
        "u.user": text(USERS, "|"),
        "u.item": text(items, "|"),
        "u.genre": text(zip(GENRES, range(4), strict=True), "|") + "\n",
    }


def files_1m():
    users = [(u, g, a, 3, z) for u, a, g, _, z in USERS]
    items = [(i, t, "|".join(g)) for i, t, g, _ in ITEMS]
    return {
        "ratings.dat": text(RATINGS, "::"),
        "users.dat": text(users, "::"),
        "movies.dat": text(items, "::"),
    }


def files_25m():
    items = [
        (i, f'"{t}"', "|".join(g) or "(no genres listed)")
        for i, t, g, _ in ITEMS
    ]
    return {
        "ratings.csv": "userId,movieId,rating,timestamp\n" + text(RATINGS, ","),
        "movies.csv": "movieId,title,genres\n" + text(items, ","),
    }


def files_recbole():
    items = [
        (i, t.split(" (")[0], y or "unkonwn", " ".join(g) or "unknown")
        for i, t, g, y in ITEMS
    ]
    names = "user_id:token\titem_id:token\trating:float\ttimestamp:float\n"
    users = "user_id:token\tage:token\tgender:token\toccupation:token\t"
    return {
        "x.inter": names + text(RATINGS, "\t"),
        "x.user": users + "zip_code:token\n" + text(USERS, "\t"),
        "x.item": "item_id:token\tmovie_title:token_seq\t"
        "release_year:token\tclass:token_seq\n" + text(items, "\t"),
    }


LAYOUTS = {
    "100k": (files_100k, "latin1"),
    "1m": (files_1m, "latin1"),
    "25m": (files_25m, "utf-8"),
    "recbole": (files_recbole, "utf-8"),
}


def write(folder, files, encoding):
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content.encode(encoding))
    return folder


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_gives_the_same_tables(tmp_path, layout):
    make, encoding = LAYOUTS[layout]
    write(tmp_path / "movielens-100k", make(), encoding)
    data = datasets.load("movielens-100k", data_dir=tmp_path)
    columns = ["user_id", "item_id", "rating", "timestamp"]
    assert data.events[columns].to_numpy().tolist() == [
        list(row) for row in RATINGS
    ]
    assert data.items["title"].tolist() == [
        "Léon",
        "2001: A Space Odyssey",
        "",
    ]
    assert data.items["genres"].tolist() == [
        "Action|Film-Noir",
        "Children's",
        "",
    ]
    years = data.items["release_year"]
    assert years.tolist()[:2] == [1994, 1968]
    assert years.isna().tolist() == [False, False, True]
    assert data.item_titles()[3] == "3"
    if layout != "25m":
        assert data.users["gender"].tolist() == ["M", "F"]
        assert data.users["zip_code"].tolist() == ["0", "V"]
        assert data.users["age"].astype(float).tolist() == [24, 35]
    else:
        assert data.users.columns.tolist() == ["user_id"]


def test_schema(tmp_path):
    tables = movielens.read(write(tmp_path, files_100k(), "latin1"))
    encodings = {c.name: c.encoding for c in tables.schema.columns}
    assert encodings["age"] is Encoding.BUCKETS
    assert encodings["genres"] is Encoding.CATEGORIES
    assert tables.schema.label == "rating"
    assert tables.schema.time == "timestamp"


def release_of(folder, monkeypatch, files, **changes):
    """Publishes a small "100K" zip file and patches its address and md5."""
    folder.mkdir()
    archive = folder / "ml-100k.zip"
    with zipfile.ZipFile(archive, "w") as file:
        for name, content in files.items():
            file.writestr(f"ml-100k/{name}", content.encode("latin1"))
    md5 = hashlib.md5(archive.read_bytes()).hexdigest()
    release = movielens.Release(
        "ml-100k",
        changes.get("md5", md5),
        movielens.RELEASES["movielens-100k"].members,
    )
    monkeypatch.setitem(movielens.RELEASES, "movielens-100k", release)
    return archive


def test_zip_that_is_there_is_verified_and_unpacked(tmp_path, monkeypatch):
    release_of(tmp_path / "data", monkeypatch, files_100k())
    data = datasets.load("movielens-100k", data_dir=tmp_path / "data")
    assert len(data.events) == 3
    names = sorted(path.name for path in (tmp_path / "data").iterdir())
    assert names == ["ml-100k.zip", "movielens-100k"]


def test_zip_without_a_member_leaves_no_folder(tmp_path, monkeypatch):
    files = files_100k()
    del files["u.user"]
    release_of(tmp_path / "data", monkeypatch, files)
    with pytest.raises(UserError, match=r"u\.user"):
        datasets.load("movielens-100k", data_dir=tmp_path / "data")
    names = [path.name for path in (tmp_path / "data").iterdir()]
    assert names == ["ml-100k.zip"]


def test_published_checksums():
    # As in the .md5 files beside GroupLens's archives.
    assert {r.archive: r.md5 for r in movielens.RELEASES.values()} == {
        "ml-100k": "0e33842e24a9c977be4e0107933c0723",
        "ml-1m": "c4d9eecfca2ab87c1945afe126590906",
        "ml-25m": "6b51fb2759a8657d3bfcbfc42b592ada",
    }


def test_folder_of_something_else(tmp_path):
    with pytest.raises(UserError, match="MovieLens release"):
        movielens.read(tmp_path)


@pytest.mark.skipif(not REAL.is_dir(), reason="KD_TFRS_DATA_DIR has no data")
def test_real_100k():
    data = datasets.load("movielens-100k")
    assert (len(data.events), len(data.users)) == (100_000, 943)
    assert len(data.items) == 1_682
    assert data.item_titles()[50] == "Star Wars"
    genres = set(data.items["genres"].str.split("|").explode())
    assert {"Children's", "Film-Noir", "Sci-Fi"} <= genres
    assert len(genres - {""}) == 18
