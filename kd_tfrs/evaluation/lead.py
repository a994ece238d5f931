"""Shares of the teacher's quality and of its lead that a student keeps."""

from __future__ import annotations

import math

_LEVEL = 0.05
_ERRORS = ("log_loss", "rmse", "mae", "distillation_loss")


def is_error(metric: str) -> bool:
    """Whether lower values of a metric are better.

    Args:
        metric: name, with or without the task before it ("like/log_loss").

    Returns:
        True for errors and losses.

    Example:
    >>> is_error("like/log_loss"), is_error("auc")
    (True, False)
    """
    return metric.rpartition("/")[2] in _ERRORS


def chance_of(metric: str) -> float:
    """The value of random scores: 0.5 of an AUC, 0 of other metrics."""
    return 0.5 if metric.rpartition("/")[2] in ("auc", "gauc") else 0.0


def quality_kept(value: float | None, teacher: float | None) -> float | None:
    r"""Share of the teacher's metric that a model reaches.

    $$m / m_\text{teacher}$$

    Args:
        value: $m$, a metric where higher values are better.
        teacher: the same metric of the teacher.

    Returns:
        The share; above 1 where the model is better than the teacher. `None`
        where a value is missing or the teacher's value is not positive.

    Example:
    >>> quality_kept(0.24, 0.25)
    0.96
    """
    if value is None or teacher is None or not teacher > 0:
        return None
    return value / teacher


def lead_kept(
    value: float | None,
    alone: float | None,
    teacher: float | None,
    p_value: float | None,
    *,
    is_error: bool = False,
    level: float = _LEVEL,
) -> float | None:
    r"""Share of the teacher's lead over the student alone that a model keeps.

    $$\frac{m - m_\text{alone}}{m_\text{teacher} - m_\text{alone}}$$

    The share is undefined for a teacher that is not significantly better than
    the student alone: it would be a quotient of two noisy differences.

    Args:
        value: $m$, the metric of the model.
        alone: the metric of the student trained without a teacher.
        teacher: the metric of the teacher.
        p_value: of a paired test of the teacher against the student alone,
            in [0, 1]; `None` where there was no test.
        is_error: whether lower values are better, as for a log loss.
        level: significance level of the teacher's lead, in (0, 1].

    Returns:
        The share: 0 for the student alone, 1 for the teacher. `None` where
        a value is missing, or the teacher has no significant lead.

    Example:
    >>> lead_kept(0.5, alone=0.0, teacher=1.0, p_value=0.001)
    0.5
    >>> lead_kept(0.5, alone=1.0, teacher=0.0, p_value=0.001) is None
    True
    """
    if value is None or alone is None or teacher is None or p_value is None:
        return None
    lead = alone - teacher if is_error else teacher - alone
    if not lead > 0 or not p_value < level:
        return None
    gain = alone - value if is_error else value - alone
    return gain / lead


def format_p_value(p_value: float) -> str:
    """Formats a p-value; a very small one as a bound that is a power of ten.

    Args:
        p_value: in [0, 1].

    Returns:
        Such as "p = 0.034" or "p < 1e-6".

    Example:
    >>> format_p_value(0.034), format_p_value(3e-9)
    ('p = 0.034', 'p < 1e-8')
    """
    if p_value >= 0.001:
        return f"p = {p_value:.2g}"
    # Smaller tails of a distribution are beyond floating point precision.
    exponent = min(16, math.ceil(-math.log10(max(p_value, 1e-17))) - 1)
    return f"p < 1e-{exponent}"
