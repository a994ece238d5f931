"""A teacher's embeddings of a user's past events, as a student's features."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from kd_tfrs.data.ranking.event_history import SortedEvents
from kd_tfrs.data.ranking.examples import PARTS, Examples, ExampleSplit
from kd_tfrs.data.schema import Column, Encoding, Owner
from kd_tfrs.errors import UserError

_PREFIX = "teacher_history_"


def with_teacher_history(
    split: ExampleSplit,
    embeddings: Mapping[str, np.ndarray],
    dim: int = 8,
    *,
    online: bool = False,
) -> ExampleSplit:
    r"""Adds a teacher's embeddings of each user's earlier events as features.

    $$x_{ut} = \frac{1}{n_{ut}} \sum_{i: u_i = u, \, t_i < t} V^\top
    (h_i - \bar h)$$

    with the teacher's output $h_i$ for the event of row $i$, such as a hidden
    layer, and the `dim` principal directions $V$ of the training rows. A
    logit is a single number; this is a wider channel from the teacher to the
    student, beside which a loss on logits has a use of its own. Only earlier
    events count: the teacher never runs when the student is served, and the
    features of a user are numbers that are computed once and stored. They are
    missing where there is no earlier event.

    Ours: principal components in the place of an autoencoder, of which they
    are the linear one; the first of them are the best narrower embedding, as
    with the paper's nested ones. The paper pools with a mean, a sum or
    attention over the sequence; here it is the mean.

    Args:
        split: examples of events with a time, from `build_examples`.
        embeddings: by part, `[rows, width]` outputs of the teacher in the
            order of the examples, see `CachedTeacher.arrays`. "train" is
            needed; with `online`, "validation" and "test" as well.
        dim: numbers of a user, at least 1 and at most `width`.
        online: whether held-out rows also see the earlier events of
            validation and test, see `build_examples`.

    Returns:
        The split with the features `teacher_history_0` and so on, of users.

    Raises:
        UserError: the examples have no time, or embeddings do not fit them.

    Example:
    ```python
    outputs = CachedTeacher.of(teacher, rows, ["hidden_1"]).arrays["hidden_1"]
    split = with_teacher_history(split, {"train": outputs}, dim=8)
    ```

    References:
        Jiang et al. 2026, "LoopFM: Learning frOm HistOrical RePresentations
        of Foundation Model for Recommendation", arXiv:2605.29280.
    """
    parts = PARTS if online else PARTS[:1]
    _check(split, embeddings, parts, dim)
    directions = _principal(embeddings["train"], dim)
    centre = embeddings["train"].mean(axis=0, dtype=np.float64)
    users, times = _keys(split)
    seen: list[str] = []
    examples: dict[str, Examples] = {}
    for part in PARTS:
        if part in parts:
            seen.append(part)
        values = np.concatenate(
            [(embeddings[name] - centre) @ directions for name in seen]
        )
        events = SortedEvents(
            *(
                np.concatenate([x[name] for name in seen])
                for x in (users, times)
            )
        )
        window = events.before(users[part], times[part])
        means = [window.means(column) for column in values.T]
        examples[part] = _with_columns(getattr(split, part), means)
    return dataclasses.replace(split, **examples)


def _principal(rows: np.ndarray, dim: int) -> np.ndarray:
    """`[width, dim]` directions of the largest variance, the largest first."""
    centred = rows - rows.mean(axis=0, dtype=np.float64)
    # `eigh` sorts by ascending eigenvalue.
    vectors = np.linalg.eigh(centred.T @ centred)[1][:, ::-1][:, :dim]
    # Of one sign, so that the same embeddings give the same features.
    largest = vectors[np.abs(vectors).argmax(axis=0), np.arange(dim)]
    return vectors * np.where(largest < 0, -1.0, 1.0)


def _keys(
    split: ExampleSplit,
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Numbers of the users and times of the rows, by part."""
    schema = split.interactions.schema
    frames = [getattr(split.parts, part) for part in PARTS]
    codes, _ = pd.factorize(pd.concat([x[schema.user_id] for x in frames]))
    ends = np.cumsum([len(frame) for frame in frames])[:-1]
    return (
        dict(zip(PARTS, np.split(codes, ends), strict=True)),
        {
            part: frame[schema.time].to_numpy()
            for part, frame in zip(PARTS, frames, strict=True)
        },
    )


def _with_columns(examples: Examples, means: Sequence[np.ndarray]) -> Examples:
    added = {f"{_PREFIX}{i}": column for i, column in enumerate(means)}
    table = pd.concat(
        [examples.table, pd.DataFrame(added, index=examples.table.index)],
        axis=1,
    )
    columns = tuple(Column(x, Owner.USER, Encoding.NUMBER) for x in added)
    return dataclasses.replace(
        examples, table=table, columns=(*examples.columns, *columns)
    )


def _check(
    split: ExampleSplit,
    embeddings: Mapping[str, np.ndarray],
    parts: Sequence[str],
    dim: int,
) -> None:
    if split.parts is None or split.interactions.schema.time is None:
        raise UserError(
            "`split` should be examples of events with a time. Received: "
            f"{split.name} without. Make it with `build_examples`."
        )
    taken = [x for x in split.train.table.columns if x.startswith(_PREFIX)]
    if taken:
        raise UserError(
            f"`split` should have no columns named {_PREFIX}*. Received: "
            f"{taken[0]!r}. Take the split without the features of a teacher."
        )
    for part in parts:
        rows, given = len(getattr(split, part)), embeddings.get(part)
        shape = getattr(given, "shape", None)
        if shape is None or len(shape) != 2 or shape[0] != rows:
            raise UserError(
                f"`embeddings` of {part} should be [{rows}, width]. Received: "
                f"{'none' if shape is None else list(shape)}. Compute them "
                "for the rows of the split in order, see `CachedTeacher.of`."
            )
        if not np.isfinite(given).all():
            raise UserError(
                f"`embeddings` of {part} should be finite. Received: NaN or "
                "infinity. Leave out rows without an output of the teacher."
            )
    width = embeddings["train"].shape[1]
    if isinstance(dim, bool) or not 1 <= dim <= width:
        raise UserError(
            "`dim` should be at least 1 and at most the width of the "
            f"embeddings. Received: `dim` = {dim!r} of {width}. Lower it."
        )
