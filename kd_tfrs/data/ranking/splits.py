"""Splits that published rating predictions use: at random, and u1 to u5."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from kd_tfrs.data import splits
from kd_tfrs.data.formats import delimited
from kd_tfrs.data.interactions import Interactions
from kd_tfrs.data.splits import Split, parts_of
from kd_tfrs.errors import UserError

FOLDS = ("u1", "u2", "u3", "u4", "u5")
METHODS = ("auto", "time", "random", *FOLDS, "given", "ratio", "leave_one_out")
_SOME_TEST = 0.2


def random_split(
    interactions: Interactions,
    validation: float = 0.1,
    test: float = _SOME_TEST,
    seed: int = 0,
) -> Split:
    """Takes a share of all events at random, whosever they are.

    Args:
        interactions: what to split.
        validation: share to validate of the events that are not for test, in
            (0, 1).
        test: share of the events to test, in (0, 1); the rest is what papers
            train on.
        seed: the same seed gives the same split.

    Returns:
        A `Split`; every part keeps the order of the events.

    Raises:
        UserError: when a share is out of range or leaves nothing.

    Example:
    ```python
    parts = random_split(load("movielens-100k"), seed=1)
    ```
    """
    _check_share("test", test)
    rng = np.random.default_rng(seed)
    total = len(interactions.events)
    tested = np.zeros(total, bool)
    tested[rng.permutation(total)[: round(total * test)]] = True
    return _held_out(interactions, tested, validation, rng)


def fold_split(
    interactions: Interactions,
    test_file: str | Path,
    validation: float = 0.1,
    seed: int = 0,
) -> Split:
    """Tests on the pairs of a file, such as GroupLens's `u1.test`.

    Raises:
        UserError: when the file cannot be read or names other events.

    Example:
    ```python
    parts = fold_split(load("movielens-100k"), "ml-100k/u1.test")
    ```
    """
    path = Path(test_file)
    names = ["user", "item", "rating", "time"]
    asked = delimited.read_delimited(path, "\t", names=names, quoted=False)
    schema = interactions.schema
    pairs = pd.MultiIndex.from_frame(
        interactions.events[[schema.user_id, schema.item_id]]
    )
    wanted = pd.MultiIndex.from_frame(asked.to_pandas()[names[:2]])
    unknown = ~wanted.isin(pairs)
    if unknown.any():
        row = int(unknown.argmax())
        raise UserError(
            f"`{path}`, line {row + 1}: user and item should be of an event "
            f"of {interactions.name}. Received: {wanted[row]}. Give the file "
            "of this data set."
        )
    rng = np.random.default_rng(seed)
    return _held_out(interactions, pairs.isin(wanted), validation, rng)


def split_for_ranking(
    interactions: Interactions,
    method: str = "auto",
    *,
    folder: Path | None = None,
    validation: float | None = None,
    test: float | None = None,
    seed: int = 0,
) -> Split:
    """Splits the events by the named method.

    Args:
        interactions: what to split.
        method: "time", "random" (80/20), "u1" to "u5" (files of GroupLens in
            `folder`), or of `splits.split`: "given", "ratio",
            "leave_one_out". "auto" takes given splits where there are some,
            else time where there is time, else random.
        folder: where `u1.test` to `u5.test` are.
        validation: share to validate, a tenth when `None`.
        test: share to test; a tenth by time and ratio, a fifth at random when
            `None`. Leave it out where the data say what is tested.
        seed: of what is random.

    Returns:
        A `Split`.

    Raises:
        UserError: when the method is unknown or does not fit the data.
    """
    if method not in METHODS:
        raise UserError(
            f"`split` should be one of {', '.join(METHODS)}. Received: "
            f"`split` = {method!r}. Choose one of these."
        )
    if method == "auto":
        timed = "random" if interactions.schema.time is None else "time"
        method = "given" if interactions.given_splits else timed
    check_unused(method, validation, test)
    shares = {"validation": 0.1 if validation is None else validation}
    if method in FOLDS:
        path = fold_file(folder, method)
        return fold_split(interactions, path, **shares, seed=seed)
    if test is not None:
        shares["test"] = test
    if method == "time":
        return splits.by_time(interactions, **shares)
    if method == "random":
        return random_split(interactions, **shares, seed=seed)
    if method == "ratio":
        return splits.by_ratio(interactions, **shares, seed=seed)
    return splits.split(interactions, method, seed)


def fold_file(folder: Path | None, method: str) -> Path:
    """The file of the events that a fold tests.

    Raises:
        UserError: there is no such file.
    """
    path = (folder or Path()) / f"{method}.test"
    if not path.exists():
        raise UserError(
            f"Split `{method}` should have its file `{path}`. Received: no "
            "such file. Unpack it from GroupLens's ml-100k.zip, or choose "
            "split=random with a seed."
        )
    return path


def check_unused(
    method: str, validation: float | None, test: float | None
) -> None:
    """Refuses shares that a split does not use.

    Raises:
        UserError: a share should be left out.
    """
    fixed = method in ("given", "leave_one_out")
    unused = {
        "validation": fixed and validation is not None,
        "test": (fixed or method in FOLDS) and test is not None,
    }
    for name, wrong in unused.items():
        if wrong:
            raise UserError(
                f"`{name}` should be left out with split `{method}`, which "
                f"says itself what is held out. Received: `{name}` = "
                f"{validation if name == 'validation' else test}."
            )


def _held_out(
    interactions: Interactions,
    tested: np.ndarray,
    validation: float,
    rng: np.random.Generator,
) -> Split:
    _check_share("validation", validation)
    rest = rng.permutation(np.flatnonzero(~tested))
    part = np.where(tested, 2, 0)
    part[rest[: max(1, round(len(rest) * validation))]] = 1
    return parts_of(interactions, part, "The shares are too large or small")


def _check_share(name: str, share: float) -> None:
    if not 0.0 < share < 1.0:
        raise UserError(
            f"`{name}` should be a share between 0 and 1. Received: `{name}` "
            f"= {share}. Give a share such as 0.1."
        )
