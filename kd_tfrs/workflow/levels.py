"""Compression step by step, for as long as little is lost."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Generic, NamedTuple, TypeVar

Made = TypeVar("Made")


class Level(NamedTuple, Generic[Made]):
    """A model at one level of compression.

    Args:
        level: such as its sparsity.
        made: the model, and whatever comes with it.
        loss: relative loss of the validation metric.
    """

    level: float
    made: Made
    loss: float


def largest_within(
    levels: Sequence[float],
    make: Callable[[float, Made | None], Made],
    loss: Callable[[Made], float],
    max_loss: float,
) -> tuple[Level[Made], list[Level[Made]]]:
    """Compresses more and more, and stops at the first that loses too much.

    Args:
        levels: ascending, at least one.
        make: makes the model of a level from that of the level before, which
            is `None` for the first.
        loss: its relative loss of the validation metric.
        max_loss: the largest loss that is allowed.

    Returns:
        The largest level within the limit, or the first one where none is;
        and all that were made.

    Example:
    >>> best, made = largest_within(
    ...     [0.25, 0.5, 0.75], lambda s, _: s, lambda s: s / 10, max_loss=0.06
    ... )
    >>> best.level, [m.level for m in made]
    (0.5, [0.25, 0.5, 0.75])
    """
    done: list[Level[Made]] = []
    for level in levels:
        made = make(level, done[-1].made if done else None)
        done.append(Level(level, made, loss(made)))
        if done[-1].loss > max_loss:
            break
    within = [one for one in done if one.loss <= max_loss]
    return (within or done)[-1], done
