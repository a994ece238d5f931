"""Names of columns as inputs of TensorFlow's signatures."""

from __future__ import annotations

import re
from collections.abc import Iterable

from kd_tfrs.errors import UserError


def input_key(name: str) -> str:
    """The name of a column as an input of a signature.

    Letters, digits and underscores stay; other characters become underscores,
    and "arg_" precedes a name that does not start with a letter, as
    TensorFlow itself would rename them.

    Args:
        name: of the column.

    Returns:
        A name that TensorFlow does not change.

    Example:
    >>> input_key("Book Title"), input_key("2nd")
    ('Book_Title', 'arg_2nd')
    """
    key = re.sub("[^A-Za-z0-9_]", "_", name)
    return key if key[:1].isascii() and key[:1].isalpha() else f"arg_{key}"


def input_keys(names: Iterable[str], taken: Iterable[str] = ()) -> dict:
    """The inputs' names of several columns.

    Args:
        names: of the columns.
        taken: other input names of the signature, such as "k".

    Returns:
        Keys by column name, in the order of the names.

    Raises:
        UserError: two columns have the same input name.

    Example:
    >>> input_keys(["age", "Book Title"])
    {'age': 'age', 'Book Title': 'Book_Title'}
    """
    keys = {name: input_key(name) for name in names}
    every = [*taken, *keys.values()]
    for name, key in keys.items():
        if every.count(key) > 1:
            raise UserError(
                "Columns should be inputs of different names. Received: "
                f"{name!r} as the input {key!r}, which is not unique in "
                f"{every}. Rename the column."
            )
    return keys
