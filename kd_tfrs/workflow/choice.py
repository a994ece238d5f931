"""Which form of the student ships: the smallest that loses little enough."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import scipy.stats

from kd_tfrs.errors import UserError

AUTO = "auto"


@dataclasses.dataclass(frozen=True)
class Candidate:
    """A form of the distilled student that may ship.

    Args:
        name: such as "int8".
        value: its validation metric.
        model_bytes: bytes of its weights as they are stored, positive.
        margin: how much more its relative loss may be than is measured, at
            least 0; see `loss_margin`.
    """

    name: str
    value: float
    model_bytes: int
    margin: float = 0.0


@dataclasses.dataclass(frozen=True)
class Choice:
    """The form that ships, and why.

    Args:
        name: of the candidate that ships.
        reason: one sentence.
        max_loss: the relative loss that was allowed.
        losses: relative loss of every candidate on validation, by name;
            negative where it is better than the reference.
        margins: their margins.
    """

    name: str
    reason: str
    max_loss: float
    losses: dict[str, float]
    margins: dict[str, float]


def choose(
    candidates: Sequence[Candidate],
    *,
    max_loss: float,
    metric: str,
    is_error: bool = False,
    chance: float = 0.0,
    ship: str = AUTO,
) -> Choice:
    r"""Chooses what ships, on validation events alone.

    $$\ell_c = (m_\text{reference} - m_c) / |m_\text{reference}|$$

    Of the candidates with $\ell_c$ plus its margin at most `max_loss` the one
    with the fewest model bytes ships; of equal ones, the one that loses least.
    The reference is within its own limit, so there is always one. Without a
    margin, the smallest of several candidates would often be one whose loss
    is underestimated by the noise of the validation events.

    Args:
        candidates: the first is the reference, the distilled student.
        max_loss: the largest relative loss, at least 0.
        metric: name of the metric, for the sentence.
        is_error: whether less is better, as of a log loss.
        chance: see `relative_loss`.
        ship: name of a candidate that ships whatever it loses, or "auto".

    Returns:
        The choice.

    Raises:
        UserError: `ship` is no candidate.

    Example:
    >>> forms = [Candidate("distilled", 0.2, 800), Candidate("int8", 0.2, 240)]
    >>> choose(forms, max_loss=0.01, metric="ndcg@10").name
    'int8'
    """
    reference, names = candidates[0], [c.name for c in candidates]
    losses = {
        c.name: relative_loss(
            c.value, reference.value, is_error=is_error, chance=chance
        )
        for c in candidates
    }
    margins = {c.name: c.margin for c in candidates}
    if chance:
        metric = f"{metric} above {chance:g}"
    if ship != AUTO:
        if ship not in names:
            raise UserError(
                f"`--ship` should be auto or one of {', '.join(names)}. "
                f"Received: {ship!r}."
            )
        lost = f"{losses[ship]:+.1%} of validation {metric}"
        reason = f"{ship} is given by --ship; it loses {lost}"
        return Choice(ship, reason, max_loss, losses, margins)
    within = [
        c
        for c in candidates
        if c is reference or losses[c.name] + c.margin <= max_loss
    ]
    best = min(within, key=lambda c: (c.model_bytes, losses[c.name]))
    if len(within) == 1:
        reason = (
            f"{best.name} ships: every smaller form may lose more than "
            f"{max_loss:.1%} of its validation {metric}"
        )
    else:
        reason = (
            f"{best.name} ships: the smallest form within {max_loss:.1%} of "
            f"{reference.name}'s validation {metric} "
            f"({losses[best.name]:+.1%} lost)"
        )
    return Choice(best.name, reason, max_loss, losses, margins)


def loss_margin(
    reference: np.ndarray, values: np.ndarray, *, level: float = 0.95
) -> float:
    r"""How much more than measured a relative loss may be, by chance.

    $$z \, s / (\sqrt n \, |\bar m_\text{reference}|)$$

    with the standard deviation $s$ of the users' differences and the quantile
    $z$ of the normal distribution at `level`: a one-sided interval.

    Args:
        reference: `[users]` validation metric of the distilled student.
        values: `[users]` that of a candidate, for the same users.
        level: of the interval, in (0.5, 1).

    Returns:
        A share, at least 0; 0 for the reference itself.

    Example:
    >>> loss_margin(np.ones(4), np.ones(4))
    0.0
    """
    mean = abs(float(np.mean(reference)))
    if len(reference) < 2 or not mean:
        return 0.0
    error = np.std(reference - values, ddof=1) / np.sqrt(len(reference))
    return float(scipy.stats.norm.ppf(level) * error / mean)


def relative_loss(
    value: float,
    reference: float,
    *,
    is_error: bool = False,
    chance: float = 0.0,
) -> float:
    r"""What is lost of a metric, as a share of the reference.

    $$(m_\text{reference} - m) / |m_\text{reference} - m_\text{chance}|$$

    Args:
        value: $m$.
        reference: of the distilled student.
        is_error: whether less is better; the sign changes then.
        chance: the value of random scores, 0.5 of an AUC: what is above it
            is all that can be lost.

    Returns:
        The share; negative where the value is better.

    Example:
    >>> relative_loss(0.75, 1.0), relative_loss(0.75, 1.0, chance=0.5)
    (0.25, 0.5)
    """
    lost = value - reference if is_error else reference - value
    return lost / (abs(reference - chance) or 1.0)
