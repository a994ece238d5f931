"""The last line of a run: what ships, in one sentence."""

from __future__ import annotations

from kd_tfrs.evaluation.lead import format_p_value

# The words for a ratio that rounds to 1.
_EQUAL = {"smaller": "as large", "faster": "as fast"}


def closing_sentence(
    subject: str,
    metric: str,
    *,
    quality: float | None,
    lead: float | None,
    p_value: float | None,
    times_smaller: float | None,
    times_faster: float | None = None,
    within_noise: bool = False,
    where: str = "",
) -> str:
    """What the shipped file keeps of the teacher, and what it saves.

    Args:
        subject: what the sentence is about, such as "The shipped file".
        metric: the headline metric, as it is written in text.
        quality: share of the teacher's metric, see `quality_kept`; `None`
            where there is none, as of errors.
        lead: share of the teacher's lead over the student alone, see
            `lead_kept`; `None` where that lead is not significant.
        p_value: of the teacher against the student alone, in [0, 1]; `None`
            where there was no test.
        times_smaller: the teacher's model bytes over those of the subject.
        times_faster: the teacher's latency over that of the subject; `None`
            where it was not measured.
        within_noise: whether the two latencies differ by less than the noise
            of their measurement.
        where: where the latencies were measured, such as "with 100,000
            items".

    Returns:
        One sentence.

    Example:
    >>> closing_sentence(
    ...     "The shipped file", "AUC", quality=0.97, lead=0.92, p_value=2e-7,
    ...     times_smaller=38.2, times_faster=9.04,
    ... )  # doctest: +NORMALIZE_WHITESPACE
    "The shipped file keeps 97 % of the teacher's AUC (92 % of its lead over
    the student alone, p < 1e-6), is 38 times smaller and answers 9 times
    faster."
    """
    parts = [_kept(metric, quality, lead, p_value)]
    if times_smaller is not None:
        parts.append(f"is {_times(times_smaller, 'smaller', 'larger')}")
    if times_faster is not None:
        parts.append(
            "answers as fast within the noise"
            if within_noise
            else f"answers {_times(times_faster, 'faster', 'slower')}"
        )
        parts[-1] += f" {where}" if where else ""
    *first, last = parts
    text = f"{', '.join(first)} and {last}" if first else last
    return f"{subject} {text}."


def _kept(
    metric: str,
    quality: float | None,
    lead: float | None,
    p_value: float | None,
) -> str:
    tested = "" if p_value is None else f", {format_p_value(p_value)}"
    over = "lead over the student alone"
    if quality is None:
        if lead is None:
            return f"keeps no measurable {over} in {metric}{tested}"
        share = _percent(lead) if lead > 0 else "none"
        return f"keeps {share} of the teacher's {over} in {metric}{tested}"
    if lead is not None:
        share = _percent(lead) if lead > 0 else "none"
        note = f"{share} of its {over}{tested}"
    elif p_value is None:
        note = f"whose {over} was not tested"
    else:
        note = f"which has no significant {over}{tested}"
    return f"keeps {_percent(quality)} of the teacher's {metric} ({note})"


def _percent(share: float) -> str:
    # Shares near 1 would all read 100 %.
    digits = 1 if 0.99 <= share < 1.0 else 0
    return f"{share:.{digits}%}".replace("%", " %")


def _times(ratio: float, more: str, less: str) -> str:
    """Such as "9 times faster", or "1.3 times slower"."""
    word, value = (more, ratio) if ratio >= 1.0 else (less, 1.0 / ratio)
    digits = 0 if value >= 9.95 else 1
    text = f"{value:.{digits}f}".removesuffix(".0")
    if text == "1":
        return _EQUAL[more]
    return f"{text} times {word}"
