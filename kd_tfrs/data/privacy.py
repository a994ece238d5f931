"""Keyed pseudonyms for user and item ids, before anything is written."""

from __future__ import annotations

import hmac
import os
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from kd_tfrs.data.interactions import Interactions
from kd_tfrs.errors import UserError

KEY_VARIABLE = "KD_TFRS_PSEUDONYM_KEY"
_MIN_KEY_BYTES = 16
_HEX_DIGITS = 32


def read_key(path: str | os.PathLike[str] | None = None) -> bytes:
    """Reads the key from a file, or from the environment.

    Args:
        path: a file that contains the key; blanks at either end are removed.
            None for the environment variable `KD_TFRS_PSEUDONYM_KEY`. A `~`
            is the home folder.

    Returns:
        The key. Nothing in this package stores it.

    Raises:
        UserError: when there is none, or it is shorter than 16 bytes.

    Example:
    ```python
    interactions = pseudonymise(interactions, read_key("secret.key"))
    ```
    """
    if path is not None:
        try:
            key = Path(os.path.expanduser(path)).read_bytes().strip()
        except OSError as error:
            raise UserError(
                "The key file should be readable. Received: "
                f"{os.fspath(path)!r} ({error.strerror}). Name a file with at "
                f"least {_MIN_KEY_BYTES} random bytes."
            ) from None
    else:
        key = os.environ.get(KEY_VARIABLE, "").strip().encode()
    _check_key(key)
    return key


def pseudonymise(
    interactions: Interactions,
    key: bytes,
    columns: Collection[str] = ("user", "item"),
) -> Interactions:
    """Replaces the ids in every table by keyed pseudonyms.

    A pseudonym is the first 128 bits of HMAC-SHA256(key, owner + ":" + id):
    the same key always gives the same pseudonym, and pseudonyms cannot be
    computed or checked without the key. The tables are sorted by pseudonym,
    and the events by time (by pseudonym when there is no time), since the
    original order can reveal the ids. Other columns do not change: users may
    still be recognised by columns such as age and zip code.

    Args:
        interactions: the data, which do not change.
        key: 16 bytes or more, secret and random; see `read_key`.
        columns: ids to replace: "user", "item" or both.

    Returns:
        New `Interactions`; the replaced ids are strings of 32 hex digits.

    Raises:
        UserError: when the key is too short or a name is unknown.

    Example:
    ```python
    secret = pseudonymise(load("synthetic"), key=read_key())
    ```

    References:
        H. Krawczyk, M. Bellare, R. Canetti, "HMAC: Keyed-Hashing for Message
        Authentication", RFC 2104, 1997.
    """
    _check_key(key)
    owners = [columns] if isinstance(columns, str) else list(columns)
    for owner in owners:
        if owner not in ("user", "item"):
            raise UserError(
                "`columns` should name user, item or both. Received: "
                f"`columns` = {owners}. Choose from these."
            )
    for owner in owners:
        interactions = _pseudonymise_owner(interactions, key, owner)
    splits = interactions.given_splits
    if splits is not None:
        splits = {
            name: _reorder(frame, interactions)
            for name, frame in splits.items()
        }
    events = _reorder(interactions.events, interactions)
    return replace(interactions, events=events, given_splits=splits)


def _reorder(events: pd.DataFrame, interactions: Interactions) -> pd.DataFrame:
    schema = interactions.schema
    if schema.time:
        # The sort is stable: events of the same second keep their order.
        order = np.argsort(events[schema.time].to_numpy(), kind="stable")
    else:
        user = pd.Index(interactions.users[schema.user_id])
        item = pd.Index(interactions.items[schema.item_id])
        order = np.lexsort(
            (
                item.get_indexer(events[schema.item_id]),
                user.get_indexer(events[schema.user_id]),
            )
        )
    return events.iloc[order].reset_index(drop=True)


def _pseudonymise_owner(
    interactions: Interactions, key: bytes, owner: str
) -> Interactions:
    schema = interactions.schema
    column = schema.user_id if owner == "user" else schema.item_id
    table = interactions.users if owner == "user" else interactions.items
    ids = pd.Index(table[column])
    names = pd.Series(
        [_pseudonym(key, owner, value) for value in ids], dtype=str
    ).to_numpy()

    def renamed(frame: pd.DataFrame) -> pd.DataFrame:
        values = pd.Series(names[ids.get_indexer(frame[column])])
        return frame.assign(**{column: values.set_axis(frame.index)})

    splits = interactions.given_splits
    if splits is not None:
        splits = {name: renamed(frame) for name, frame in splits.items()}
    # The original order would reveal the ids.
    table = renamed(table).iloc[np.argsort(names)].reset_index(drop=True)
    return replace(
        interactions,
        events=renamed(interactions.events),
        given_splits=splits,
        **{f"{owner}s": table},
    )


def _pseudonym(key: bytes, owner: str, value: object) -> str:
    message = f"{owner}:{value}".encode("utf-8", "surrogatepass")
    return hmac.digest(key, message, "sha256").hex()[:_HEX_DIGITS]


def _check_key(key: bytes) -> None:
    if not isinstance(key, bytes):
        raise UserError(
            "`key` should be bytes. Received: an object of type "
            f"{type(key).__name__}. Encode it, or use read_key."
        )
    if len(key) < _MIN_KEY_BYTES:
        raise UserError(
            f"`key` should have at least {_MIN_KEY_BYTES} bytes. Received: "
            f"{len(key)} bytes. Set {KEY_VARIABLE} or name a key file."
        )
