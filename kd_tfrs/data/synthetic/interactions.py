"""Synthetic interactions with planted tastes, for tests and first steps."""

from __future__ import annotations

import numpy as np
import pandas as pd

from kd_tfrs.data.schema import Column, Schema
from kd_tfrs.data.synthetic.tastes import World
from kd_tfrs.errors import UserError

SCHEMA = Schema(
    (
        Column("user_id", "user", "id"),
        Column("age", "user", "buckets", num_buckets=8),
        Column("country", "user", "category"),
        Column("device", "user", "category"),
        Column("item_id", "item", "id"),
        Column("title", "item", "text"),
        Column("genres", "item", "categories"),
        Column("release_year", "item", "number"),
        Column("timestamp", "event", "time"),
        Column("rating", "event", "label"),
    )
)

# Sizes and skew are the medians of seven real sets (MovieLens-100K and 1M,
# CiteULike, Gowalla, Amazon Beauty, Toys and Books), see
# experiments/results/defaults: 24 events a user, a Gini index of .47 over
# users and .52 over items. Density is between their two kinds, .01 to .1 % and
# 5 to 6 %.
_EVENTS, _USERS, _ITEMS = 150_000, 6_000, 6_000
_HISTORY_SPREAD = 1.1
_MIN_USER_EVENTS = 5
# A block of float32 of this size fits into the processor's cache.
_BLOCK_CELLS = 400_000


