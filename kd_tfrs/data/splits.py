"""Splits of the events for training, validation and test, without leaks.

No event is in two splits, and `clean` keeps a (user, item) pair once, so no
pair of validation or test is in training. `by_time` also keeps the future of
all users out of training; `leave_one_out` keeps the future of each user out,
but not that of other users.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from kd_tfrs.data.interactions import Interactions
from kd_tfrs.errors import UserError

METHODS = ("auto", "leave_one_out", "time", "ratio", "given")


@dataclass(frozen=True, eq=False)
class Split:
    """Events for training, validation and test.

    Args:
        train: training events, from which vocabularies and popularity are
            computed.
        validation: events for model selection.
        test: events for the reported metrics.
    """

    train: pd.DataFrame
    validation: pd.DataFrame
    test: pd.DataFrame

    def __repr__(self) -> str:
        return f"Split({self})"

    def __str__(self) -> str:
        return (
            f"{len(self.train):,} events to train, {len(self.validation):,} to "
            f"validate, {len(self.test):,} to test"
        )


def split(
    interactions: Interactions, method: str = "auto", seed: int = 0
) -> Split:
    """Splits the events by the named method.

    Args:
        interactions: what to split.
        method: "leave_one_out" (last by time, or random with the seed when
            the data has no time), "time" and "ratio" (a tenth each to
            validation and test), "given" (the data's own), or "auto": given
            where there are given splits, else leave-one-out where there is
            time, else by ratio.
        seed: seed of the random methods.

    Returns:
        A `Split`.

    Raises:
        UserError: when the method is unknown or does not fit the data.

    Example:
    ```python
    parts = split(load("synthetic"))
    ```
    """
    if method == "auto":
        method = _fitting_method(interactions)
    if method == "given":
        return given(interactions, seed)
    if method == "time":
        return by_time(interactions)
    if method == "ratio":
        return by_ratio(interactions, seed=seed)
    if method == "leave_one_out":
        has_time = interactions.schema.time is not None
        return leave_one_out(interactions, None if has_time else seed)
    raise UserError(
        f"`method` should be one of {', '.join(METHODS)}. Received: `method` "
        f"= {method!r}. Choose one of these."
    )


def leave_one_out(interactions: Interactions, seed: int | None = None) -> Split:
    """Holds out each user's last event for test and the previous to validate.

    Users with fewer than 3 events stay in training with all of them. Among
    events of one time, the later row is the later event.

    Args:
        interactions: what to split.
        seed: None for the last by time; a number for random events instead.

    Returns:
        A `Split`.

    Raises:
        UserError: when `seed` is None and the data have no time, or no user
            has 3 events.

    Example:
    ```python
    parts = leave_one_out(load("movielens-100k"))
    ```
    """
    if seed is None:
        when = _times(interactions, "leave_one_out without a seed")
    else:
        when = np.random.default_rng(seed).random(len(interactions.events))
    back, counts = _rank_from_last(interactions, when)
    part = np.where(counts < 3, 0, np.maximum(2 - back, 0))
    return parts_of(interactions, part, "Every user has fewer than 3 events")


def by_time(
    interactions: Interactions, validation: float = 0.1, test: float = 0.1
) -> Split:
    """Cuts all events at two moments: train before validation before test.

    Events of one time fall on the same side of a cut, the later one, so every
    training event is strictly earlier than every validation event.

    Raises:
        UserError: when there is no time, a share is out of range, or the
            times are too few to cut.

    Example:
    ```python
    parts = by_time(load("synthetic"), validation=0.05, test=0.1)
    ```
    """
    _check_shares(validation, test)
    when = _times(interactions, "a split by time")
    ordered = np.sort(when)
    first_test = ordered[_position(len(ordered), test)]
    first_validation = ordered[_position(len(ordered), test + validation)]
    part = (when >= first_validation).astype(np.int64) + (when >= first_test)
    return parts_of(interactions, part, "Too many events have the same time")


def by_ratio(
    interactions: Interactions,
    validation: float = 0.1,
    test: float = 0.1,
    seed: int = 0,
) -> Split:
    """Holds out a random share of each user's events.

    Numbers of events are rounded to the nearest integer, and at least one event
    of each user stays in training. A user with few events may have none in
    validation or test.

    Raises:
        UserError: when a share is out of range, or every user has too few
            events for it.

    Example:
    ```python
    parts = by_ratio(load("amazon-book"), seed=3)
    ```
    """
    _check_shares(validation, test)
    when = np.random.default_rng(seed).random(len(interactions.events))
    back, counts = _rank_from_last(interactions, when)
    num_test = np.minimum(_nearest(counts * test), counts - 1)
    num_held = num_test + np.minimum(
        _nearest(counts * validation), counts - 1 - num_test
    )
    part = (back < num_held).astype(np.int64) + (back < num_test)
    return parts_of(interactions, part, "Every user has too few events")


def given(interactions: Interactions, seed: int = 0) -> Split:
    """Uses the given splits of the data.

    Without a given validation part, a tenth of each user's training events is
    held out to validate, so that model selection never uses test events.

    Raises:
        UserError: when the data has no given splits, or none for test.

    Example:
    ```python
    parts = given(load("citeulike-full"))
    ```
    """
    splits = interactions.given_splits or {}
    for name in ("train", "test"):
        if name not in splits:
            raise UserError(
                f"A given split should have {name} events. Received: "
                f"{sorted(splits) or 'no given splits'} for "
                f"{interactions.name}. Choose another method: "
                f"{', '.join(METHODS[1:-1])}."
            )
    if "validation" in splits:
        return Split(splits["train"], splits["validation"], splits["test"])
    back, counts = _rank_from_last(
        interactions,
        np.random.default_rng(seed).random(len(splits["train"])),
        splits["train"],
    )
    held_out = back < np.minimum(_nearest(counts * 0.1), counts - 1)
    train, validation = splits["train"][~held_out], splits["train"][held_out]
    return Split(
        train.reset_index(drop=True),
        validation.reset_index(drop=True),
        splits["test"],
    )


def _fitting_method(interactions: Interactions) -> str:
    if interactions.given_splits:
        return "given"
    return "leave_one_out" if interactions.schema.time else "ratio"


def _times(interactions: Interactions, what: str) -> np.ndarray:
    time = interactions.schema.time
    if time is None:
        raise UserError(
            f"The data should have a time column for {what}. Received: "
            f"{interactions.name} without time. Name the time column, give a "
            "seed for a random choice, or split by ratio."
        )
    return interactions.events[time].to_numpy()


def _rank_from_last(
    interactions: Interactions,
    when: np.ndarray,
    events: pd.DataFrame | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Each event's position from the user's last (0), and the user's count."""
    events = interactions.events if events is None else events
    user = pd.factorize(events[interactions.schema.user_id])[0]
    # lexsort is stable: among equal times the rows keep their order.
    order = np.lexsort((when, user))
    counts = np.bincount(user)
    position = np.arange(len(user)) - np.repeat(
        np.cumsum(counts) - counts, counts
    )
    back = np.empty(len(user), np.int64)
    back[order] = counts[user[order]] - 1 - position
    return back, counts[user]


def _position(num_events: int, share: float) -> int:
    # Hold out at least one event, and all events at most.
    num_held = max(1, int(_nearest(np.float64(num_events * share))))
    return max(0, num_events - num_held)


def _nearest(numbers: np.ndarray) -> np.ndarray:
    return np.floor(numbers + 0.5).astype(np.int64)


def _check_shares(validation: float, test: float) -> None:
    for name, share in (("validation", validation), ("test", test)):
        if not 0.0 < share < 1.0:
            raise UserError(
                f"`{name}` should be a share between 0 and 1. Received: "
                f"`{name}` = {share}. Give a share such as 0.1."
            )
    if validation + test >= 1.0:
        raise UserError(
            "`validation` and `test` should leave something to train. "
            f"Received: {validation} + {test}. Give less than 1 together."
        )


def parts_of(
    interactions: Interactions, part: np.ndarray, reason: str
) -> Split:
    """Splits the events by the number of their part.

    Args:
        interactions: the data.
        part: `[events]` 0 to train, 1 to validate, 2 to test.
        reason: possible reason of an empty part, for the error.

    Returns:
        A `Split`; every part keeps the order of the events.

    Raises:
        UserError: when a part is empty.
    """
    frames = [
        interactions.events[part == number].reset_index(drop=True)
        for number in range(3)
    ]
    if any(frame.empty for frame in frames):
        sizes = ", ".join(str(len(frame)) for frame in frames)
        raise UserError(
            "A split should leave events for train, validation and test. "
            f"Received: {sizes} events of {interactions.name}. {reason}: "
            "choose another method or load more data."
        )
    return Split(*frames)
