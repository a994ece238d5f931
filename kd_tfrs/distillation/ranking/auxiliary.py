"""A second head of the student that is distilled and not served."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import tensorflow as tf

from kd_tfrs.distillation.ranking.selectors import AUXILIARY
from kd_tfrs.distillation.ranking.teachers import LOGITS, output_widths
from kd_tfrs.errors import UserError

# What TFMOT puts before the name of a layer that it wraps.
_PRUNED = "prune_low_magnitude_"


class Head(Protocol):
    """A task of a ranker, see `RankingTask`."""

    name: str
    output: str


def with_auxiliary_head(
    network: tf.keras.Model, tasks: Sequence[Head]
) -> tf.keras.Model:
    r"""Adds a head for every task, on which the teacher is distilled.

    $$z_k = w_k^\top h(x) + b_k, \qquad
    z^\text{teacher}_k = v_k^\top h(x) + c_k$$

    The distillation loss trains the layers that both heads share, $h$, and
    the served head $z_k$ is trained on labels alone. The bias or the base
    rate of the teacher therefore does not change the served output. Additive
    terms of a wide part or of pairwise products belong to the served head
    alone.

    The new model shares its layers with `network`: training one trains the
    other.

    Args:
        network: of a student, see `build_ranker`; not changed.
        tasks: those that get a head.

    Returns:
        A Functional model with the further outputs `logits_<task>_teacher`,
        `[batch]` float32.

    Raises:
        UserError: there is no such task, the head is there already, or the
            task has the name of such a head.

    Example:
    ```python
    student = RankingModel(with_auxiliary_head(network, tasks), tasks)
    logits = TaskLogits("liked", auxiliary=True)
    term = DistillationTerm(BinarySoftTargets(), logits)
    RankingDistiller(teacher, student, term, 1.0, student_loss_weight=1.0)
    ...
    served = student.with_networks(without_auxiliary_head(student.network))
    ```

    References:
        Khani et al. 2024, "Bridging the Gap: Unpacking the Hidden Challenges
        in Knowledge Distillation for Online Ranking Systems",
        arXiv:2408.14678, section on auxiliary task-based distillation.
    """
    outputs = dict(_outputs(network))
    for task in tasks:
        _check_name(task)
        name = f"{LOGITS}{task.name}{AUXILIARY}"
        if task.output not in network.output or name in outputs:
            raise UserError(
                f"`network` should have the output {task.output!r} and no "
                f"{name!r} yet. Received: outputs {sorted(outputs)}."
            )
        column = tf.keras.layers.Dense(
            1,
            bias_initializer=tf.keras.initializers.Constant(
                getattr(task, "initial_logit", 0.0)
            ),
            name=f"head_{task.name}{AUXILIARY}",
        )(_head_input(network, task))
        outputs[name] = tf.keras.layers.Reshape((), dtype="float32", name=name)(
            column
        )
    return tf.keras.Model(network.input, outputs, name=network.name)


def without_auxiliary_head(network: tf.keras.Model) -> tf.keras.Model:
    """Removes the auxiliary heads of a trained network, to serve it.

    Args:
        network: from `with_auxiliary_head`, trained; not changed.

    Returns:
        A Functional model that shares its layers.

    Raises:
        UserError: it has no auxiliary head.
    """
    outputs = _outputs(network)
    kept = {
        name: x
        for name, x in outputs.items()
        if not (name.startswith(LOGITS) and name.endswith(AUXILIARY))
    }
    if len(kept) == len(outputs):
        raise UserError(
            "`network` should have an auxiliary head. Received: outputs "
            f"{sorted(outputs)}. Serve it as it is."
        )
    return tf.keras.Model(network.input, kept, name=network.name)


def _check_name(task: Head) -> None:
    # `without_auxiliary_head` would take the task's own head away.
    if task.name.endswith(AUXILIARY):
        raise UserError(
            f"A task beside an auxiliary head should not end in {AUXILIARY}. "
            f"Received: {task.name!r}. Rename the label."
        )


def _outputs(network: tf.keras.Model) -> Mapping[str, tf.Tensor]:
    output_widths(network)  # Checks that it is a Functional model.
    return network.output


def _head_input(network: tf.keras.Model, task: Head) -> tf.Tensor:
    """The input of the served head's layer, wrapped for pruning or not."""
    for layer in network.layers:
        if layer.name.removeprefix(_PRUNED) == f"head_{task.name}":
            return layer.input
    raise UserError(
        f"`network` should have a layer head_{task.name}, as those of "
        f"build_ranker have. Received: {[x.name for x in network.layers]}."
    )
