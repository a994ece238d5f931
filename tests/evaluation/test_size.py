import gzip
import os

import numpy as np
import pytest

from kd_tfrs.errors import UserError
from kd_tfrs.evaluation import size_bytes, size_bytes_gzip


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "model" / "variables").mkdir(parents=True)
    (tmp_path / "model" / "saved_model.pb").write_bytes(b"\0" * 100_000)
    noise = np.random.default_rng(0).bytes(50_000)
    (tmp_path / "model" / "variables" / "data").write_bytes(noise)
    return tmp_path / "model"


def test_size_is_the_sum_of_all_files(folder):
    assert size_bytes(folder) == 150_000
    assert size_bytes(folder / "saved_model.pb") == 100_000


def test_gzip_shrinks_zeros_but_not_noise(folder):
    assert 50_000 < size_bytes_gzip(folder) < 51_500
    single = size_bytes_gzip(folder / "saved_model.pb")
    assert single < len(gzip.compress(b"\0" * 100_000)) + 300


def test_gzip_depends_on_content_only(folder, tmp_path):
    before = size_bytes_gzip(folder)
    os.utime(folder / "saved_model.pb", (1, 1))
    (folder / "saved_model.pb").chmod(0o600)
    assert size_bytes_gzip(folder.rename(tmp_path / "renamed")) == before


def test_nothing_there_raises(tmp_path):
    with pytest.raises(UserError, match="nothing is"):
        size_bytes(tmp_path / "gone")
    with pytest.raises(UserError, match="nothing is"):
        size_bytes_gzip(tmp_path / "gone")
