"""The run folder: one configuration, one process, whole files."""

import json
import logging
import subprocess
import sys

import numpy as np
import pytest

from kd_tfrs.errors import UserError
from kd_tfrs.workflow.retrieval.config import Config
from kd_tfrs.workflow.run import Run, read_json


@pytest.fixture
def run(tmp_path):
    run = Run(tmp_path / "deep" / "run", Config(seed=1))
    yield run
    run.close()


def test_the_folder_tells_what_was_asked(run):
    flags = json.loads((run.directory / "flags.json").read_text())
    assert Config.from_flat(flags) == run.config
    environment = json.loads((run.directory / "environment.json").read_text())
    assert {"tensorflow", "tf-keras"} <= environment["packages"].keys()
    assert {"python", "commit", "processor", "cores"} <= environment.keys()


def test_the_same_flags_take_it_up_again(run):
    run.write_json("a/b.json", {"x": np.float32(0.5), "n": np.int64(3)})
    run.close()
    again = Run(run.directory, Config(seed=1))
    assert again.read_json("a/b.json") == {"x": 0.5, "n": 3}
    assert again.read_json("missing.json") is None
    again.close()


def test_a_run_that_made_nothing_yields_to_other_flags(run):
    run.close()
    other = Run(run.directory, Config(seed=2))
    assert other.read_json("flags.json")["seed"] == 2
    other.close()


def test_a_folder_with_an_old_flag_name_says_the_new_one(run):
    run.check_data("a" * 64)
    run.close()
    path = run.directory / "flags.json"
    flags = json.loads(path.read_text())
    flags["distillation_over"] = flags.pop("distillation_candidates")
    path.write_text(json.dumps(flags))
    with pytest.raises(UserError) as error:
        Run(run.directory, Config(seed=1))
    assert "`--distillation_candidates` now" in str(error.value)
    assert "\n" not in str(error.value)


def test_other_flags_are_refused_with_the_difference(run):
    run.check_data("a" * 64)
    run.close()
    other = Config.from_flat({"seed": 2, "teacher_epochs": 3})
    with pytest.raises(UserError) as error:
        Run(run.directory, other)
    was = Config().teacher.epochs
    assert "--seed was 1, now 2" in str(error.value)
    assert f"--teacher_epochs was {was}, now 3" in str(error.value)
    assert "--student_epochs" not in str(error.value)
    Run(run.directory, run.config).close()


def test_a_refused_run_holds_no_lock(run):
    run.check_data("a" * 64)
    run.close()
    with pytest.raises(UserError):
        Run(run.directory, Config(seed=2))
    Run(run.directory, Config(seed=1)).close()


def test_another_process_is_kept_out(run):
    # The lock alone: the other process need not import TensorFlow.
    code = (
        "import fcntl, sys\n"
        "fcntl.flock(open(sys.argv[1], 'w'), fcntl.LOCK_EX | fcntl.LOCK_NB)\n"
    )
    command = [sys.executable, "-c", code, str(run.directory / ".lock")]
    assert subprocess.run(command, capture_output=True).returncode != 0
    with pytest.raises(UserError, match="Another process"):
        Run(run.directory, run.config)
    run.close()
    assert subprocess.run(command, capture_output=True).returncode == 0


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="--run_dir"):
        Run(tmp_path / "file" / "run", Config())


def test_changed_data_is_refused(run):
    run.check_data("a" * 64)
    run.check_data("a" * 64)
    with pytest.raises(UserError, match="data has changed"):
        run.check_data("b" * 64)


def test_json_is_written_beside(run):
    run.write_json("metrics.json", {"whole": True})
    with pytest.raises(ValueError, match="nan"):
        run.write_json("metrics.json", {"whole": float("nan")})
    with pytest.raises(TypeError, match="has no place"):
        run.write_json("metrics.json", {"whole": object()})
    assert run.read_json("metrics.json") == {"whole": True}


def test_a_write_that_fails_leaves_the_old_weights(run, monkeypatch):
    weights = [np.arange(6, dtype=np.float32).reshape(2, 3), np.array(2.5)]
    run.save_weights("student", weights)

    def torn(file, *arrays):
        file.write(b"half of")
        raise OSError("No space left on device")

    monkeypatch.setattr(np, "savez", torn)
    with pytest.raises(OSError, match="No space"):
        run.save_weights("student", [np.zeros(9)])
    for kept, array in zip(run.load_weights("student"), weights, strict=True):
        np.testing.assert_array_equal(kept, array)
        assert kept.dtype == array.dtype
    assert run.load_weights("teacher") is None


def test_damaged_files_are_named(run):
    run.save_weights("student", [np.zeros(9)])
    path = run.directory / "weights" / "student.npz"
    path.write_bytes(path.read_bytes()[:30])
    with pytest.raises(UserError, match=r"student\.npz"):
        run.load_weights("student")
    (run.directory / "stages.json").write_text('{"a": ')
    with pytest.raises(UserError, match=r"stages\.json"):
        run.read_json("stages.json")


def test_only_the_last_run_writes_the_log(run, tmp_path):
    logger = logging.getLogger("kd_tfrs.anything")
    logger.info("to the first")
    other = Run(tmp_path / "other", Config())
    logger.info("to the second")
    other.close()
    logger.info("to nobody")
    assert "to the first" in (run.directory / "log.txt").read_text()
    log = (other.directory / "log.txt").read_text()
    assert "to the second" in log
    assert "first" not in log
    assert "nobody" not in log


def test_a_file_of_a_folder_that_is_not_open_is_read_or_named(tmp_path):
    path = tmp_path / "flags.json"
    path.write_text('{"seed": 3}')
    assert read_json(path) == {"seed": 3}
    path.write_text('{"seed"')
    with pytest.raises(UserError, match=r"flags\.json .* a damaged file"):
        read_json(path)
