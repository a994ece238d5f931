"""Metrics within each user's list, and their means over users."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from kd_tfrs.errors import UserError
from kd_tfrs.evaluation.checks import check_k
from kd_tfrs.evaluation.ranking.scored_rows import (
    ScoredRows,
    check_binary,
    scored_rows,
)
from kd_tfrs.evaluation.ranking.statistics import (
    Statistic,
    UserSums,
    ratio,
    run_ends,
    sums_of,
    value_of,
)

GAINS = ("exponential", "linear")
# Gains of higher grades, above 2**64, are not meaningful; 2**1024 overflows.
_MAX_GRADE = 64


class UserMean(NamedTuple):
    """A mean over users.

    Args:
        value: the mean; None where no user has a value.
        num_users: number of users with a value.
        left_out: number of users without a value.

    Example:
    >>> gauc([1, 0, 1], [2.0, 1.0, 0.0], groups=["a", "a", "b"])
    UserMean(value=1.0, num_users=1, left_out=1)
    """

    value: float | None
    num_users: int
    left_out: int


@dataclass(frozen=True, eq=False)
class PerUser:
    """Values of a metric for the users where the labels define it.

    Args:
        values: [m].
        places: [m], ascending places of the users.
        weights: [m], weight of each user in the mean.
        num_users: number of all users.
        left_out: number of users with rows and without a value.

    Example:
    ```python
    gauc.per_user(rows).values
    ```
    """

    values: np.ndarray
    places: np.ndarray
    weights: np.ndarray
    num_users: int
    left_out: int

    def statistic(self) -> Statistic:
        """The weighted mean, for resampled users."""
        sums = np.zeros((self.num_users, 2))
        sums[self.places, 0] = self.weights * self.values
        sums[self.places, 1] = self.weights
        return UserSums(sums)

    def mean(self) -> UserMean:
        """The weighted mean over the users with a value."""
        value = value_of(self.statistic(), self.num_users)
        return UserMean(value, len(self.values), self.left_out)


class UserMetric:
    """A mean of values of users, as a function of arrays.

    It decorates the function that computes the values of users, which is
    called with the checked rows and with the options of the metric.

    Args:
        per_user: from impressions and options to `PerUser`.

    Example:
    >>> gauc.per_user(scored_rows([1, 0], [2.0, 1.0])).values.tolist()
    [1.0]
    """

    def __init__(self, per_user: Callable[..., PerUser]) -> None:
        self.per_user = per_user
        functools.update_wrapper(self, per_user)

    def __call__(
        self,
        labels: Any,
        scores: Any,
        groups: Any,
        weights: Any = None,
        **options: Any,
    ) -> UserMean:
        """Measures arrays.

        Args:
            labels: [n], 0 or 1, or grades.
            scores: [n], finite, higher is better: logits or probabilities.
            groups: [n], user ids.
            weights: [n], at least 0; ones by default.
            **options: options of the metric.

        Returns:
            The mean, and the number of users without a value.

        Raises:
            UserError: shapes or labels that do not fit, or an option out of
                range.
        """
        rows = scored_rows(labels, scores, weights, groups)
        return self.per_user(rows, **options).mean()


@UserMetric
def gauc(rows: ScoredRows) -> PerUser:
    """AUC within each user's rows, averaged with the weight of the rows.

    `gauc = sum_u W_u auc_u / sum_u W_u` over the users with both classes,
    where W_u is the sum of the weights of the user's rows.

    Args:
        rows: labels 0 or 1, and scores.

    Returns:
        In [0, 1], for each user with both classes.

    Example:
    >>> gauc([1, 0, 0, 1, 1], [2, 1, 1, 0, 1], list("aabbb")).value
    0.55

    References:
        Zhu et al. 2017, "Optimized cost per click in Taobao display
        advertising"; Zhou et al. 2018, "Deep interest network".
    """
    check_binary(rows)
    rows = rows.take(np.lexsort((rows.scores, rows.users)))
    lost = np.append(0.0, np.cumsum(rows.weights * (1 - rows.labels)))
    first, last = _runs(rows.users, rows.scores)
    user_first, _ = _runs(rows.users)
    # Negatives of the same user with a lower score, and half of the equals.
    beaten = (lost[first] + lost[last + 1]) / 2 - lost[user_first]
    won = sums_of(rows, rows.labels * beaten)
    positive = sums_of(rows, rows.labels)
    negative = sums_of(rows, 1 - rows.labels)
    values = np.clip(ratio(won, positive * negative), 0.0, 1.0)
    return _per_user(rows, values, positive + negative)


@UserMetric
def user_ndcg(rows: ScoredRows, k: int, gain: str = "exponential") -> PerUser:
    """NDCG of the first k of each user's rows, averaged over users.

    `ndcg@k = sum_{rank <= k} g(y_rank) / log2(rank + 1) / ideal` with
    `g(y) = 2^y - 1` or `g(y) = y`, which are the same for labels of 0 and 1.
    Rows of equal score share their ranks: the value is the mean over all
    their orders, so that it does not depend on the order of the rows. The
    weight of a user is the mean weight of the user's rows.

    Args:
        rows: labels are grades, at least 0.
        k: length of the list.
        gain: "exponential" or "linear".

    Returns:
        In [0, 1], for each user with a grade above 0.

    Raises:
        UserError: `k` that is not a positive integer, or labels that are not
            grades.

    Example:
    >>> user_ndcg([1, 0], [1.0, 2.0], ["a", "a"], k=2).value
    0.6309297535714575

    References:
        Burges et al. 2005, "Learning to rank using gradient descent"; McSherry
        and Najork 2008, "Computing information retrieval performance measures
        efficiently in the presence of tied scores".
    """
    check_k(k)
    check_grades(rows.labels, gain)
    gains = rows.labels if gain == "linear" else np.exp2(rows.labels) - 1
    actual = _discounted(rows, gains, rows.scores, k)
    ideal = _discounted(rows, gains, gains, k)
    sizes = np.bincount(rows.users, minlength=rows.num_users)
    weights = ratio(sums_of(rows, np.ones(len(gains))), sizes)
    values = np.minimum(ratio(actual, ideal), 1.0)
    return _per_user(rows, values, weights)


def _discounted(
    rows: ScoredRows, gains: np.ndarray, by: np.ndarray, k: int
) -> np.ndarray:
    """[users] discounted gain of the first k; equal keys share discounts."""
    order = np.lexsort((-by, rows.users))
    users, by = rows.users[order], by[order]
    ranks = np.arange(len(users)) - _runs(users)[0]
    discounts = np.where(ranks < k, 1 / np.log2(ranks + 2), 0.0)
    first, last = _runs(users, by)
    # Summed run by run: a cumulative sum loses precision.
    sums = np.bincount(first, discounts, minlength=len(users))
    shared = sums[first] / (last + 1 - first)
    return np.bincount(users, gains[order] * shared, minlength=rows.num_users)


def _runs(*keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """First and last place of each row's run of equal keys."""
    codes = np.zeros(len(keys[0]), np.int64)
    for key in keys:
        codes[1:] += np.cumsum(key[1:] != key[:-1])
    ends = run_ends(codes)
    lengths = np.diff(ends, prepend=-1)
    return np.repeat(ends + 1 - lengths, lengths), np.repeat(ends, lengths)


