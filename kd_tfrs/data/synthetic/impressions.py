"""Synthetic impressions with known probabilities of clicks and likes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from kd_tfrs.data.interactions import CleaningReport, Interactions
from kd_tfrs.data.schema import Column, Schema
from kd_tfrs.data.synthetic.clicks import AGES, COUNTRIES, DEVICES, ClickWorld
from kd_tfrs.errors import UserError

TASKS = ("click", "like")
SCHEMA = Schema(
    (
        Column("user_id", "user", "id"),
        Column("age", "user", "category"),
        Column("country", "user", "category"),
        Column("item_id", "item", "id"),
        Column("category", "item", "category"),
        Column("brand", "item", "category"),
        Column("price", "item", "number"),
        Column("device", "event", "category"),
        # The position on the page is not available before serving.
        Column("position", "event", "category", training_only=True),
        Column("timestamp", "event", "time"),
        Column("click", "event", "label"),
    )
)
# Impressions per block of logits: 8 MB for float32 vectors of width 8.
_BLOCK_ROWS = 250_000
_BIAS_SAMPLE = 100_000
_MIN_EVENTS = 100


@dataclass(frozen=True, eq=False)
class Impressions:
    """Synthetic impressions with the probability of each click and like.

    Args:
        interactions: events in order of time, users and items; the columns
            `click` and `like` of the events are 0 or 1.
        probabilities: by task, `[n]` float32: the true probability of each
            event, from which its label is drawn.
    """

    interactions: Interactions
    probabilities: dict[str, np.ndarray]

    def bayes_auc(self, task: str, rows: slice | None = None) -> float:
        """The AUC of the true probabilities, an upper bound for every model.

        On a finite number of events, a model may exceed it by chance.

        Args:
            task: "click" or "like".
            rows: the events; all when `None`.

        Returns:
            The AUC, in [0.5, 1] up to chance; NaN when all labels are the
            same.
        """
        rows = slice(None) if rows is None else rows
        labels = self.interactions.events[task].to_numpy()[rows]
        return auc(labels, self.probabilities[task][rows])


def auc(labels: np.ndarray, scores: np.ndarray) -> float:
    r"""Area under the ROC curve: share of correctly ordered pairs.

    $$\frac{1}{P N} \sum_{i: y_i = 1} \sum_{j: y_j = 0}
    [s_i > s_j] + \frac{1}{2} [s_i = s_j]$$

    Args:
        labels: `[n]`, positive above 0.
        scores: `[n]`, higher for more likely positives.

    Returns:
        In [0, 1]; NaN when all labels are the same.

    Example:
    >>> auc(np.array([0, 1, 1]), np.array([0.1, 0.1, 0.9]))
    0.75

    References:
        Hanley and McNeil 1982, "The Meaning and Use of the Area under a
        Receiver Operating Characteristic (ROC) Curve".
    """
    positive = np.asarray(labels) > 0
    above, below = np.sort(scores[positive]), np.sort(scores[~positive])
    if not len(above) or not len(below):
        return float("nan")
    lower = np.searchsorted(below, above, side="left").mean()
    not_higher = np.searchsorted(below, above, side="right").mean()
    return float((lower + not_higher) / 2 / len(below))


def generate_impressions(
    num_events: int = 200_000,
    num_users: int | None = None,
    num_items: int | None = None,
    *,
    dim: int = 8,
    slate_size: int = 10,
    seed: int = 0,
) -> Impressions:
    r"""Generates impressions with clicks and likes of a hidden model.

    A user sees a slate of items at one moment. The probability of a click on
    the item at position $k$ is $\sigma(z)$, where

    $$z = b + x_u^\top y_i + q_i + a_u + A_{age,category} +
    B_{device,category} + C_{country,daypart,group} - s_{age} \cdot price_i -
    c \log_2 k$$

    and the probability of a like after a click is $\sigma(z')$ of another sum
    with the same tastes. Tastes $x, y$ depend on the columns, so that they can
    be predicted for a new user or item; the terms in $A$, $B$, $C$ and $s$ are
    interactions of two and three columns, which no sum over columns equals.
    The labels are random draws, so even the true $z$ does not predict them
    exactly, see `Impressions.bayes_auc`. Some users and items appear late.

    Args:
        num_events: exact number of impressions, 100 or more.
        num_users: maximum number of users; by default one per 100 events.
        num_items: maximum number of items; by default it grows with the 0.6th
            power of the events (1,200 for 200,000).
        dim: width of the tastes, 1 or more.
        slate_size: number of items shown at one moment, 1 or more.
        seed: the same seed gives the same impressions.

    Returns:
        `Impressions` with the columns of `SCHEMA`; users and items without an
        event are dropped.

    Raises:
        UserError: when a size is out of range.

    Example:
    >>> data = generate_impressions(1_000, seed=3)
    >>> len(data.interactions.events), sorted(data.probabilities)
    (1000, ['click', 'like'])
    """
    if num_users is None:
        num_users = max(20, num_events // 100)
    if num_items is None:
        num_items = max(50, round(0.79 * num_events**0.6))
    _check(num_events, num_users, num_items, dim, slate_size)
    rng = np.random.default_rng(seed)
    world = ClickWorld(num_users, num_items, dim, rng)
    shown = world.show(num_events, slate_size, rng)
    probabilities, labels = _draw_labels(world, shown, rng)
    return Impressions(_interactions(world, shown, labels), probabilities)


def _check(
    num_events: int, num_users: int, num_items: int, dim: int, slate_size: int
) -> None:
    for name, value, low in (
        ("num_events", num_events, _MIN_EVENTS),
        ("num_users", num_users, 1),
        ("num_items", num_items, 2),
        ("dim", dim, 1),
        ("slate_size", slate_size, 1),
    ):
        if value < low:
            raise UserError(
                f"`{name}` should be at least {low}. Received: `{name}` = "
                f"{value}. Give {name} >= {low}."
            )


def _draw_labels(
    world: ClickWorld, shown: dict[str, np.ndarray], rng: np.random.Generator
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """True probabilities and labels, each by task, `[n]`."""
    num_events = len(shown["user"])
    odds = [np.empty(num_events, np.float32) for _ in TASKS]
    for start in range(0, num_events, _BLOCK_ROWS):
        rows = slice(start, start + _BLOCK_ROWS)
        block = {name: values[rows] for name, values in shown.items()}
        for task, values in zip(odds, world.logits(block), strict=True):
            task[rows] = values
    click, like_if_clicked = (
        _sigmoid(values + _bias(rng.choice(values, _BIAS_SAMPLE), rate))
        for values, rate in zip(odds, world.rates, strict=True)
    )
    clicked = rng.random(num_events, np.float32) < click
    liked = clicked & (rng.random(num_events, np.float32) < like_if_clicked)
    return (
        {"click": click, "like": click * like_if_clicked},
        {"click": clicked, "like": liked},
    )


def _sigmoid(values: np.ndarray) -> np.ndarray:
    return 1.0 / (1.0 + np.exp(-values))


def _bias(sample: np.ndarray, rate: float) -> np.float32:
    """Bias of logits for which their mean probability is `rate`."""
    low, high = -20.0, 20.0
    for _ in range(40):
        middle = (low + high) / 2
        too_high = _sigmoid(sample + middle).mean() > rate
        low, high = (low, middle) if too_high else (middle, high)
    return np.float32(low)


def _interactions(
    world: ClickWorld,
    shown: dict[str, np.ndarray],
    labels: dict[str, np.ndarray],
) -> Interactions:
    events = pd.DataFrame(
        {
            "user_id": shown["user"].astype(np.int64) + 1,
            "item_id": shown["item"].astype(np.int64) + 1,
            "device": pd.Categorical.from_codes(shown["device"], DEVICES),
            "position": shown["position"],
            "timestamp": shown["time"],
            **{
                task: values.astype(np.float32)
                for task, values in labels.items()
            },
        }
    )
    users = pd.DataFrame(
        {
            "user_id": np.arange(1, len(world.age) + 1),
            "age": np.array(AGES)[world.age],
            "country": np.array(COUNTRIES)[world.country],
        }
    )
    items = pd.DataFrame(
        {
            "item_id": np.arange(1, len(world.category) + 1),
            "category": world.category_names(),
            "brand": [f"brand {code:02d}" for code in world.brand],
            "price": np.round(world.price, 2).astype(np.float64),
        }
    )
    users = users[np.bincount(shown["user"], minlength=len(users)) > 0]
    items = items[np.bincount(shown["item"], minlength=len(items)) > 0]
    report = CleaningReport(
        rows_read=len(events),
        events=len(events),
        users=len(users),
        items=len(items),
    )
    return Interactions(
        "synthetic",
        SCHEMA,
        events,
        users.reset_index(drop=True),
        items.reset_index(drop=True),
        report,
    )
