"""The manifest of a teacher cache, and its fingerprint."""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

from kd_tfrs.errors import UserError
from kd_tfrs.files import replacing

FORMAT = 2
MANIFEST = "manifest.json"


class Fingerprint(NamedTuple):
    """Identifies the teacher and the data of a cache.

    Args:
        teacher: of the teacher's weights and of its options.
        data: of the data and of the split.

    Example:
    >>> Fingerprint("a81c", "77d0").teacher
    'a81c'
    """

    teacher: str
    data: str = ""

    @classmethod
    def of(cls, given: Fingerprint | tuple[str, str] | str) -> Fingerprint:
        """A fingerprint from a tuple, or from the teacher's string alone."""
        return cls(given) if isinstance(given, str) else cls(*given)


def claim(directory: Path, manifest: dict) -> None:
    """Writes the manifest of a new cache, or checks an existing one.

    Args:
        directory: of the cache; created when missing.
        manifest: description of the cache.

    Raises:
        UserError: the directory holds another cache.
    """
    directory.mkdir(parents=True, exist_ok=True)
    existing = read_manifest(directory)
    if existing is None:
        with replacing(directory / MANIFEST) as partial:
            partial.write_text(json.dumps(manifest, indent=1) + "\n")
        return
    check_fingerprint(
        directory,
        existing,
        Fingerprint(
            manifest["teacher_fingerprint"], manifest["data_fingerprint"]
        ),
    )
    if existing != manifest:
        changed = [k for k in manifest if existing.get(k) != manifest[k]]
        raise UserError(
            f"The teacher cache in {directory} is another one: "
            + ", ".join(
                f"`{k}` is {existing.get(k)!r}, requested {manifest[k]!r}"
                for k in changed
            )
            + ". Use another directory, or delete this one."
        )


def check_fingerprint(
    directory: Path, manifest: dict, fingerprint: Fingerprint
) -> None:
    """Checks that a cache is of the given teacher and data.

    Args:
        directory: of the cache.
        manifest: of the cache.
        fingerprint: the expected fingerprint.

    Raises:
        UserError: teacher or data do not match.
    """
    if manifest.get("format") != FORMAT:
        raise UserError(
            f"The teacher cache in {directory} should be of format {FORMAT}. "
            f"Received: format {manifest.get('format')}. Delete it and build "
            "it again."
        )
    for part, expected in fingerprint._asdict().items():
        cached = manifest[f"{part}_fingerprint"]
        if cached != expected:
            other = "another teacher" if part == "teacher" else "other data"
            raise UserError(
                f"The teacher cache in {directory} is of {other}. Received: "
                f"{part} fingerprint {expected[:12] or 'none'}, the cache has "
                f"{cached[:12] or 'none'}. Use another directory, or delete "
                "this one."
            )


def read_manifest(directory: Path) -> dict | None:
    """The manifest of a cache, or `None` where there is none."""
    path = directory / MANIFEST
    return json.loads(path.read_text()) if path.exists() else None
