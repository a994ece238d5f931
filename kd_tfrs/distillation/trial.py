"""Trials of teachers and students on the first rows, before training."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow as tf

from kd_tfrs.distillation.losses import FeatureLoss, LossInputs
from kd_tfrs.errors import UserError

_ERRORS = (
    ValueError,
    TypeError,
    AttributeError,
    tf.errors.InvalidArgumentError,
    tf.errors.UnimplementedError,
    tf.errors.NotFoundError,
)


@contextlib.contextmanager
def trial_call(who: str, given: str = "the data") -> Iterator[None]:
    """Tells in one line that a model does not take its inputs.

    Args:
        who: "student", "teacher" or the name of a loss.
        given: what the model is called with.

    Raises:
        UserError: the model raises an error of Python, Keras or TensorFlow.
    """
    try:
        yield
    except UserError:
        raise
    except KeyError as error:
        raise UserError(
            f"The {who} should find its features in {given}. Received: data "
            f"without {error}. Add the feature to the dataset."
        ) from None
    except _ERRORS as error:
        raise UserError(
            f"The {who} should take {given}. Received: "
            f"{type(error).__name__}: {reason(error)}. Compare the names, "
            "types and shapes of its inputs."
        ) from None


def reason(error: Exception) -> str:
    """The line of an error of Keras or TensorFlow that tells the cause.

    Args:
        error: with any number of lines.

    Returns:
        One line without its full stop.
    """
    lines = [x.strip() for x in str(error).splitlines() if x.strip()]
    # Keras names the layer first, and TensorFlow a node in braces.
    kept = [x for x in lines if not x.startswith("Exception encountered")]
    cause = re.sub(r"\{\{.*?\}\}|\[Op:.*", "", (kept or lines or [""])[0])
    return cause.strip().rstrip(".")


@contextlib.contextmanager
def compiler_errors(enabled: bool) -> Iterator[None]:
    """Tells in one line that XLA cannot compile a step.

    Args:
        enabled: whether `jit_compile` is on.

    Raises:
        UserError: an operation has no implementation in XLA.
    """
    try:
        yield
    except (
        tf.errors.InvalidArgumentError,
        tf.errors.UnimplementedError,
    ) as error:
        found = re.search(r"on XLA_\w+: (\w+)", str(error))
        if not enabled or found is None:
            raise
        raise UserError(
            "`jit_compile` should be False where XLA lacks an operation of "
            f"the step. Received: `jit_compile` = True and {found[1]}. Leave "
            "it out, look strings up in the dataset, and take LazyAdam."
        ) from None


def first_batch(data: object) -> Any:
    """The first batch of the data of a `fit`.

    Args:
        data: batches.

    Returns:
        A batch, or `None` for data that are distributed.

    Raises:
        UserError: the data are no dataset, or have no batch.
    """
    distributed = (
        tf.distribute.DistributedDataset,
        tf.keras.utils.experimental.DatasetCreator,
    )
    if isinstance(data, distributed):
        return None
    if not isinstance(data, tf.data.Dataset):
        raise UserError(
            "`x` should be a tf.data.Dataset of batches, as for a tfrs.Model. "
            f"Received: {type(data).__name__}. Write "
            "tf.data.Dataset.from_tensor_slices(x).batch(1024)."
        )
    batch = next(iter(data.take(1)), None)
    if batch is None:
        raise UserError("`x` should have a batch. Received: an empty dataset.")
    return batch


def first_rows(batch: Any, count: int = 2) -> Any:
    """The first rows of a batch.

    Args:
        batch: tensors `[rows, ...]`.
        count: rows.

    Returns:
        The same structure.

    Raises:
        UserError: a tensor has no rows.
    """
    for values in tf.nest.flatten(batch):
        if not len(values.shape):
            raise UserError(
                "`x` should be batches of rows. Received: a dataset of single "
                "rows. Write dataset.batch(1024)."
            )
    return tf.nest.map_structure(lambda values: values[:count], batch)


def check_finite(loss: object, inputs: LossInputs) -> None:
    """Checks the outputs of a teacher that a loss compares.

    Args:
        loss: that compares them.
        inputs: for a batch.

    Raises:
        UserError: they are not finite, or all are left out.
    """
    compared = np.asarray(inputs.teacher)
    if inputs.mask is not None:
        shape = compared.shape
        if isinstance(loss, FeatureLoss):
            # Of rows, or of rows and their lists; never of single features.
            shape = shape[: len(inputs.mask.shape)]
        compared = compared[np.broadcast_to(inputs.mask, shape)]
    name = type(loss).__name__
    if not compared.size:
        raise UserError(
            f"The teacher should have an output for the data that {name} "
            "compares. Received: none for the first batch. Compare the ids of "
            "both, and load the weights of a trained teacher."
        )
    if not np.isfinite(compared).all():
        raise UserError(
            "The teacher's outputs should be finite. Received: NaN or "
            f"infinity where {name} compares them. Load the weights of a "
            "trained teacher."
        )
