"""The SavedModel in a folder of versions."""

from __future__ import annotations

from pathlib import Path

from kd_tfrs.errors import UserError


def version_folder(path: str | Path) -> Path:
    """Finds the SavedModel in a version folder or in a folder of versions.

    Args:
        path: the folder.

    Returns:
        `path` itself, or the folder below it with the greatest number.

    Raises:
        UserError: there is no SavedModel.

    Example:
    ```python
    version_folder("runs/first/export")  # runs/first/export/2
    ```
    """
    path = Path(path)
    if (path / "saved_model.pb").is_file():
        return path
    versions = [
        folder
        for folder in (path.iterdir() if path.is_dir() else ())
        if folder.name.isdecimal() and (folder / "saved_model.pb").is_file()
    ]
    if not versions:
        raise UserError(
            "`path` should be a SavedModel or a folder of its versions. "
            f"Received: {path}, which holds no saved_model.pb. Give the "
            "folder that the export wrote."
        )
    return max(versions, key=lambda folder: int(folder.name))
