"""Version folders of TensorFlow Serving, verified before they are visible."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

import pandas as pd
import tensorflow as tf

from kd_tfrs.errors import UserError


class Servable(Protocol):
    """A `tf.Module` that has signatures, such as `RetrievalModule`."""

    def signatures(self) -> dict[str, tf.types.experimental.ConcreteFunction]:
        """The signatures by name."""


def export_saved_model(
    module: Servable,
    base_dir: str | os.PathLike,
    *,
    verify: Callable[[Path], object] | None = None,
    items: pd.DataFrame | None = None,
) -> Path:
    """Exports the next version of a model for TensorFlow Serving.

    The folder is written under a name that TensorFlow Serving ignores,
    verified, and then renamed to its version number. If a step fails, the
    existing versions stay unchanged.

    Args:
        module: the module to export.
        base_dir: the model's folder; versions are its numbered children.
        verify: a function that is called with the folder before it is
            renamed. An exception from it ends the export. See `verify_export`.
        items: a table (ids, titles) for clients, which is stored with the
            model as `assets.extra/items.parquet`.

    Returns:
        The new version's folder.

    Raises:
        UserError: the folder cannot be written.

    Example:
    ```python
    version = export_saved_model(module, "models/retrieval")
    ```
    """
    return next_version(
        Path(base_dir), lambda folder: _write(module, folder, items), verify
    )


def copy_version(version: Path, base_dir: str | os.PathLike) -> Path:
    """Copies an export as the next version of another folder.

    Args:
        version: a version folder.
        base_dir: the other model's folder.

    Returns:
        The new version's folder.

    Raises:
        UserError: the folder cannot be written.
    """
    return next_version(
        Path(base_dir), lambda folder: shutil.copytree(version, folder)
    )


def next_version(
    base_dir: Path,
    write: Callable[[Path], object],
    verify: Callable[[Path], object] | None = None,
) -> Path:
    """Writes a folder beside the versions, and renames it to the next number.

    Args:
        base_dir: the model's folder.
        write: makes the folder that it is called with.
        verify: see `export_saved_model`.

    Returns:
        The new version's folder.

    Raises:
        UserError: the folder cannot be written.
    """
    partial = base_dir / f".partial-{os.getpid()}"
    try:
        with _named_errors(base_dir):
            base_dir.mkdir(parents=True, exist_ok=True)
            # A killed process with the same id may have left a folder.
            shutil.rmtree(partial, ignore_errors=True)
            write(partial)
        if verify is not None:
            verify(partial)
        version = base_dir / str(1 + max(versions(base_dir), default=0))
        with _named_errors(base_dir):
            os.rename(partial, version)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return version


def _write(module: Servable, folder: Path, items: pd.DataFrame | None) -> None:
    tf.saved_model.save(module, str(folder), signatures=module.signatures())
    if items is not None:
        extra = folder / "assets.extra"
        extra.mkdir()
        items.to_parquet(extra / "items.parquet", index=False)


@contextlib.contextmanager
def _named_errors(base_dir: Path) -> Iterator[None]:
    # File errors of TensorFlow are not OSErrors.
    try:
        yield
    except (OSError, tf.errors.OpError) as error:
        reason = " ".join(str(error).split())
        raise UserError(
            f"The export should be written below {base_dir}. Received: "
            f"{reason}. Check the path, its rights and the space left."
        ) from error


def versions(base_dir: str | os.PathLike) -> list[int]:
    """The versions in a model's folder, ascending.

    Args:
        base_dir: the model's folder.

    Returns:
        Version numbers; empty where the folder does not exist.
    """
    base_dir = Path(base_dir)
    if not base_dir.is_dir():
        return []
    names = (path.name for path in base_dir.iterdir() if path.is_dir())
    return sorted(int(name) for name in names if name.isdecimal())