def generate(
    num_events: int = 150_000,
    num_users: int | None = None,
    num_items: int | None = None,
    dim: int = 128,
    seed: int = 0,
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    r"""Generates events, users and items with tastes that can be learnt.

    User $u$ chooses items without repetition with probability proportional to

    $$\exp(a \, x_u^\top y_i + \log p_i + r \, t_i)$$

    where $x, y \in R^{dim}$ are planted tastes, $p_i$ is a Zipf popularity and
    $t_i$ the time of release (new items are preferred, and no item is chosen
    before its release). Items of a niche, and less so of a genre, have similar
    tastes; a user prefers three niches, and some niches are more popular than
    others. Age, country and device shift a user's taste. The taste of each user
    drifts: items in the direction of the drift are chosen late. There are more
    niches than dimensions of a narrow model, so a wide model is better.

    Args:
        num_events: exact number of events, 100 to 10 million and more.
        num_users: number of users; by default 6,000 for 150,000 events,
            growing with the 0.8th power of the events.
        num_items: number of items; by default 6,000 for 150,000 events,
            growing with the 0.4th power.
        dim: width of the planted tastes, 1 or more.
        seed: the same seed gives the same tables.

    Returns:
        The events (user_id, item_id, timestamp, rating 1 to 5) in order of
        time, the users and the items, with the columns of `SCHEMA`.

    Raises:
        UserError: when the events do not fit the users and items.

    Example:
    >>> events, users, items = generate(num_events=1_000, seed=7)
    >>> len(events)
    1000
    """
    num_users, num_items = _sizes(num_events, num_users, num_items, dim)
    rng = np.random.default_rng(seed)
    world = World(num_users, num_items, dim, rng)
    counts = _events_per_user(num_events, num_users, num_items, rng)
    user, item, late = _draw(world, counts, rng)
    seconds = _times(world, user, item, late, rng)
    order = np.argsort(seconds, kind="stable")
    events = pd.DataFrame(
        {
            "user_id": user[order] + 1,
            "item_id": item[order] + 1,
            "timestamp": seconds[order],
            "rating": _ratings(world, user, item, rng)[order],
        }
    )
    return events, world.users(), world.items()


def _sizes(
    num_events: int, num_users: int | None, num_items: int | None, dim: int
) -> tuple[int, int]:
    ratio = num_events / _EVENTS
    if num_events < 100:
        raise UserError(
            "`num_events` should be at least 100. Received: `num_events` = "
            f"{num_events}. Give num_events >= 100."
        )
    if dim < 1:
        raise UserError(
            "`dim` should be a positive integer. Received: `dim` = "
            f"{dim}. Give dim >= 1."
        )
    if num_users is None:
        num_users = max(10, round(_USERS * ratio**0.8))
    if num_items is None:
        num_items = max(50, round(_ITEMS * ratio**0.4))
    most = num_users * (num_items // 2)
    if not num_users * _MIN_USER_EVENTS <= num_events <= most:
        raise UserError(
            f"`num_events` should be {_MIN_USER_EVENTS} a user to half of all "
            f"(user, item) pairs. Received: `num_events` = {num_events} with "
            f"{num_users} users and {num_items} items. Change one of them."
        )
    return num_users, num_items


def _events_per_user(
    num_events: int,
    num_users: int,
    num_items: int,
    rng: np.random.Generator,
) -> np.ndarray:
    """Gives heavy-tailed counts that add up to `num_events`, `[users]`."""
    most = num_items // 2
    weight = rng.lognormal(0.0, _HISTORY_SPREAD, num_users)
    room = np.full(num_users, most - _MIN_USER_EVENTS)
    counts = np.full(num_users, _MIN_USER_EVENTS)
    missing = num_events - int(counts.sum())
    while missing > 0:
        open_weight = weight * (room > 0)
        share = rng.multinomial(missing, open_weight / open_weight.sum())
        share = np.minimum(share, room)
        counts += share
        room -= share
        missing -= int(share.sum())
    return counts


def _draw(
    world: World, counts: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draws items without repetition by the Gumbel top-k trick.

    Returns:
        Users, items and positions along the user's drift, each `[events]`.
    """
    num_items = len(world.bias)
    by_count = np.argsort(counts, kind="stable")
    size = max(1, _BLOCK_CELLS // num_items)
    parts = []
    for start in range(0, len(by_count), size):
        block = by_count[start : start + size]
        parts.append(_draw_block(world, block, counts[block], rng))
    user, item, late = (
        np.concatenate(part) for part in zip(*parts, strict=True)
    )
    return user, item, late


def _draw_block(
    world: World,
    block: np.ndarray,
    counts: np.ndarray,
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    most = int(counts.max())
    # Gumbel noise is -log of an exponential, so the lowest cost is the
    # highest noisy logit; the sign spares two passes over the block.
    cost = rng.standard_exponential((len(block), len(world.bias)), np.float32)
    np.maximum(cost, np.finfo(np.float32).tiny, out=cost)
    np.log(cost, out=cost)
    # einsum, since small BLAS products on a busy machine wait for threads.
    cost -= np.einsum(
        "ud,di->ui", world.user_taste[block], world.item_taste_by_dim
    )
    cost -= world.bias
    unreleased = world.release > world.last[block, None] - 86_400
    np.putmask(cost, unreleased, np.inf)
    top = np.argpartition(cost, most - 1, axis=1)[:, :most]
    rows = np.arange(len(block))[:, None]
    ranks = np.argsort(cost[rows, top], axis=1)
    top = np.take_along_axis(top, ranks, axis=1)
    chosen = np.arange(most) < counts[:, None]
    user = np.broadcast_to(block[:, None], top.shape)[chosen]
    item = top[chosen]
    late = np.einsum("ed,ed->e", world.drift[user], world.item_taste[item])
    return user, item, late


def _times(
    world: World,
    user: np.ndarray,
    item: np.ndarray,
    late: np.ndarray,
    rng: np.random.Generator,
) -> np.ndarray:
    """Gives times between the user's first and last, drift in order."""
    num_events = len(user)
    first, last = world.first[user], world.last[user]
    # For each user, one uniform draw per event is sorted; the k-th smallest is
    # the time of the k-th event along the drift. The sum of the user's number
    # and a fraction sorts by user first.
    noisy = late + rng.normal(0.0, late.std(), num_events)
    along_drift = np.argsort(user + 0.5 * (1.0 + np.tanh(noisy)) * 0.999)
    sorted_draws = np.sort(user + 0.999 * rng.random(num_events))
    share = np.empty(num_events)
    share[along_drift] = sorted_draws - user[along_drift]
    seconds = first + (share * (last - first)).astype(np.int64)
    release = world.release[item]
    waited = release + (rng.random(num_events) * (last - release)).astype(
        np.int64
    )
    return np.where(seconds < release, waited, seconds)


def _ratings(
    world: World,
    user: np.ndarray,
    item: np.ndarray,
    rng: np.random.Generator,
) -> np.ndarray:
    """Gives ratings 1 to 5 that rise with the affinity, `[events]`."""
    affinity = np.einsum(
        "ed,ed->e", world.user_taste[user], world.item_taste[item]
    )
    noisy = affinity / affinity.std() + rng.normal(0.0, 0.7, len(user))
    limits = np.quantile(noisy, [0.05, 0.15, 0.40, 0.75])
    return 1.0 + np.searchsorted(limits, noisy)
