"""Colour, marker and line style of each stage, the same in all plots."""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

# Okabe and Ito's colours are distinguishable with colour blindness as well.
# Baselines, which have no teacher and no student, are grey.
_ORANGE, _SKY, _GREEN = "#E69F00", "#56B4E9", "#009E73"
_BLUE, _VERMILLION, _PURPLE = "#0072B2", "#D55E00", "#CC79A7"
_BLACK, _GREY, _DARK_GREY = "#000000", "#888888", "#555555"


@dataclass(frozen=True)
class StageStyle:
    """Style of a stage in all plots.

    Args:
        colour: as "#RRGGBB".
        marker: as matplotlib names it.
        line: style of a line, as matplotlib names it.

    Example:
    >>> StageStyle("#000000", "o").line
    '-'
    """

    colour: str
    marker: Any
    line: Any = "-"

    def curve(self) -> dict[str, Any]:
        """Arguments of `Axes.plot` for a line with markers."""
        return {
            "color": self.colour,
            "linestyle": self.line,
            "marker": self.marker,
            "linewidth": 1.5,
        }


_KNOWN = {
    "popularity": StageStyle(_GREY, "x"),
    "prior": StageStyle(_GREY, "+"),
    "als": StageStyle(_DARK_GREY, "X"),
    "lightgbm": StageStyle(_DARK_GREY, "h"),
    "teacher": StageStyle(_BLUE, "o"),
    "student": StageStyle(_ORANGE, "s"),
    "distilled": StageStyle(_GREEN, "D"),
    "pruned": StageStyle(_PURPLE, "v"),
    "int8": StageStyle(_VERMILLION, "^"),
    "pruned_int8": StageStyle(_SKY, "P"),
    "saved_model": StageStyle(_BLACK, "*"),
}
_KNOWN["teachers"] = _KNOWN["teacher"]
_KNOWN["student alone"] = _KNOWN["student"]
# Tuples are stars of so many points.
_MARKERS = ("<", "p", ">", "d", (4, 1, 0), (8, 1, 0), "H")
_LINES = ("--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)))
# Shades of the teacher's blue, away from the light blue of another stage.
_BLUES = ("#00273D", "#2F7FB0", "#004D79")
# Darker shades of the palette: no stage of the chain has one of them.
_DARK = ("#847C24", "#2F6585", "#005A42", "#7B3600", "#76405F")


def _product(colours: tuple[str, ...], lines: tuple) -> tuple[StageStyle, ...]:
    """Styles that share neither colour nor marker with the next few."""
    return tuple(
        StageStyle(
            colours[i % len(colours)],
            _MARKERS[i % len(_MARKERS)],
            lines[i % len(lines)],
        )
        for i in range(len(colours) * len(_MARKERS))
    )


_MEMBERS = _product(_BLUES, _LINES)
_OTHERS = _product(_DARK, ("-", *_LINES))


def stage_style(name: str) -> StageStyle:
    """Style of a single stage.

    Args:
        name: name of a stage, of one of the teacher's networks
            ("teacher_<kind>"), or any other name.

    Returns:
        The style, which depends on the name alone.

    Example:
    >>> stage_style("teacher").colour
    '#0072B2'
    """
    return stage_styles([name])[name]


def stage_styles(names: Iterable[str]) -> dict[str, StageStyle]:
    """Styles of the stages of one plot.

    A stage of the chain has a style of its own. A network of the teacher gets
    a shade of the teacher's colour, and any other name a darker shade of the
    palette, by a hash of the name. Of two names with the same hash, the second
    in alphabetical order gets the next free style.

    Example:
    >>> styles = stage_styles(["distilled", "my_model"])
    >>> styles["distilled"] == stage_style("distilled")
    True
    """
    names = list(dict.fromkeys(names))
    styles: dict[str, StageStyle] = {}
    uses: Counter = Counter()
    for name in sorted(names):
        choices = _choices(name)
        start = zlib.crc32(name.encode()) % len(choices)
        style = min(
            choices[start:] + choices[:start],
            key=lambda s: (uses[s], uses[s.colour], uses[s.marker]),
        )
        uses.update([style, style.colour, style.marker])
        styles[name] = style
    return {name: styles[name] for name in names}


def _choices(name: str) -> tuple[StageStyle, ...]:
    """Styles that a name may get."""
    if name in _KNOWN:
        return (_KNOWN[name],)
    return _MEMBERS if name.startswith("teacher_") else _OTHERS
