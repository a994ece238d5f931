"""Files that are complete wherever they exist."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Renames a partial file to its final path once it is written.

    A process that stops while it writes leaves a hidden partial file behind
    and the previous file, if any, unchanged. The next call overwrites the
    partial file.

    Args:
        path: the final path. Its folder exists, and a file of this name is
            replaced.

    Yields:
        The path to write to: a hidden file in the same folder, named
        `.{name}.partial`.

    Example:
    ```python
    with replacing(folder / "metrics.json") as partial:
        partial.write_text("{}")
    ```
    """
    partial = path.with_name(f".{path.name}.partial")
    yield partial
    partial.rename(path)
