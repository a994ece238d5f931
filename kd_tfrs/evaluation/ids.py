"""Raw ids: their kinds, their order, and exclusions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from kd_tfrs.errors import UserError

# No integer id has this value. It pads the rows of `Exclusions.padded`.
INTEGER_PADDING = int(np.iinfo(np.int64).min)
TEXT_PADDING = ""


def padding_id(*, is_text: bool) -> int | str:
    """The padding value for ids: a value that no id has.

    Args:
        is_text: whether ids are strings.

    Returns:
        `TEXT_PADDING` or `INTEGER_PADDING`.

    Example:
    >>> padding_id(is_text=True)
    ''
    """
    return TEXT_PADDING if is_text else INTEGER_PADDING


def as_ids(values: Any, name: str = "ids") -> np.ndarray:
    """Turns ids of any container into `int64` or into Python strings.

    Args:
        values: ids of any shape: integers, text, or the bytes that TensorFlow
            returns for text.
        name: name of the ids in an error.

    Returns:
        An array of the same shape, dtype `int64` or `object` (of `str`).

    Raises:
        UserError: ids that are neither all integers nor all text.

    Example:
    >>> as_ids([b"a", b"b"]).tolist()
    ['a', 'b']
    """
    if isinstance(values, (pd.Series, pd.Index)) and not isinstance(
        values.dtype, np.dtype
    ):
        values = values.to_numpy(dtype=object)
    array = np.asarray(values)
    if array.size == 0:
        kind = object if array.dtype.kind in "OUS" else np.int64
        return array.astype(kind)
    if array.dtype.kind in "iu":
        return array.astype(np.int64, copy=False)
    if array.dtype.kind in "US":
        array = array.astype(object)
    kind = "floating"
    if array.dtype.kind == "O":
        kind = pd.api.types.infer_dtype(array.ravel(), skipna=False)
    if kind == "string":
        return array
    if kind == "bytes":
        return _decoded(array)
    if kind == "integer":
        return array.astype(np.int64)
    raise UserError(
        f"`{name}` should be all integers or all text. Received: {kind} "
        f"values such as {shown(array.ravel()[0])}. Drop missing ids and "
        "convert the column with .astype(str) or .astype('int64')."
    )


def _decoded(array: np.ndarray) -> np.ndarray:
    """Decodes bytes to text; each distinct value once."""
    codes, distinct = pd.factorize(array.ravel())
    text = np.array([value.decode("utf-8") for value in distinct], object)
    return text[codes].reshape(array.shape)


def shown(value: Any) -> str:
    """Formats an id as in the data, without NumPy's type name.

    Example:
    >>> shown(np.int64(7))
    '7'
    """
    return repr(value.item() if isinstance(value, np.generic) else value)


def id_kind(ids: np.ndarray) -> str:
    """Names the kind of an id array: "integer" or "text".

    Args:
        ids: an array made by `as_ids`.

    Returns:
        The name.

    Example:
    >>> id_kind(as_ids(["a"]))
    'text'
    """
    return "integer" if ids.dtype.kind == "i" else "text"


class IdIndex:
    """Distinct ids in ascending order, with a lookup of their positions.

    Ascending means numeric for integers and by code point for text. It is the
    catalogue order by which every tie is broken.

    Args:
        ids: [n], distinct.
        name: name of the ids in an error.

    Raises:
        UserError: no ids, or duplicate ids.

    Example:
    >>> index = IdIndex(["b", "a"])
    >>> index.ids.tolist(), index.order.tolist()
    (['a', 'b'], [1, 0])
    >>> index.positions(["b", "?"]).tolist()
    [1, -1]
    """

    def __init__(self, ids: Any, name: str = "ids") -> None:
        given = as_ids(ids, name).ravel()
        if not given.size:
            raise UserError(
                f"`{name}` should hold at least one id. Received: none. Check "
                "how the table was filtered."
            )
        self.name = name
        self.order = np.argsort(given, kind="stable")
        self.ids = given[self.order]
        self._index = pd.Index(self.ids, dtype=self.ids.dtype)
        if not self._index.is_unique:
            twice = self.ids[self._index.duplicated()][0]
            raise UserError(
                f"`{name}` should be distinct. Received: {shown(twice)} twice "
                "or more. Drop the duplicates."
            )

    def __len__(self) -> int:
        """Number of ids."""
        return len(self.ids)

    def positions(self, ids: Any) -> np.ndarray:
        """Finds ids in the ascending order.

        Args:
            ids: ids of any shape.

        Returns:
            `int64` of the same shape; -1 for an unknown id.

        Raises:
            UserError: text looked up among integers, or the reverse.
        """
        ids = as_ids(ids, self.name)
        if ids.size and id_kind(ids) != id_kind(self.ids):
            raise UserError(
                f"`{self.name}` are of kind {id_kind(self.ids)}. Received: "
                f"{id_kind(ids)} ids such as {shown(ids.ravel()[0])}. Give "
                "ids of the kind that the data has."
            )
        rows = self._index.get_indexer(ids.ravel())
        return rows.astype(np.int64, copy=False).reshape(ids.shape)


@dataclass(frozen=True, eq=False)
class Exclusions:
    """Items that must not be recommended, a row of raw ids for each query.

    Args:
        bounds: [n + 1]; row i holds `ids[bounds[i]:bounds[i + 1]]`.
        ids: [total], raw item ids.

    Example:
    >>> Exclusions.of([[7], [], [8, 9]], 3).padded().shape
    (3, 2)
    """

    bounds: np.ndarray
    ids: np.ndarray

    @classmethod
    def of(
        cls, exclude: Exclusions | Sequence[Any] | None, num_queries: int
    ) -> Exclusions:
        """Converts the `exclude` argument of `Scorer.recommend`.

        Args:
            exclude: `Exclusions`, a sequence of id arrays (one for each
                query), or None for no exclusions.
            num_queries: expected number of rows.

        Returns:
            The exclusions.

        Raises:
            UserError: another number of rows than of queries.
        """
        if exclude is None:
            bounds = np.zeros(num_queries + 1, np.int64)
            return cls(bounds, np.empty(0, np.int64))
        if len(exclude) != num_queries:
            raise UserError(
                "`exclude` should hold one row for each query. Received: "
                f"{len(exclude)} rows for {num_queries} queries. Give an empty "
                "row where nothing is excluded."
            )
        if isinstance(exclude, Exclusions):
            return exclude
        rows = [as_ids(row, "exclude").ravel() for row in exclude]
        rows = [row for row in rows if row.size] or [np.empty(0, np.int64)]
        lengths = [len(row) for row in exclude]
        bounds = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])
        return cls(bounds.astype(np.int64), as_ids(np.concatenate(rows)))

    def __len__(self) -> int:
        """Number of queries."""
        return len(self.bounds) - 1

    @property
    def rows(self) -> np.ndarray:
        """[total] the query that each excluded id belongs to."""
        return np.repeat(np.arange(len(self)), np.diff(self.bounds))

    def block(self, start: int, stop: int) -> Exclusions:
        """Cuts out the rows from `start` up to, not including, `stop`.

        Args:
            start: first query.
            stop: query after the last one.

        Returns:
            The exclusions of those queries.
        """
        bounds = self.bounds[start : stop + 1]
        ids = self.ids[bounds[0] : bounds[-1]]
        return Exclusions(bounds - bounds[0], ids)

    def padded(self, padding: int | str | None = None) -> np.ndarray:
        """Lays the rows side by side.

        Args:
            padding: fills short rows; by default `INTEGER_PADDING` or
                `TEXT_PADDING` by the kind of the ids.

        Returns:
            [n, longest row], at least one column wide.
        """
        if padding is None:
            padding = padding_id(is_text=id_kind(self.ids) == "text")
        lengths = np.diff(self.bounds)
        width = max(1, int(lengths.max(initial=0)))
        kind = object if isinstance(padding, str) else np.int64
        table = np.full((len(self), width), padding, dtype=kind)
        table[np.arange(width) < lengths[:, None]] = self.ids
        return table
