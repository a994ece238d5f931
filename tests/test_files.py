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


def write_half(path):
    with replacing(path) as partial:
        partial.write_text("ne")
        raise OSError("The disk is full.")


def test_a_failed_write_keeps_the_previous_file(tmp_path):
    path = tmp_path / "metrics.json"
    path.write_text("old")
    with pytest.raises(OSError, match="disk"):
        write_half(path)
    assert path.read_text() == "old"
    assert (tmp_path / ".metrics.json.partial").read_text() == "ne"
