import pytest

from kd_tfrs.files import replacing


def test_replaces_the_previous_file(tmp_path):
    path = tmp_path / "metrics.json"
    path.write_text("old")
    with replacing(path) as partial:
        partial.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_a_failed_write_keeps_the_previous_file(tmp_path):
    path = tmp_path / "metrics.json"
    path.write_text("old")
    writing = replacing(path)
    writing.__enter__().write_text("ne")
    full = OSError("The disk is full.")
    with pytest.raises(OSError, match="disk"):
        writing.__exit__(OSError, full, None)
    assert path.read_text() == "old"
    assert (tmp_path / ".metrics.json.partial").read_text() == "ne"
