"""MovieLens 100K, 1M and 25M, in GroupLens's layouts and in RecBole's."""

from __future__ import annotations

import shutil
import zipfile
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pandas as pd

from kd_tfrs.data.formats import delimited, readers
from kd_tfrs.data.schema import Column, Encoding, Owner, Schema
from kd_tfrs.data.sources.dataset import Dataset
from kd_tfrs.data.sources.download import download
from kd_tfrs.data.tables import Tables
from kd_tfrs.errors import UserError

_URL = "https://files.grouplens.org/datasets/movielens/{}.zip"
_EVENTS = ["user_id", "item_id", "rating", "timestamp"]
# GroupLens's values for unknown; "unkonwn" is RecBole's spelling.
_UNKNOWN = ("", "unknown", "unkonwn", "(no genres listed)")
_YEAR_BUCKETS = 10
_AGE_BUCKETS = 8


@dataclass(frozen=True)
class Release:
    """One published MovieLens release.

    Args:
        archive: name of GroupLens's zip file without ".zip", which is also
            the name of the folder within.
        md5: of that file, as GroupLens publishes it.
        members: names of the files to unpack.
    """

    archive: str
    md5: str
    members: tuple[str, ...]


RELEASES = {
    "movielens-100k": Release(
        "ml-100k",
        "0e33842e24a9c977be4e0107933c0723",
        ("u.data", "u.user", "u.item", "u.genre"),
    ),
    "movielens-1m": Release(
        "ml-1m",
        "c4d9eecfca2ab87c1945afe126590906",
        ("ratings.dat", "users.dat", "movies.dat"),
    ),
    "movielens-25m": Release(
        "ml-25m",
        "6b51fb2759a8657d3bfcbfc42b592ada",
        ("ratings.csv", "movies.csv"),
    ),
}


def fetch(name: str, folder: Path, progress: bool = True) -> Path:
    """Downloads a release and unpacks its members.

    Raises:
        UserError: when the download fails or has another checksum.
    """
    release = RELEASES[name]
    archive = download(
        _URL.format(release.archive),
        folder / f"{release.archive}.zip",
        md5=release.md5,
        progress=progress,
    )
    return unpack(archive, release, folder / name)


def unpack(archive: Path, release: Release, target: Path) -> Path:
    """Unpacks the needed members of a zip file; all of them or none.

    Raises:
        UserError: when the zip file is damaged, lacks a member, or the folder
            cannot be written.
    """
    beside = target.with_name(target.name + ".part")
    shutil.rmtree(beside, ignore_errors=True)
    try:
        beside.mkdir(parents=True)
        with zipfile.ZipFile(archive) as file:
            for member in release.members:
                source = file.open(f"{release.archive}/{member}")
                with source, (beside / member).open("wb") as out:
                    shutil.copyfileobj(source, out)
        beside.replace(target)
    except (zipfile.BadZipFile, KeyError, OSError) as error:
        raise UserError(
            f"`{archive}` should be GroupLens's {release.archive}.zip, and "
            f"`{target.parent}` writable. Received: {error}. Delete the file "
            f"to have it downloaded again, or choose another folder."
        ) from error
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return target


def read(folder: str | Path) -> Tables:
    """Reads a folder in one of four layouts.

    Args:
        folder: holds `*.inter`, `*.user`, `*.item` (RecBole), or `u.data`,
            `u.user`, `u.item` (100K), or `ratings.dat`, ... (1M), or
            `ratings.csv`, `movies.csv` (25M).

    Returns:
        Tables with the columns `user_id`, `item_id`, `rating`, `timestamp`;
        of users (not in 25M) `age`, `gender`, `occupation`, `zip_code` (only
        its first character, the region: a whole code nearly names the user);
        of items `title`, `release_year`, `genres` (joined by "|").

    Raises:
        UserError: when no layout is recognised, or a file is broken.

    Example:
    ```python
    tables = read("data/movielens-100k")
    ```
    """
    folder = Path(folder)
    inter = next(iter(sorted(folder.glob("*.inter"))), None)
    if inter:
        return _read_recbole(inter)
    if (folder / "u.data").exists():
        return _read_100k(folder)
    if (folder / "ratings.dat").exists():
        return _read_1m(folder)
    if (folder / "ratings.csv").exists():
        return _read_25m(folder)
    raise UserError(
        f"`{folder}` should hold a MovieLens release (u.data, ratings.dat, "
        f"ratings.csv or *.inter). Received: none of these. Delete the folder "
        f"to have it downloaded again."
    )


