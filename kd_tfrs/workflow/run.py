"""A run folder: options, results, and checkpoints to resume from."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import importlib.metadata
import json
import logging
import os
import platform
import subprocess
import zipfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from kd_tfrs.errors import UserError
from kd_tfrs.files import replacing
from kd_tfrs.workflow.options import FlatConfig, check_renamed

_PACKAGES = (
    "tensorflow",
    "tf-keras",
    "tensorflow-recommenders",
    "tensorflow-model-optimization",
    "numpy",
    "pandas",
)
_FLAGS = "flags.json"
_BARE = {_FLAGS, "environment.json", "log.txt", ".lock"}


class Run:
    """One folder, one configuration, one process at a time.

    Everything in it is written beside and renamed. A folder of a run that
    was stopped is taken up again by the same flags, and refused to others.

    Args:
        directory: made when missing.
        config: the options.
        log: write `log.txt`; a run that is a part of another leaves the log
            to that one.

    Raises:
        UserError: the folder belongs to other flags, or another process is
            at work in it.

    Example:
    ```python
    run = Run("runs/first", Config(seed=1))
    ```
    """

    def __init__(
        self,
        directory: str | os.PathLike,
        config: FlatConfig,
        *,
        log: bool = True,
    ) -> None:
        self.directory = Path(directory)
        self.config = config
        self._logs = log
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            self._lock = (self.directory / ".lock").open("w")
        except OSError as error:
            raise _unwritable(self.directory, error.errno) from None
        try:
            self._claim()
        except UserError:
            # Else the error itself would hold the lock, by its traceback.
            self._lock.close()
            raise
        if log:
            self._log_to_file()

    def path(self, *parts: str) -> Path:
        """A path in the folder; its parent is made."""
        path = self.directory.joinpath(*parts)
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def write_json(self, name: str, value: Any) -> Path:
        """Writes a JSON file that is complete wherever it exists."""
        text = json.dumps(value, indent=1, allow_nan=False, default=_plain)
        return self.write_text(name, text + "\n")

    def write_text(self, name: str, text: str) -> Path:
        """Writes a text file that is complete wherever it exists."""
        path = self.path(name)
        with replacing(path) as partial:
            partial.write_text(text, encoding="utf-8")
        return path

    def read_json(self, name: str) -> Any | None:
        """Reads a JSON file of the folder; `None` where there is none."""
        path = self.directory / name
        return read_json(path) if path.exists() else None

    def save_weights(self, name: str, weights: list[np.ndarray]) -> None:
        """Keeps a list of arrays under `weights/<name>.npz`."""
        save_weights(self.path("weights", f"{name}.npz"), weights)

    def load_weights(self, name: str) -> list[np.ndarray] | None:
        """The inverse of `save_weights`; `None` where there are none."""
        path = self.directory / "weights" / f"{name}.npz"
        return load_weights(path) if path.exists() else None

    def close(self) -> None:
        """Lets others into the folder; what is in it stays readable."""
        self._lock.close()
        if self._logs:
            _stop_logging()

    def check_data(self, fingerprint: str, what: str = "data") -> None:
        """Ties the folder to its data.

        Args:
            fingerprint: of the data.
            what: it is of, for the error.

        Raises:
            UserError: the folder was made from other data.
        """
        found = self.read_json("data.json")
        if found is None:
            self.write_json("data.json", {"fingerprint": fingerprint})
        elif found["fingerprint"] != fingerprint:
            raise UserError(
                f"The {what} has changed since {self.directory} was made. "
                f"Received: fingerprint {fingerprint[:12]}, the run has "
                f"{found['fingerprint'][:12]}. Use another `--run_dir`."
            )

    def _claim(self) -> None:
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise UserError(
                f"Another process is at work in {self.directory}. Wait for "
                "it, or choose another `--run_dir`."
            ) from None
        found = self.read_json(_FLAGS)
        if found is None or self._is_bare():
            self.write_json(_FLAGS, self.config.flat())
            self.write_json("environment.json", environment())
            return
        check_renamed(found, f"{self.directory / _FLAGS}")
        found, task = {"task": "retrieval", **found}, self.config.task
        differences = changed_flags(found, self.config)
        if found["task"] != task:
            # Options of one task do not apply to the other.
            differences = f"--task was {found['task']!r}, now {task!r}"
        if differences:
            raise UserError(
                f"`--run_dir` {self.directory} was made by other flags: "
                f"{differences}. Use these flags again, or another folder."
            )

    def _is_bare(self) -> bool:
        """Whether nothing was made, as when the data could not be read."""
        return {path.name for path in self.directory.iterdir()} <= _BARE

    def _log_to_file(self) -> None:
        # Only the last run of a process writes: seeds come one by one.
        _stop_logging()
        logger = logging.getLogger("kd_tfrs")
        handler = logging.FileHandler(self.path("log.txt"), encoding="utf-8")
        handler.setFormatter(
            logging.Formatter("%(asctime)s %(name)s %(message)s")
        )
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)


def _stop_logging() -> None:
    logger = logging.getLogger("kd_tfrs")
    for handler in list(logger.handlers):
        if isinstance(handler, logging.FileHandler):
            logger.removeHandler(handler)
            handler.close()


def check_writable(directory: str | os.PathLike) -> None:
    """Refuses a place where no run folder can be; makes nothing.

    Raises:
        UserError: it is a file, or cannot be written.
    """
    path = Path(directory).absolute()
    place = next(p for p in (path, *path.parents) if p.exists())
    if not place.is_dir():
        raise _unwritable(path, errno.ENOTDIR)
    if not os.access(place, os.W_OK | os.X_OK):
        raise _unwritable(path, errno.EACCES)


def check_run_folder(directory: str | os.PathLike, config: FlatConfig) -> None:
    """Refuses a folder that `Run` would refuse; a new one is not made.

    Raises:
        UserError: see `Run`.
    """
    check_writable(directory)
    if Path(directory).exists():
        Run(directory, config, log=False).close()


def _unwritable(directory: Path, code: int) -> UserError:
    return UserError(
        "`--run_dir` should be a folder that can be written. Received: "
        f"{directory} ({os.strerror(code)}). Choose another one."
    )


@contextlib.contextmanager
def _named_damage(path: Path) -> Iterator[None]:
    try:
        yield
    # What `json` and `numpy` raise for files that end early.
    except (ValueError, EOFError, zipfile.BadZipFile) as error:
        raise UserError(
            f"{path} should be as a run has written it. Received: a damaged "
            f"file ({error}). Use another `--run_dir`, or delete this one."
        ) from None


def changed_flags(
    found: dict[str, Any],
    config: FlatConfig,
    counts: Callable[[str], bool] = lambda flag: True,
) -> str:
    """Compares the flags of a run folder with a configuration.

    Args:
        found: flags of the folder; one that is missing has its default, since
            a folder may be older than a flag.
        config: the options.
        counts: which flags are compared; all by default.

    Returns:
        The flags that differ, with both values; empty where none does.
    """
    default, given = (
        json.loads(json.dumps(c.flat())) for c in (type(config)(), config)
    )
    found = {**default, **found}
    return ", ".join(
        f"--{flag} was {found[flag]!r}, now {value!r}"
        for flag, value in given.items()
        if counts(flag) and found[flag] != value
    )


def read_json(path: Path) -> Any:
    """Reads a JSON file of a run folder that nobody has opened.

    Raises:
        UserError: it is damaged.

    Example:
    ```python
    read_json(Path("runs/mine/flags.json"))["dataset"]
    ```
    """
    with _named_damage(path):
        return json.loads(path.read_text("utf-8"))


def save_weights(path: Path, weights: Sequence[np.ndarray]) -> None:
    """Writes a list of arrays that is complete wherever it exists."""
    with replacing(path) as partial, partial.open("wb") as file:
        np.savez(file, *weights)


def load_weights(path: Path) -> list[np.ndarray]:
    """The inverse of `save_weights`."""
    with _named_damage(path), np.load(path) as arrays:
        return [arrays[f"arr_{i}"] for i in range(len(arrays.files))]


def environment() -> dict[str, Any]:
    """Versions, commit and hardware, for `metrics.json`."""
    return {
        "python": platform.python_version(),
        "packages": {p: importlib.metadata.version(p) for p in _PACKAGES},
        "commit": _commit(),
        "machine": platform.machine(),
        "system": platform.system(),
        "processor": _processor(),
        "cores": os.cpu_count(),
    }


def _commit() -> str | None:
    here = Path(__file__).parent
    command = ["git", "-C", str(here), "describe", "--always", "--dirty"]
    try:
        found = subprocess.run(
            command, capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return found.stdout.strip()


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor()


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{type(value).__name__} has no place in JSON")
