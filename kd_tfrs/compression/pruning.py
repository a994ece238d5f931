"""Magnitude pruning of Functional towers, by TFMOT, layer by layer."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import tensorflow as tf
import tensorflow_model_optimization as tfmot
from tensorflow_model_optimization.python.core.sparsity.keras import (
    pruning_wrapper,
)

from kd_tfrs.errors import UserError

Layer = tf.keras.layers.Layer
PRUNABLE = (tf.keras.layers.Dense, tf.keras.layers.Embedding)
# Tolerance of the final sparsity, since masks have whole weights.
_TOLERANCE = 0.01
_UPDATES = 50


def pruning_schedule(
    kind: str, final_sparsity: float, num_steps: int
) -> tfmot.sparsity.keras.PruningSchedule:
    """Builds a schedule that ends before the training does.

    Masks are updated 50 times during the first three quarters of the steps; the
    last quarter trains the remaining weights. (TFMOT's default, an update every
    100 steps, does not prune in a shorter run.)

    Args:
        kind: "polynomial" for a cubic increase from 0 to `final_sparsity`, or
            "constant" for `final_sparsity` from the first step.
        final_sparsity: share of zeros in each pruned tensor, in (0, 1).
        num_steps: total number of training steps.

    Returns:
        A TFMOT schedule.

    Raises:
        UserError: when an argument is out of range.

    Example:
    >>> schedule = pruning_schedule("polynomial", 0.5, num_steps=1000)

    References:
        Zhu and Gupta 2017, "To prune, or not to prune", eq. 1.
    """
    if not 0.0 < final_sparsity < 1.0:
        raise UserError(
            "`final_sparsity` should lie in (0, 1). Received: "
            f"`final_sparsity` = {final_sparsity}. Give a share such as 0.5."
        )
    end = max(1, num_steps * 3 // 4)
    frequency = max(1, end // _UPDATES)
    if kind == "polynomial":
        return tfmot.sparsity.keras.PolynomialDecay(
            initial_sparsity=0.0,
            final_sparsity=final_sparsity,
            begin_step=0,
            end_step=end,
            frequency=frequency,
        )
    if kind == "constant":
        return tfmot.sparsity.keras.ConstantSparsity(
            final_sparsity, begin_step=0, end_step=end, frequency=frequency
        )
    raise UserError(
        "The pruning schedule should be polynomial or constant. Received: "
        f"{kind!r}."
    )


def prunable(
    tower: tf.keras.Model, schedule: tfmot.sparsity.keras.PruningSchedule
) -> tf.keras.Model:
    """Returns a copy of a tower that prunes its Dense and Embedding layers.

    Args:
        tower: a built Functional model; it does not change.
        schedule: see `pruning_schedule`.

    Returns:
        A model with the same inputs, outputs and weights. Train it with
        `tfmot.sparsity.keras.UpdatePruningStep` among the callbacks.

    Raises:
        UserError: when the tower has no layer to prune.

    Example:
    ```python
    tower = prunable(model.query_tower, pruning_schedule("constant", .5, 900))
    ```
    """
    return changed(
        tower,
        PRUNABLE,
        lambda layer: tfmot.sparsity.keras.prune_low_magnitude(
            layer, pruning_schedule=schedule
        ),
    )


def changed(
    network: tf.keras.Model,
    kinds: tuple[type, ...],
    change: Callable[[Layer], Layer],
) -> tf.keras.Model:
    """Copies a network, with other layers in place of some.

    Args:
        network: a built Functional model; it does not change.
        kinds: the layers to change.
        change: from a layer of these kinds, with its weights, to its
            replacement.

    Returns:
        A model with the same inputs and outputs.

    Raises:
        UserError: when there is no layer of these kinds.
    """
    if not any(isinstance(layer, kinds) for layer in network.layers):
        raise UserError(
            "A network should have "
            f"{' or '.join(kind.__name__ for kind in kinds)} layers to "
            f"compress. Received: {[type(x).__name__ for x in network.layers]}."
        )
    # A clone by a clone function shares layers with the original, and pruning
    # would set their weights to zero: copy first.
    twin = tf.keras.models.clone_model(
        copy(network),
        clone_function=lambda layer: (
            change(layer) if isinstance(layer, kinds) else fresh(layer)
        ),
    )
    # Other layers with weights (cross layers, activations) are new: copy their
    # weights.
    for layer in network.layers:
        if layer.weights and not isinstance(layer, kinds):
            twin.get_layer(layer.name).set_weights(layer.get_weights())
    return twin


def fresh(layer: Layer) -> Layer:
    """Returns a layer of the same arguments, with new weights."""
    return layer.__class__.from_config(layer.get_config())


def copy(tower: tf.keras.Model) -> tf.keras.Model:
    """Returns a copy of a tower with its weights."""
    twin = tf.keras.models.clone_model(tower)
    twin.set_weights(tower.get_weights())
    return twin


def strip(tower: tf.keras.Model, final_sparsity: float) -> tf.keras.Model:
    """Returns the tower without wrappers, with the masks applied.

    Args:
        tower: a trained model of `prunable`.
        final_sparsity: expected share of zeros, in (0, 1).

    Returns:
        A model of plain Keras layers; `tower` does not change.

    Raises:
        UserError: when the sparsity is lower: the schedule did not run to its
            end, or the callback was missing.

    Example:
    ```python
    student = strip(tower, final_sparsity=0.5)
    ```
    """
    plain = tf.keras.models.clone_model(
        tower, clone_function=lambda layer: fresh(_inner(layer))
    )
    for source in tower.layers:
        target = plain.get_layer(_inner(source).name)
        target.set_weights(_masked_weights(source))
        if isinstance(target, PRUNABLE):
            _check_sparsity(target, final_sparsity)
    return plain


def sparsity(model: tf.keras.Model) -> float:
    """Share of zeros in the Dense kernels and Embedding tables of a model.

    Args:
        model: a built model without wrappers.

    Returns:
        A share in [0, 1]; 0 without layers to prune.
    """
    tensors = [
        layer.get_weights()[0]
        for layer in model.layers
        if isinstance(layer, PRUNABLE)
    ]
    size = sum(tensor.size for tensor in tensors)
    zeros = sum(tensor.size - np.count_nonzero(tensor) for tensor in tensors)
    return zeros / size if size else 0.0


def _inner(layer: Layer) -> Layer:
    """The layer within a wrapper of TFMOT, or the layer itself."""
    is_wrapper = isinstance(layer, pruning_wrapper.PruneLowMagnitude)
    return layer.layer if is_wrapper else layer


def _masked_weights(layer: Layer) -> list[np.ndarray]:
    inner = _inner(layer)
    if inner is layer:
        return layer.get_weights()
    # `strip_pruning` does not apply the masks after the last step.
    masks = {var.ref(): mask.numpy() for var, mask, _ in layer.pruning_vars}
    return [var.numpy() * masks.get(var.ref(), 1.0) for var in inner.weights]


def _check_sparsity(layer: Layer, expected: float) -> None:
    tensor = layer.get_weights()[0]
    reached = 1.0 - np.count_nonzero(tensor) / tensor.size
    # In a small tensor, a single weight exceeds the tolerance.
    if reached < expected - _TOLERANCE - 1.0 / tensor.size:
        raise UserError(
            f"Layer {layer.name!r} should have a sparsity of {expected:.3f} "
            f"after pruning. Received: {reached:.3f}. Train longer, or pass "
            "UpdatePruningStep to `fit`."
        )
