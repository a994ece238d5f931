import pytest

from kd_tfrs.data import datasets
from kd_tfrs.data.sources import goodbooks
from kd_tfrs.errors import UserError

BOOKS = """\
book_id,isbn,authors,original_publication_year,title,language_code
1,043965548X,"J.K. Rowling, Mary GrandPré",1999.0,"Harry Potter, #3",eng
2,2,Homer,-750.0,The Odyssey,
"""
RATINGS = "user_id,book_id,rating\n1,1,5\n1,2,4\n2,2,1\n"


def write(folder, ratings=RATINGS, books=BOOKS):
    folder.mkdir()
    (folder / "ratings.csv").write_text(ratings, "utf-8")
    (folder / "books.csv").write_text(books, "utf-8")
    return folder


def test_load(tmp_path):
    write(tmp_path / "goodbooks-10k")
    data = datasets.load("goodbooks-10k", data_dir=tmp_path)
    assert data.events.columns.tolist() == ["user_id", "item_id", "rating"]
    assert data.item_titles() == {1: "Harry Potter, #3", 2: "The Odyssey"}
    assert data.items["authors"].tolist() == [
        "J.K. Rowling|Mary GrandPré",
        "Homer",
    ]
    assert data.items["release_year"].tolist() == [1999, -750]
    assert data.items["language"].tolist() == ["eng", ""]
    assert data.schema.time is None


@pytest.mark.parametrize("row", ["3,1,9", "3,77,5"])
def test_ratings_that_cannot_be_of_goodbooks(tmp_path, row):
    folder = write(tmp_path / "books", RATINGS + row + "\n")
    with pytest.raises(UserError, match="row 5"):
        goodbooks.read(folder)


def test_missing_column(tmp_path):
    folder = write(tmp_path / "books", books="book_id,name\n1,x\n")
    with pytest.raises(UserError, match="`title`"):
        goodbooks.read(folder)


def test_fetch_asks_for_both_files(tmp_path, monkeypatch):
    requested = []

    def download(url, destination, *, progress):
        requested.append(url.rsplit("/", 1)[1])
        destination.parent.mkdir(exist_ok=True)
        content = BOOKS if "books.csv" in url else RATINGS
        destination.write_text(content, "utf-8")

    monkeypatch.setattr(goodbooks, "download", download)
    data = datasets.load("goodbooks-10k", data_dir=tmp_path, progress=False)
    assert requested == ["ratings.csv", "books.csv"]
    assert len(data.events) == 3
