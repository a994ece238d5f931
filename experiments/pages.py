r"""The parts of README.md and docs/ that come from experiments/results.

A page marks them with comments, and `refresh` writes what stands between:

    <!-- table: synthetic/stages.txt -->
    <!-- end -->

* `table`: the first table of a file below experiments/results, under the
  command in the `command.txt` of its folder, where there is one;
* `file`: all of a Markdown file but its title, under the command likewise;
* `tests`: the list of paired tests of a file;
* `sentence`: the closing sentence in a `metrics.json`.

A part whose file does not exist yet is empty.
"""

from __future__ import annotations

import dataclasses
import json
import re
import textwrap
from pathlib import Path

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "experiments" / "results"
_PART = re.compile(
    r"(<!-- (table|file|tests|sentence): (\S+) -->\n)(.*?)(<!-- end -->)", re.S
)
_WIDTH = 79


@dataclasses.dataclass(frozen=True)
class Part:
    """A marked part of a page.

    Args:
        kind: "table", "file", "tests" or "sentence".
        source: a file, relative to experiments/results.
        content: what stands there now.
        before: the text of the page above it.
    """

    kind: str
    source: str
    content: str
    before: str


def pages(root: Path = ROOT) -> list[Path]:
    """README.md and the pages of docs/.

    Args:
        root: folder of the repository.

    Returns:
        Files that exist, sorted.
    """
    return [root / "README.md", *sorted((root / "docs").glob("*.md"))]


def parts(text: str) -> list[Part]:
    """The marked parts of a page.

    Args:
        text: the page.

    Returns:
        The parts, from top to bottom.
    """
    return [
        Part(found[2], found[3], found[4], text[: found.start()])
        for found in _PART.finditer(text)
    ]


def refreshed(text: str, results: Path = RESULTS) -> str:
    """A page with all its parts written anew.

    Args:
        text: the page.
        results: folder of the results.

    Returns:
        The page.
    """
    return _PART.sub(
        lambda found: (
            found[1] + written(found[2], found[3], results) + found[5]
        ),
        text,
    )


def refresh(root: Path = ROOT, results: Path = RESULTS) -> list[Path]:
    """Writes the parts of all pages anew.

    Args:
        root: folder of the repository.
        results: folder of the results.

    Returns:
        The pages that have changed.
    """
    changed = []
    for page in pages(root):
        before = page.read_text()
        after = refreshed(before, results)
        if after != before:
            page.write_text(after)
            changed.append(page)
    return changed


def written(kind: str, source: str, results: Path = RESULTS) -> str:
    """What stands between the marks of a part.

    Args:
        kind: see `Part`.
        source: see `Part`.
        results: folder of the results.

    Returns:
        Lines that end in a line break; empty where there is no such file, or
        nothing of that kind in it.
    """
    path = results / source
    if not path.is_file():
        return ""
    text = path.read_text()
    if kind == "sentence":
        sentence = json.loads(text).get("sentence")
        if not sentence:
            return ""
        return textwrap.fill(f"> {sentence}", subsequent_indent="> ") + "\n"
    if kind == "tests":
        return "\n" + _lines(text, "* ")
    shown = _untitled(text) if kind == "file" else _table(text, path.suffix)
    return _command(source, results) + shown


def wrapped(command: str) -> str:
    r"""A command over several lines, broken before flags.

    Args:
        command: one line.

    Returns:
        Lines of at most 79 characters, where its flags are short enough.

    Example:
    >>> wrapped("make run")
    'make run'
    """
    lines, indent = [""], "    "
    for word in re.split(r" (?=--)", command.strip()):
        joined = f"{lines[-1]} {word}" if lines[-1] else word
        if lines[-1] and len(joined) > _WIDTH - 2:
            lines.append(indent + word)
        else:
            lines[-1] = joined
    return " \\\n".join(lines)


def _command(source: str, results: Path) -> str:
    path = results / Path(source).parts[0] / "command.txt"
    if not path.is_file():
        return ""
    return f"```bash\n{wrapped(path.read_text())}\n```\n\n"


def _table(text: str, suffix: str) -> str:
    if suffix == ".txt":
        return f"```text\n{text.rstrip()}\n```\n"
    return _lines(text, "|")


def _untitled(text: str) -> str:
    return re.sub(r"\A# .*\n+", "", text).rstrip() + "\n"


def _lines(text: str, start: str) -> str:
    """The first lines in a row that start so."""
    found = []
    for line in text.splitlines():
        if line.startswith(start):
            found.append(line)
        elif found:
            break
    return "".join(f"{line}\n" for line in found)
