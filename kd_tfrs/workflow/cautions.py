"""Warnings of a run: where its result is not to be trusted.

Each function returns a line, or `None` where there is nothing to warn of;
`Cautions` prints the lines and keeps them for `metrics.json` and `stages.md`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from kd_tfrs.evaluation.lead import format_p_value

_LEVEL = 0.05


class Cautions:
    """The warnings of a run, each printed once.

    Args:
        say: prints a line for a person.

    Example:
    >>> cautions = Cautions(print)
    >>> cautions.add("the test set has no events")
    warning: the test set has no events
    >>> cautions.lines
    ['the test set has no events']
    """

    def __init__(self, say: Callable[[str], None] = print) -> None:
        self._say = say
        self._lines: list[str] = []

    @property
    def lines(self) -> list[str]:
        """All that were added, in that order."""
        return list(self._lines)

    def add(self, line: str | None) -> None:
        """Prints and keeps a warning.

        Args:
            line: without "warning: "; `None` and a line that was added
                before change nothing.
        """
        if line is None or line in self._lines:
            return
        self._lines.append(line)
        self._say(f"warning: {line}")


def cautions_markdown(lines: Sequence[str]) -> str:
    r"""Warnings as a Markdown list.

    Example:
    >>> cautions_markdown(["the test set has no events"])
    '* **Warning:** the test set has no events.\n'
    """
    return "".join(f"* **Warning:** {line}.\n" for line in lines)


def teacher_behind(
    other: str,
    teacher: Mapping[str, float],
    others: Mapping[str, float],
    *,
    is_error: Mapping[str, bool],
    events: str = "test",
    tolerance: float = 0.0,
    remedy: str = "",
) -> str | None:
    """Whether the teacher is worse than a baseline or the student alone.

    Args:
        other: what it is compared with, such as "LightGBM" or "the student
            alone".
        teacher: its metrics by name.
        others: those of the other.
        is_error: by name of the metric, those to compare: whether less is
            better.
        events: on which events, "validation" or "test".
        tolerance: relative difference that does not count, at least 0.
        remedy: what to try, such as "--teacher_epochs=30".

    Returns:
        A warning where one of the metrics is worse; a metric that either
        lacks is not compared.

    Example:
    >>> teacher_behind(
    ...     "popularity", {"ndcg@10": 0.1}, {"ndcg@10": 0.12},
    ...     is_error={"ndcg@10": False},
    ... )  # doctest: +NORMALIZE_WHITESPACE
    'the teacher (ndcg@10 0.100) is behind popularity (0.120) on test events;
    a student that learns from it can be worse than one trained without it'
    """
    names = [n for n in is_error if n in teacher and n in others]
    if not any(
        _is_worse(teacher[n], others[n], is_error[n], tolerance) for n in names
    ):
        return None
    ours = ", ".join(f"{n} {teacher[n]:.3f}" for n in names)
    theirs = ", ".join(f"{others[n]:.3f}" for n in names)
    text = (
        f"the teacher ({ours}) is behind {other} ({theirs}) on {events} "
        "events; a student that learns from it can be worse than one trained "
        "without it"
    )
    return f"{text}; try {remedy}" if remedy else text


def nothing_significant(
    metric: str, p_value: float | None, *, level: float = _LEVEL
) -> str | None:
    """Whether distillation made no difference that a test can see.

    Args:
        metric: the headline metric.
        p_value: of the distilled student against the student alone, in
            [0, 1]; `None` where there was no test.
        level: p-values below it count, in (0, 1].

    Returns:
        A warning where the test sees no difference.

    Example:
    >>> nothing_significant("auc", 0.34)  # doctest: +NORMALIZE_WHITESPACE
    'the distilled student does not differ significantly from the student
    alone in auc (p = 0.34); repeat the run with --seeds=5, or on more
    events'
    """
    if p_value is None or p_value < level:
        return None
    return (
        "the distilled student does not differ significantly from the student "
        f"alone in {metric} ({format_p_value(p_value)}); repeat the run with "
        "--seeds=5, or on more events"
    )


def _is_worse(
    value: float, other: float, is_error: bool, tolerance: float
) -> bool:
    lost = value - other if is_error else other - value
    return lost > tolerance * abs(other)