def check_grades(labels: np.ndarray, gain: str) -> None:
    """Raises where labels are not grades, or a gain is unknown.

    Args:
        labels: [n].
        gain: "exponential" or "linear".

    Raises:
        UserError: labels out of range, or an unknown gain.

    Example:
    >>> check_grades(np.array([0.5, 5.0]), "exponential")
    """
    if gain not in GAINS:
        raise UserError(
            f"`gain` should be one of {list(GAINS)}. Received: {gain!r}. Both "
            "are the same for labels of 0 and 1."
        )
    highest = _MAX_GRADE if gain == "exponential" else np.inf
    if len(labels) and not 0 <= labels.min() <= labels.max() <= highest:
        raise UserError(
            f"`labels` should be grades from 0 to {highest:g} for the {gain} "
            f"gain of NDCG. Received: {labels.min():g} to {labels.max():g}. "
            "Shift them, or take gain='linear' for large ones."
        )


def _per_user(
    rows: ScoredRows, values: np.ndarray, weights: np.ndarray
) -> PerUser:
    """Keeps the users with a value, out of all [users]."""
    places = np.flatnonzero(~np.isnan(values))
    present = np.bincount(rows.users, minlength=rows.num_users) > 0
    return PerUser(
        values[places],
        places,
        weights[places],
        rows.num_users,
        int(present.sum()) - len(places),
    )
