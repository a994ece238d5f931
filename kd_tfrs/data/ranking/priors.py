"""Corrections of probabilities for sampled and weighted classes."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from kd_tfrs.errors import UserError


def prior_logit_offset(
    negative_rate: float = 1.0,
    class_weights: Mapping[int, float] | None = None,
) -> float:
    r"""Offset that calibrates the logits of a model.

    $$\log w + \log \frac{c_0}{c_1}$$

    Sampling negatives at the rate $w$ raises the odds that a model learns by
    $1 / w$, class weights raise them by $c_1 / c_0$. The sigmoid $q$ of the
    corrected logit is $p / (p + (1 - p) / w)$ without class weights.

    Args:
        negative_rate: share of the negatives that were kept, in (0, 1].
        class_weights: positive weights of the classes 0 and 1, or None.

    Returns:
        The offset in logits.

    Raises:
        UserError: when the rate or a weight is out of range.

    Example:
    >>> round(prior_logit_offset(0.1), 3)
    -2.303

    References:
        He et al. 2014, "Practical Lessons from Predicting Clicks on Ads at
        Facebook", section 6.3.
    """
    check_rate(negative_rate)
    offset = float(np.log(negative_rate))
    if class_weights is not None:
        check_class_weights(class_weights)
        offset += float(np.log(class_weights[0] / class_weights[1]))
    return offset


def balanced_class_weights(
    labels: np.ndarray, weights: np.ndarray | None = None
) -> dict[int, float]:
    r"""Class weights that give both classes the same total weight.

    $$c_k = \frac{\sum_i w_i}{2 \sum_{i: y_i = k} w_i}$$

    Args:
        labels: `[n]`, positive above 0; NaN has no class.
        weights: `[n]` weights of the events; ones when `None`.

    Returns:
        Weights of the classes 0 and 1; the mean weight of an event with a
        label stays.

    Raises:
        UserError: when a class has no event.

    Example:
    >>> balanced_class_weights(np.array([1, 0, 0, 0]))
    {0: 0.6666666666666666, 1: 2.0}
    """
    labels = np.asarray(labels)
    weights = np.ones(len(labels)) if weights is None else weights
    totals = [float(np.sum(weights[c])) for c in (labels <= 0, labels > 0)]
    if min(totals) <= 0:
        raise UserError(
            "Balanced class weights need events of both classes. Received: "
            f"weights {totals[0]:g} of negatives and {totals[1]:g} of "
            "positives. Leave `class_weights` out."
        )
    return {k: sum(totals) / (2.0 * totals[k]) for k in (0, 1)}


def check_rate(negative_rate: float) -> None:
    """Refuses a share of negatives outside (0, 1]."""
    if not 0.0 < negative_rate <= 1.0:
        raise UserError(
            "`negative_rate` should be above 0 and at most 1. Received: "
            f"`negative_rate` = {negative_rate}. Give the share of the "
            "negatives to keep, such as 0.1."
        )


def check_class_weights(class_weights: Mapping[int, float]) -> None:
    """Refuses anything but positive weights of the classes 0 and 1."""
    good = isinstance(class_weights, Mapping) and set(class_weights) == {0, 1}
    if not good or not all(0 < w < np.inf for w in class_weights.values()):
        raise UserError(
            "`class_weights` should map 0 and 1 to positive numbers. Received: "
            f"{class_weights!r}. Give such as {{0: 1.0, 1: 4.0}}."
        )
