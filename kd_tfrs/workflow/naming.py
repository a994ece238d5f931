"""How methods and stages are written on the command line."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from kd_tfrs.errors import UserError

# The teachers: the trained one, a linear item-item model, a graph model, and
# the mean of the first two.
TEACHERS = ("teacher", "ease", "lightgcn", "ensemble")


class Named(NamedTuple):
    """A method as it was given.

    Args:
        method: its name.
        teacher: one of `TEACHERS`, or empty for the method's own.
        weight: positive.
    """

    method: str
    teacher: str
    weight: float


def parse_method(
    text: str,
    known: Iterable[str],
    usual: Sequence[str] = ("soft_targets", "rrd"),
    teachers: Sequence[str] | None = TEACHERS,
) -> Named:
    """Reads `name[@teacher][:weight]`.

    Args:
        text: such as "soft_targets@ease:0.8"; the method's own teacher and
            weight 1 where left out.
        known: names of methods.
        usual: those that are proposed where nothing is near.
        teachers: names allowed after the @; any when `None`.

    Returns:
        Its parts.

    Raises:
        UserError: a name is unknown or the weight no positive number.

    Example:
    >>> parse_method("soft_targets@ease:0.8", ["soft_targets"])
    Named(method='soft_targets', teacher='ease', weight=0.8)
    """
    named, _, weight = text.partition(":")
    method, at, teacher = named.partition("@")
    if method not in known:
        near = difflib.get_close_matches(method, known, cutoff=0.5)
        raise UserError(
            "`--distillation_losses` should name methods that --list_methods "
            f"shows. Received: {method!r}. Write it as "
            f"{' or '.join(near or usual)}."
        )
    if at and teachers is not None and teacher not in teachers:
        raise UserError(
            "`--distillation_losses` should name a teacher among "
            f"{', '.join(teachers)} after the @. Received: {text!r}. Write "
            "it as soft_targets@ease:0.5."
        )
    try:
        value = float(weight or 1.0)
    except ValueError:
        value = -1.0
    if not 0 < value < float("inf"):
        raise UserError(
            "`--distillation_losses` should give each weight as a positive "
            f"number. Received: {text!r}. Write it as soft_targets:0.8."
        )
    return Named(method, teacher, value)


def check_stages(names: Sequence[str], known: Sequence[str]) -> tuple[str, ...]:
    """Checks stage names.

    Raises:
        UserError: a name is unknown, or there is none.
    """
    unknown = sorted(set(names) - set(known))
    if unknown or not names:
        raise UserError(
            f"`--stages` should name some of {', '.join(known)}. Received: "
            f"{', '.join(unknown) or 'none'}."
        )
    return tuple(stage for stage in known if stage in names)
