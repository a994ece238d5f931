"""Functions of a dict of columns as signatures with an input by column."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import tensorflow as tf

from kd_tfrs.export.names import input_keys

Outputs = dict[str, tf.Tensor]


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
