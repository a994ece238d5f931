"""What a teacher cache says of itself, and whose it is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

from kd_tfrs.errors import UserError
from kd_tfrs.files import replacing

FORMAT = 2
MANIFEST = "manifest.json"


class Fingerprint(NamedTuple):
    """The teacher and the data of a cache.

    Args:
        teacher: of the teacher's weights and of how it was asked.
        data: of the data and of the split.

    Example:
    >>> Fingerprint("a81c", "77d0").teacher
    'a81c'
    """

    teacher: str
    data: str = ""

    @classmethod
    def of(cls, given: Fingerprint | tuple[str, str] | str) -> Fingerprint:
        """The same of what a user gives; a text is the teacher's alone."""
        return cls(given) if isinstance(given, str) else cls(*given)


def claim(directory: Path, manifest: dict) -> None:
    """Writes the manifest of a new cache, or compares it with the one there.

    Args:
        directory: of the cache; made when missing.
        manifest: what the cache is to be.

    Raises:
        UserError: the directory holds another cache.
    """
    directory.mkdir(parents=True, exist_ok=True)
    found = read_manifest(directory)
    if found is None:
        with replacing(directory / MANIFEST) as partial:
            partial.write_text(json.dumps(manifest, indent=1) + "\n")
        return
    check_whose(
        directory,
        found,
        Fingerprint(
            manifest["teacher_fingerprint"], manifest["data_fingerprint"]
        ),
    )
    if found != manifest:
        changed = [k for k in manifest if found.get(k) != manifest[k]]
        raise UserError(
            f"The teacher cache in {directory} is another one: "
            + ", ".join(
                f"`{k}` is {found.get(k)!r}, asked for {manifest[k]!r}"
                for k in changed
            )
            + ". Use another directory, or delete this one."
        )


def check_whose(
    directory: Path, manifest: dict, fingerprint: Fingerprint
) -> None:
    """Refuses the cache of another teacher, or of other data.

    Args:
        directory: of the cache.
        manifest: what it says.
        fingerprint: what was asked for.

    Raises:
        UserError: naming which of the two does not match.
    """
    if manifest.get("format") != FORMAT:
        raise UserError(
            f"The teacher cache in {directory} should be of format {FORMAT}. "
            f"Received: format {manifest.get('format')}. Delete it and build "
            "it again."
        )
    for part, asked in fingerprint._asdict().items():
        cached = manifest[f"{part}_fingerprint"]
        if cached != asked:
            other = "another teacher" if part == "teacher" else "other data"
            raise UserError(
                f"The teacher cache in {directory} is of {other}. Received: "
                f"{part} fingerprint {asked[:12] or 'none'}, the cache has "
                f"{cached[:12] or 'none'}. Use another directory, or delete "
                "this one."
            )


def read_manifest(directory: Path) -> dict | None:
    """What a cache says of itself, or `None` where there is none."""
    path = directory / MANIFEST
    return json.loads(path.read_text()) if path.exists() else None
