"""Version folders: next number, all or nothing, old ones untouched."""

import hashlib
import os

import pandas as pd
import pytest
import tensorflow as tf

from kd_tfrs.errors import UserError
from kd_tfrs.export import export_saved_model, saved_model, versions


def contents(folder):
    """Every path below a folder; files by the hash of their bytes."""
    return {
        str(path.relative_to(folder)): (
            hashlib.sha256(path.read_bytes()).hexdigest()
            if path.is_file()
            else None
        )
        for path in folder.rglob("*")
    }


@pytest.fixture
def module(served_by_kind):
    return served_by_kind[int].module


@pytest.fixture
def quick_save(monkeypatch):
    """Stands in for TensorFlow's own writing where it is not the matter."""

    def save(module, folder, signatures):
        os.makedirs(folder)
        with open(os.path.join(folder, "saved_model.pb"), "wb") as file:
            file.write(b"a model")

    monkeypatch.setattr(saved_model.tf.saved_model, "save", save)


@pytest.fixture
def base_dir(tmp_path, module, quick_save):
    """A folder with the versions 1 and 2."""
    base_dir = tmp_path / "models" / "retrieval"
    export_saved_model(module, base_dir)
    export_saved_model(module, base_dir)
    return base_dir


def test_a_version_folder_is_what_tensorflow_serving_reads(served):
    assert served.path.name == "1"
    assert (served.path / "saved_model.pb").is_file()
    assert (served.path / "variables" / "variables.index").is_file()
    assert [path.name for path in served.path.parent.iterdir()] == ["1"]


def test_items_stand_beside_the_model(served):
    items = pd.read_parquet(served.path / "assets.extra" / "items.parquet")
    assert items["item_id"].tolist() == served.items
    assert items["title"].tolist() == served.catalogue.items["title"].tolist()


def test_without_items_there_are_no_extra_assets(base_dir):
    assert not (base_dir / "1" / "assets.extra").exists()


def test_versions_count_up_from_the_greatest(base_dir, module):
    assert versions(base_dir) == [1, 2]
    (base_dir / "10").mkdir()
    (base_dir / "notes").mkdir()
    (base_dir / "99").write_text("a file is not a version")
    assert export_saved_model(module, base_dir) == base_dir / "11"
    assert versions(base_dir) == [1, 2, 10, 11]


def test_there_are_no_versions_where_there_is_no_folder(tmp_path):
    assert versions(tmp_path / "nowhere") == []


def test_verify_sees_all_of_it_before_it_is_a_version(base_dir, module):
    seen = []

    def verify(path):
        seen.append((path.parent, sorted(os.listdir(path)), path.name))
        assert versions(base_dir) == [1, 2]

    items = pd.DataFrame({"item_id": [1]})
    export_saved_model(module, base_dir, verify=verify, items=items)
    ((parent, names, name),) = seen
    assert parent == base_dir
    assert not name.isdecimal()
    assert names == ["assets.extra", "saved_model.pb"]


class Killed(BaseException):
    """Stands for KeyboardInterrupt and the like."""


@pytest.mark.parametrize("error", [UserError, RuntimeError, Killed])
def test_a_failing_verify_changes_nothing(base_dir, module, error):
    before = contents(base_dir)

    def verify(path):
        raise error("it differs")

    with pytest.raises(error, match="it differs"):
        export_saved_model(module, base_dir, verify=verify)
    assert contents(base_dir) == before


@pytest.mark.parametrize(
    ("error", "raised"),
    [
        (OSError(28, "No space left on device"), UserError),
        # What TensorFlow's file system raises is no OSError.
        (tf.errors.ResourceExhaustedError(None, None, "No space"), UserError),
        (RuntimeError("No space in the graph"), RuntimeError),
    ],
)
def test_a_failing_save_changes_nothing(
    base_dir, module, monkeypatch, error, raised
):
    before = contents(base_dir)

    def save(module, folder, signatures):
        os.makedirs(os.path.join(folder, "variables"))
        raise error

    monkeypatch.setattr(saved_model.tf.saved_model, "save", save)
    with pytest.raises(raised, match="No space"):
        export_saved_model(module, base_dir)
    assert contents(base_dir) == before


def test_a_failing_rename_changes_nothing(base_dir, module, monkeypatch):
    before = contents(base_dir)
    # Another process has taken the same number in the meantime.
    monkeypatch.setattr(saved_model, "versions", lambda _: [1])
    with pytest.raises(UserError, match="The export should be written below"):
        export_saved_model(module, base_dir)
    assert contents(base_dir) == before


def test_what_a_killed_process_left_is_not_in_the_way(base_dir, module):
    left = base_dir / f".partial-{os.getpid()}"
    (left / "assets.extra").mkdir(parents=True)
    (left / "half").write_text("written")
    items = pd.DataFrame({"item_id": [1]})
    version = export_saved_model(module, base_dir, items=items)
    assert not left.exists()
    assert not (version / "half").exists()


def test_a_file_in_place_of_the_folder_is_one_clear_error(tmp_path, module):
    taken = tmp_path / "model"
    taken.write_text("not a folder")
    with pytest.raises(UserError, match=r"written below .*model\. Received"):
        export_saved_model(module, taken)
    with pytest.raises(UserError, match="written below") as raised:
        export_saved_model(module, taken / "deeper")
    assert "\n" not in str(raised.value)
    assert taken.read_text() == "not a folder"


def test_tensorflows_own_file_errors_are_one_clear_line(tmp_path, module):
    # A file where the partial folder should come, and TensorFlow does write.
    (tmp_path / f".partial-{os.getpid()}").write_text("a file")
    with pytest.raises(UserError, match="written below") as raised:
        export_saved_model(module, tmp_path)
    assert "\n" not in str(raised.value)
    assert versions(tmp_path) == []
