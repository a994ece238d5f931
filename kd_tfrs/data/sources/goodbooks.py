"""Reads goodbooks-10k: six million ratings of ten thousand books."""

from __future__ import annotations

from pathlib import Path

from kd_tfrs.data.formats import readers
from kd_tfrs.data.schema import Column, Encoding, Owner, Schema
from kd_tfrs.data.sources.dataset import Dataset
from kd_tfrs.data.sources.download import download
from kd_tfrs.data.tables import Tables
from kd_tfrs.errors import UserError

_URL = "https://raw.githubusercontent.com/zygmuntz/goodbooks-10k/master/{}"
_FILES = ("ratings.csv", "books.csv")
_BOOKS = {
    "book_id": "item_id",
    "title": "title",
    "authors": "authors",
    "original_publication_year": "release_year",
    "language_code": "language",
}
_RATINGS = (1, 5)  # the publisher's scale

SCHEMA = Schema(
    (
        Column("user_id", Owner.USER, Encoding.ID),
        Column("item_id", Owner.ITEM, Encoding.ID),
        Column("title", Owner.ITEM, Encoding.TEXT),
        Column("authors", Owner.ITEM, Encoding.CATEGORIES),
        Column("release_year", Owner.ITEM, Encoding.BUCKETS, num_buckets=10),
        Column("language", Owner.ITEM, Encoding.CATEGORY),
        Column("rating", Owner.EVENT, Encoding.LABEL),
    )
)


def fetch(folder: Path, progress: bool = True) -> Path:
    """Downloads the official CSV files; `read` verifies their structure.

    The publisher gives no checksums.

    Raises:
        UserError: when the download fails.
    """
    target = folder / "goodbooks-10k"
    for name in _FILES:
        download(_URL.format(name), target / name, progress=progress)
    return target


def is_complete(folder: Path) -> bool:
    """Whether both files are in the folder."""
    return all((folder / name).exists() for name in _FILES)


def read(folder: str | Path) -> Tables:
    """Reads `ratings.csv` and `books.csv`.

    Args:
        folder: folder of the files.

    Returns:
        Tables with `user_id`, `item_id` (the publisher's `book_id`),
        `rating`; of items `title`, `authors` (joined by "|"),
        `release_year`, `language`. There is no time.

    Raises:
        UserError: when a file is broken, or has other ratings or books than
            goodbooks-10k.

    Example:
    ```python
    tables = read("data/goodbooks-10k")
    ```
    """
    folder = Path(folder)
    path = folder / "ratings.csv"
    events = readers.read_table(path, ["user_id", "book_id", "rating"])
    events.columns = ["user_id", "item_id", "rating"]
    items = readers.read_table(folder / "books.csv", list(_BOOKS))
    items = items.rename(columns=_BOOKS)
    good = events["rating"].between(*_RATINGS)
    good &= events["item_id"].isin(items["item_id"])
    if not good.all():
        row = int((~good).to_numpy().argmax())
        raise UserError(
            f"`{path}` should rate books of books.csv from 1 to 5. Received: "
            f"{events.iloc[row].to_dict()} in row {row + 2}. Download both "
            f"files again."
        )
    authors = items["authors"].astype(str)
    items["authors"] = authors.str.replace(", ", "|", regex=False)
    return Tables(events, None, items, SCHEMA)


DATASETS = {"goodbooks-10k": Dataset(read, fetch, is_complete=is_complete)}
