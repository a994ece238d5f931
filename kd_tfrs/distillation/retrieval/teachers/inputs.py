"""Inputs of a teacher by row, and calls of models of any kind."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from kd_tfrs.data.retrieval.batches import gather_features
from kd_tfrs.errors import UserError

Inputs = Mapping[str, np.ndarray] | np.ndarray


def count_rows(inputs: Inputs) -> int:
    """How many rows the inputs have, which is the same for each of them.

    Args:
        inputs: one array `[rows, ...]`, or several by name.

    Returns:
        The number of rows.

    Raises:
        UserError: they differ.
    """
    arrays = inputs.values() if isinstance(inputs, Mapping) else [inputs]
    lengths = {len(array) for array in arrays}
    if len(lengths) != 1:
        raise UserError(
            "A teacher's inputs should have one row for each user, or item. "
            f"Received: arrays of {sorted(lengths)} rows."
        )
    return lengths.pop()


def trial_rows(count: int) -> tf.Tensor:
    """The first rows, two if there are, on which a teacher is tried."""
    return tf.range(min(2, count))


def as_tensors(inputs: Inputs) -> dict[str, tf.Tensor] | tf.Tensor:
    """The inputs as constants, held once however many graphs use them."""
    if isinstance(inputs, Mapping):
        return {name: tf.constant(array) for name, array in inputs.items()}
    return tf.constant(inputs)


def call_model(
    model: Callable, inputs: dict[str, tf.Tensor] | tf.Tensor
) -> Any:
    """Calls a Keras model without dropout, and anything else as it is."""
    if isinstance(model, tf.keras.Model):
        return model(inputs, training=False)
    return model(inputs)


def run_rows(
    model: Callable,
    inputs: dict[str, tf.Tensor] | tf.Tensor,
    rows: tf.Tensor,
) -> Mapping[str, tf.Tensor]:
    """Named outputs of a tower for some rows.

    Args:
        model: see `TwoTowerTeacher`.
        inputs: its inputs by row.
        rows: `[batch]` rows.

    Returns:
        `[batch, width]` by name; `embedding` alone where the model returns
        one tensor.
    """
    if isinstance(inputs, Mapping):
        outputs = call_model(model, gather_features(inputs, rows))
    else:
        outputs = call_model(model, tf.gather(inputs, rows))
    if isinstance(outputs, Mapping):
        return outputs
    return {"embedding": outputs}
