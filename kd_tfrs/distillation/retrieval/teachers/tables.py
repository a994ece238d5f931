"""Checks of the tables of teachers, and their rows by id."""

from __future__ import annotations

import logging

import numpy as np
import pandas as pd
import tensorflow as tf

from kd_tfrs.errors import UserError

logger = logging.getLogger(__name__)

_BLOCK = 65_536


def float_table(name: str, values: object) -> np.ndarray | tf.Tensor:
    """A matrix of finite floats, checked.

    Args:
        name: of the argument, for the error.
        values: `[rows, width]`, an array or what NumPy makes one of.

    Returns:
        The same as an array; tensors and memory-mapped files stay.

    Raises:
        UserError: it is no such matrix, or NaN or infinity is in it.
    """
    if not isinstance(values, (np.ndarray, tf.Tensor)):
        values = np.asarray(values)
    dtype, shape = tf.as_dtype(values.dtype), tuple(values.shape)
    if len(shape) != 2 or not all(shape) or not dtype.is_floating:
        raise UserError(
            f"`{name}` should be a matrix of floats. Received: {dtype.name} "
            f"of shape {shape}. Convert it, for example by "
            f"`np.asarray({name}, np.float32)`."
        )
    _check_finite(name, values)
    return values


def _check_finite(name: str, values: np.ndarray | tf.Tensor) -> None:
    # A file may be larger than the memory: its first rows tell.
    count = 2 if isinstance(values, np.memmap) else len(values)
    for start in range(0, count, _BLOCK):
        block = np.asarray(values[start : min(start + _BLOCK, count)])
        good = np.isfinite(block).all(axis=1)
        if not good.all():
            raise UserError(
                f"`{name}` should be finite. Received: NaN or infinity in row "
                f"{start + int(np.argmin(good))} of {len(values)}. Load the "
                "values of a trained teacher."
            )


def check_widths(query: int, candidate: int) -> None:
    """Checks that both sides of a teacher have one width.

    Args:
        query: width of the query embeddings.
        candidate: width of the candidate embeddings.

    Raises:
        UserError: the widths differ.
    """
    if query != candidate:
        raise UserError(
            "Query and candidate embeddings should have one width. Received: "
            f"{query} and {candidate}. Give both tables of one teacher."
        )


def rows_by_id(
    what: str,
    own: object,
    wanted: np.ndarray,
    matched: dict[str, float],
    others: str = "the mean of its rows",
) -> np.ndarray:
    """The rows of a teacher's table for the ids of a catalogue.

    Ids are compared as text where one side has numbers and the other has
    text. The share that is found is logged, and kept in `matched`.

    Args:
        what: "query" or "candidate".
        own: `[n]` ids of the teacher's rows.
        wanted: `[rows]` ids of the catalogue.
        matched: receives the share by `what`.
        others: what stands for an id that the teacher lacks.

    Returns:
        `[rows]` int64; -1 where the teacher lacks the id.

    Raises:
        UserError: an id is repeated, or none is found.
    """
    index, wanted = pd.Index(np.asarray(own)), pd.Index(wanted)
    repeated = int(index.duplicated().sum())
    if repeated:
        raise UserError(
            f"The teacher's {what} ids should be unique. Received: {repeated} "
            f"repeated of {len(index)}. Drop the duplicates."
        )
    kinds = [
        "numbers" if pd.api.types.is_integer_dtype(x) else "text"
        for x in (index, wanted)
    ]
    if kinds[0] != kinds[1]:
        index, wanted = index.map(_text), wanted.map(_text)
    rows = index.get_indexer(wanted)
    share = float((rows >= 0).mean())
    if share == 0:
        raise UserError(
            f"The teacher's {what} ids should be those of the catalogue. "
            f"Received: 0 % found; the teacher has {kinds[0]} such as "
            f"{index[0]!r}, the catalogue {kinds[1]} such as {wanted[0]!r}. "
            "Give the raw ids of the teacher's rows."
        )
    matched[what] = share
    logger.log(
        logging.INFO if share == 1 else logging.WARNING,
        "the teacher has %.1f %% of the %d %s ids of the catalogue%s",
        100 * share,
        len(wanted),
        what,
        "" if share == 1 else f"; {others} stands for the others",
    )
    return rows


def table_by_id(
    what: str,
    ids: object,
    table: object,
    wanted: np.ndarray,
    matched: dict[str, float],
    unknown_first: bool = False,
) -> np.ndarray:
    """A teacher's table in the order of a catalogue.

    Args:
        what: see `rows_by_id`.
        ids: `[n]` ids of the rows of `table`.
        table: `[n, width]` floats.
        wanted: see `rows_by_id`.
        matched: see `rows_by_id`.
        unknown_first: whether a row for the unknown user comes first.

    Returns:
        `[rows, width]`; the mean of the table where the teacher lacks the id.

    Raises:
        UserError: ids and table do not fit, see also `rows_by_id`.
    """
    table = np.asarray(float_table(f"{what}_embeddings", table))
    if len(ids) != len(table):
        raise UserError(
            f"`{what}_ids` should have an id for each row. Received: "
            f"{len(ids)} ids and {len(table)} rows. Give both in one order."
        )
    rows = rows_by_id(what, ids, wanted, matched)
    mean = table.mean(axis=0, dtype=np.float64).astype(table.dtype)
    found = np.where((rows >= 0)[:, None], table[rows], mean)
    return np.concatenate([mean[None], found]) if unknown_first else found


def _text(value: object) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
