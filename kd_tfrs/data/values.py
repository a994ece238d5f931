"""Turns the user's cells into ids, numbers, seconds and text."""

from __future__ import annotations

import numpy as np
import pandas as pd

from kd_tfrs.data.schema import Column, Encoding
from kd_tfrs.errors import UserError

_INT64_MAX = np.iinfo(np.int64).max
_YEAR_2100 = 4_102_444_800
# Larger epoch times are read as milli-, micro- or nanoseconds: in seconds they
# would be after the year 5000.
_LARGEST_SECONDS = 1e11


def missing_ids(values: pd.Series) -> np.ndarray:
    """Masks the missing ids: null, NaN or blank.

    Args:
        values: ids of any dtype, `[rows]`.

    Returns:
        Boolean array, `[rows]`.
    """
    missing = values.isna().to_numpy(bool)
    if _is_text(values):
        blank = values.astype(str).str.strip() == ""
        missing = missing | blank.to_numpy(bool)
    return missing


def whole_numbers(values: pd.Series) -> np.ndarray | None:
    """Returns ids as int64 when each is a whole number, otherwise None.

    Args:
        values: ids without missing ones, `[rows]`. Floats without a fraction
            count, as pandas makes them of integers beside a missing one;
            strings do not.

    Returns:
        An int64 array `[rows]`, or None.
    """
    if isinstance(values.dtype, pd.CategoricalDtype):
        values = values.astype(values.cat.categories.dtype)
    kind = values.dtype.kind if hasattr(values.dtype, "kind") else "O"
    if kind == "b":
        return None
    if kind in "iu":
        if kind == "u" and len(values) and int(values.max()) > _INT64_MAX:
            return None
        return values.to_numpy(np.int64)
    if kind == "f":
        floats = values.to_numpy(np.float64)
        exact = (floats == np.floor(floats)) & (np.abs(floats) < 2**53)
        return floats.astype(np.int64) if exact.all() else None
    if values.dtype != object:
        return None
    inferred = pd.api.types.infer_dtype(values, skipna=False)
    if inferred != "integer" or not len(values):
        return None
    try:
        return values.to_numpy(np.int64)
    except OverflowError:
        return None


def text_as_whole_numbers(values: pd.Series) -> np.ndarray | None:
    """Returns int64 when each string is a whole number as Python prints it.

    Args:
        values: strings, `[rows]`; "007" is not a number here, since it would
            not print back the same.

    Returns:
        An int64 array `[rows]`, or None.
    """
    text = values.astype(str)
    if not text.str.fullmatch(r"0|-?[1-9][0-9]{0,17}").all():
        return None
    return text.to_numpy(object).astype(np.int64)


def as_text_ids(values: pd.Series) -> pd.Series:
    """Returns ids as strings; whole numbers without a fraction.

    Args:
        values: ids without missing ones, `[rows]`.

    Returns:
        A series of strings with the same index and name.
    """
    whole = whole_numbers(values)
    if whole is not None:
        values = pd.Series(whole, index=values.index, name=values.name)
    return values.astype(str)


def as_numbers(values: pd.Series, column: Column) -> np.ndarray:
    """Returns a column as float64, NaN where a cell is no number.

    Args:
        values: the cells, `[rows]`. Datetimes become seconds since 1970.
        column: the column, for the error.

    Returns:
        A float64 array, `[rows]`.

    Raises:
        UserError: when most of the cells are text.
    """
    if pd.api.types.is_datetime64_any_dtype(values.dtype):
        return _datetime_seconds(values)
    numbers = pd.to_numeric(values, errors="coerce")
    result = numbers.to_numpy(np.float64, na_value=np.nan)
    _reject_text(values, np.isnan(result), column, "numbers")
    return result


def as_seconds(values: pd.Series, column: Column) -> np.ndarray:
    """Returns times as seconds since 1970, NaN where impossible.

    Args:
        values: `[rows]` datetimes, dates as text (ISO 8601), or epoch times
            in seconds, milli-, micro- or nanoseconds (guessed by their size).
        column: the column, for the error.

    Returns:
        A float64 array `[rows]`; NaN for times up to 1970 or beyond 2100.

    Raises:
        UserError: when most of the cells are neither numbers nor dates.
    """
    if pd.api.types.is_datetime64_any_dtype(values.dtype):
        seconds = _datetime_seconds(values)
    else:
        numbers = pd.to_numeric(values, errors="coerce")
        seconds = numbers.to_numpy(np.float64, na_value=np.nan)
        if _is_text(values) and np.isnan(seconds).mean() > 0.5:
            dates = pd.to_datetime(
                values, errors="coerce", utc=True, format="ISO8601"
            )
            seconds = _datetime_seconds(dates)
        _reject_text(values, np.isnan(seconds), column, "times")
        seconds = seconds / _unit_of(seconds)
    possible = (seconds > 0) & (seconds < _YEAR_2100)
    return np.where(possible, seconds, np.nan)


def as_feature(values: pd.Series, column: Column) -> pd.Series:
    """Returns a feature in the kind that its encoding works on.

    Args:
        values: the cells, `[rows]`.
        column: the feature's column.

    Returns:
        float64 with NaN where missing for `NUMBER` and `BUCKETS`; strings
        with "" where missing for all others, lists joined by the separator.

    Raises:
        UserError: when a column of numbers is mostly text.
    """
    if column.encoding in (Encoding.NUMBER, Encoding.BUCKETS):
        numbers = as_numbers(values, column)
        numbers = np.where(np.isfinite(numbers), numbers, np.nan)
        return pd.Series(numbers, index=values.index, name=values.name)
    missing = values.isna()
    if values.dtype == object:
        values = values.map(
            lambda cell: (
                column.separator.join(map(str, cell))
                if isinstance(cell, (list, tuple, set, np.ndarray))
                else cell
            )
        )
    present = as_text_ids(values[~missing])
    return present.reindex(values.index, fill_value="").astype(str)


def _datetime_seconds(values: pd.Series) -> np.ndarray:
    if getattr(values.dt, "tz", None) is not None:
        values = values.dt.tz_convert("UTC").dt.tz_localize(None)
    moments = values.to_numpy("datetime64[us]")
    seconds = moments.astype(np.int64) / 1e6
    return np.where(np.isnat(moments), np.nan, seconds)


def _unit_of(numbers: np.ndarray) -> float:
    finite = numbers[np.isfinite(numbers)]
    typical = np.median(finite) if len(finite) else 0.0
    unit = 1.0
    while typical / unit > _LARGEST_SECONDS:
        unit *= 1000.0
    return unit


def _reject_text(
    values: pd.Series, bad: np.ndarray, column: Column, wanted: str
) -> None:
    # A null is a missing value, not text; a few odd cells are dropped and
    # counted; a column that is text throughout is a mistake in the schema.
    text = bad & values.notna().to_numpy(bool)
    present = int(values.notna().sum())
    if not present or text.sum() <= present / 2:
        return
    row = int(np.argmax(text))
    sample, number = str(values.iloc[row])[:40], values.index[row] + 1
    raise UserError(
        f"Column {column.name!r} ({column.encoding.value}) should hold "
        f"{wanted}. Received: {sample!r} in data row {number}, and "
        f"{int(text.sum())} of {present} cells like it. Name "
        "the right column or change its encoding in the schema."
    )


def _is_text(values: pd.Series) -> bool:
    return pd.api.types.is_string_dtype(values.dtype) or values.dtype == object