def _read_recbole(inter: Path) -> Tables:
    side = {}
    for kind in ("user", "item"):
        path = inter.with_suffix(f".{kind}")
        if path.exists():
            side[kind] = readers.read_table(path, text=[f"{kind}_id"])
    events = readers.read_table(inter, _EVENTS, text=_EVENTS[:2])
    items = side.get("item")
    if items is not None:
        items = items.rename(
            columns={
                "movie_title": "title",
                "class": "genres",
                "genre": "genres",
            }
        )
        # Genres are separated by blanks, which no genre contains.
        items["genres"] = items["genres"].str.replace(" ", "|", regex=False)
    return _tables(events, side.get("user"), items)


def _read_100k(folder: Path) -> Tables:
    events = delimited.read_delimited(
        folder / "u.data", "\t", names=_EVENTS, quoted=False
    ).to_pandas()
    users = _read_latin(
        folder / "u.user",
        "|",
        ["user_id", "age", "gender", "occupation", "zip_code"],
    )
    lines = (folder / "u.genre").read_text("utf-8").split()
    genres = [line.split("|")[0] for line in lines]
    names = ["item_id", "title", "date", "video_date", "url", *genres]
    items = _read_latin(folder / "u.item", "|", names)
    items["genres"] = _join_flags(items[genres])
    return _tables(events, users, _split_year(items))


def _read_1m(folder: Path) -> Tables:
    events = delimited.read_delimited(
        folder / "ratings.dat", "::", names=_EVENTS, quoted=False
    ).to_pandas()
    users = _read_latin(
        folder / "users.dat",
        "::",
        ["user_id", "gender", "age", "occupation", "zip_code"],
    )
    items = _read_latin(
        folder / "movies.dat", "::", ["item_id", "title", "genres"]
    )
    return _tables(events, users, _split_year(items), age_is_code=True)


def _read_25m(folder: Path) -> Tables:
    published = ["userId", "movieId", "rating", "timestamp"]
    events = readers.read_table(folder / "ratings.csv", published)
    events.columns = _EVENTS
    items = readers.read_table(folder / "movies.csv")
    items = items.rename(columns={"movieId": "item_id"})
    return _tables(events, None, _split_year(items))


def _read_latin(path: Path, delimiter: str, names: list[str]) -> pd.DataFrame:
    return delimited.read_delimited(
        path,
        delimiter,
        names=names,
        text=["title", "zip_code"],
        encoding="latin1",
        quoted=False,
    ).to_pandas()


def _join_flags(flags: pd.DataFrame) -> pd.Series:
    """Joins the names of the columns that hold 1, by "|"."""
    joined = pd.Series("", index=flags.index)
    for name in flags.columns:
        joined = joined.where(flags[name] != 1, joined + name + "|")
    return joined.str.rstrip("|")


def _split_year(items: pd.DataFrame) -> pd.DataFrame:
    """Separates the year from titles like "Toy Story (1995)"."""
    title = items["title"].str.strip()
    parts = title.str.extract(r"^(.*?)\s*\((\d{4})\)$")
    return items.assign(
        title=parts[0].where(parts[0].notna(), title), release_year=parts[1]
    )


def _tables(
    events: pd.DataFrame,
    users: pd.DataFrame | None,
    items: pd.DataFrame | None,
    age_is_code: bool = False,
) -> Tables:
    columns = [Column("user_id", Owner.USER, Encoding.ID)]
    if users is not None:
        users = users.assign(zip_code=users["zip_code"].astype(str).str[:1])
        columns += _user_columns(age_is_code)
    columns += [Column("item_id", Owner.ITEM, Encoding.ID)]
    if items is not None:
        names = ["item_id", "title", "release_year", "genres"]
        items = items[names].copy()
        for name in names[1:]:
            valid = ~items[name].isin(_UNKNOWN) & items[name].notna()
            items[name] = items[name].where(valid, None)
        items["title"] = items["title"].fillna("")
        columns += _item_columns()
    columns += [
        Column("rating", Owner.EVENT, Encoding.LABEL),
        Column("timestamp", Owner.EVENT, Encoding.TIME),
    ]
    return Tables(events, users, items, Schema(tuple(columns)))


def _user_columns(age_is_code: bool) -> list[Column]:
    # 1M publishes seven age groups, written as the lowest age of each.
    age = (
        Column("age", Owner.USER, Encoding.CATEGORY)
        if age_is_code
        else Column(
            "age", Owner.USER, Encoding.BUCKETS, num_buckets=_AGE_BUCKETS
        )
    )
    names = ("gender", "occupation", "zip_code")
    return [age, *(Column(n, Owner.USER, Encoding.CATEGORY) for n in names)]


def _item_columns() -> list[Column]:
    return [
        Column("title", Owner.ITEM, Encoding.TEXT),
        Column(
            "release_year",
            Owner.ITEM,
            Encoding.BUCKETS,
            num_buckets=_YEAR_BUCKETS,
        ),
        Column("genres", Owner.ITEM, Encoding.CATEGORIES),
    ]


DATASETS = {
    name: Dataset(read, partial(fetch, name), release.archive)
    for name, release in RELEASES.items()
}
