"""Pruning of the distilled student, for as long as little is lost."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Sequence
from typing import Any, Generic, NamedTuple, TypeVar

import tensorflow as tf
import tensorflow_model_optimization as tfmot

from kd_tfrs.compression import prunable, pruning_schedule, strip
from kd_tfrs.workflow.training import Learned, Watch, joined

logger = logging.getLogger(__name__)
Made = TypeVar("Made")


class Level(NamedTuple, Generic[Made]):
    """A model at one level of compression.

    Args:
        level: such as its sparsity.
        made: the model, and whatever comes with it.
        loss: relative loss of the validation metric.
    """

    level: float
    made: Made
    loss: float


def largest_within(
    levels: Sequence[float],
    make: Callable[[float, Made | None], Made],
    loss: Callable[[Made], float],
    max_loss: float,
) -> tuple[Level[Made], list[Level[Made]]]:
    """Compresses more and more, and stops at the first that loses too much.

    Args:
        levels: ascending, at least one.
        make: makes the model of a level from that of the level before, which
            is `None` for the first.
        loss: its relative loss of the validation metric.
        max_loss: the largest loss that is allowed.

    Returns:
        The largest level within the limit, or the first one where none is;
        and all that were made.

    Example:
    >>> best, made = largest_within(
    ...     [0.25, 0.5, 0.75], lambda s, _: s, lambda s: s / 10, max_loss=0.06
    ... )
    >>> best.level, [m.level for m in made]
    (0.5, [0.25, 0.5, 0.75])
    """
    done: list[Level[Made]] = []
    for level in levels:
        made = make(level, done[-1].made if done else None)
        done.append(Level(level, made, loss(made)))
        if done[-1].loss > max_loss:
            break
    within = [one for one in done if one.loss <= max_loss]
    return (within or done)[-1], done


def prune(learner: Any, watch: Watch | None = None) -> Learned:
    """Prunes to the largest sparsity that stays within `--max_loss`."""
    dense = learner.load("distilled")
    learner.make_teachers("pruned")
    reference = learner.validation_values("distilled", dense)
    best, tried = largest_within(
        learner.config.pruning.sparsities,
        lambda sparsity, before: _prune_to(
            learner, sparsity, dense if before is None else before[0], watch
        ),
        lambda made: learner.loss(
            learner.validation_values("pruned", made[0]), reference
        ),
        learner.config.shipping.max_loss,
    )
    for level in tried:
        logger.info(
            "sparsity %g: up to %.2f %% of validation %s lost",
            level.level,
            100 * level.loss,
            learner.monitor,
        )
    return best.made[0], joined([level.made[1] for level in tried])


def _prune_to(
    learner: Any, sparsity: float, dense: Any, watch: Watch | None
) -> Learned:
    """One level; a level that a stopped run has finished is read."""
    pruning, seed = learner.config.pruning, learner.config.seed
    options = learner.config.distilled
    position = pruning.sparsities.index(sparsity)
    # Other batches than those that the distilled student was trained on.
    batches = learner.batches("pruned", seed + 10_000 * (1 + position))
    tf.keras.utils.set_random_seed(learner.seed_of("pruned") + 200 * position)
    schedule = pruning_schedule(
        pruning.schedule, sparsity, pruning.epochs * batches.steps_per_epoch
    )
    student = learner.initialised("pruned", dense, batches)
    student = student.with_networks(
        *(prunable(network, schedule) for network in student.networks)
    )
    # The last epoch is kept: the best one may not be sparse yet.
    progress = learner.fit(
        f"pruned_{sparsity:g}",
        "pruned",
        student,
        batches,
        watch,
        options=dataclasses.replace(
            options,
            epochs=pruning.epochs,
            patience=pruning.epochs,
            learning_rate=pruning.learning_rate or options.learning_rate / 2,
        ),
        keeps_last=True,
        callbacks=[tfmot.sparsity.keras.UpdatePruningStep()],
    )
    sparse = student.with_networks(
        *(strip(network, sparsity) for network in student.networks)
    )
    return learner.finished(sparse, batches), progress
