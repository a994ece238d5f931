"""Functions of a dict of columns as signatures with an input by column."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping

import tensorflow as tf

from kd_tfrs.errors import UserError

Outputs = dict[str, tf.Tensor]


def input_key(name: str) -> str:
    """The name of a column as an input of a signature.

    Letters, digits and underscores stay; other characters become underscores,
    and "arg_" precedes a name that does not start with a letter, as
    TensorFlow itself would rename them.

    Example:
    >>> input_key("Book Title"), input_key("2nd")
    ('Book_Title', 'arg_2nd')
    """
    key = re.sub("[^A-Za-z0-9_]", "_", name)
    return key if key[:1].isascii() and key[:1].isalpha() else f"arg_{key}"


def input_keys(names: Iterable[str], taken: Iterable[str] = ()) -> dict:
    """The inputs' names of several columns.

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


def concrete(
    function: Callable[[Outputs], Outputs], specs: Mapping[str, tf.TensorSpec]
) -> tf.types.experimental.ConcreteFunction:
    """Traces a function of a dict of columns, with one input for each column.

    Args:
        function: function from tensors by column name to outputs by name.
        specs: shape and type by column name.

    Returns:
        A concrete function for `tf.saved_model.save` and the LiteRT
        converter; inputs are named by `input_keys`.
    """
    keys = input_keys(specs)

    @tf.function(autograph=False)
    def positional(*columns: tf.Tensor) -> Outputs:
        return function(dict(zip(specs, columns, strict=True)))

    return positional.get_concrete_function(
        *(
            tf.TensorSpec(spec.shape, spec.dtype, keys[name])
            for name, spec in specs.items()
        )
    )


def shared(
    function: Callable[[Outputs], Outputs],
    specs: Mapping[str, tf.TensorSpec],
) -> Callable[[Outputs], Outputs]:
    """Traces a function once, so that several signatures share its graph.

    Args:
        function: function from tensors by column name to outputs by name.
        specs: shape and type by column name.

    Returns:
        The same function of a dict with these columns.
    """
    keys, traced = input_keys(specs), concrete(function, specs)
    return lambda columns: traced(
        **{keys[name]: columns[name] for name in specs}
    )
