"""The method of a run that names none: by the size of the catalogue."""

from __future__ import annotations

import dataclasses

from kd_tfrs.errors import UserError
from kd_tfrs.workflow.retrieval.config import DistillationOptions

AUTO = "auto"
# A step over the whole catalogue costs the number of its items; above this
# one the teacher's lists cost less. See experiments/results/defaults.
LARGEST_CATALOGUE = 30_000
_WHOLE, _LISTS = "soft_targets_all:1", "soft_targets:1"
_TEMPERATURE, _NUM_RANDOM = 0.4, 1024
# Where methods are named and no weight of the labels is given.
_STUDENT_LOSS_WEIGHT = 0.2


def resolve_auto(
    options: DistillationOptions, num_items: int
) -> tuple[DistillationOptions, str]:
    """Fills in the method and the weight of the labels.

    Args:
        options: as they were given.
        num_items: size of the catalogue.

    Returns:
        Options without "auto" and without an unset weight of the labels; and
        the method with its reason, one sentence without a full stop.

    Raises:
        UserError: "auto" is not alone, or candidates are given for it.

    Example:
    >>> resolve_auto(DistillationOptions(), num_items=1_000)[0].losses
    ('soft_targets_all:1',)
    """
    names = [text.partition(":")[0] for text in options.losses]
    if AUTO in names and (
        options.losses != (AUTO,) or options.candidates != AUTO
    ):
        raise UserError(
            "`--distillation_losses` should be auto alone, without a weight "
            "and with --distillation_candidates=auto, or name methods. "
            f"Received: {','.join(options.losses)} with "
            f"--distillation_candidates={options.candidates}. Write it as "
            "soft_targets:1."
        )
    weight = options.student_loss_weight
    if options.losses != (AUTO,):
        named = ",".join(options.losses)
        weight = _STUDENT_LOSS_WEIGHT if weight is None else weight
        text = f"{named}, as given, beside labels of weight {weight:g}"
        return dataclasses.replace(options, student_loss_weight=weight), text
    weight = 0.0 if weight is None else weight
    is_large = num_items > LARGEST_CATALOGUE
    method = _LISTS if is_large else _WHOLE
    text = (
        f"{method}, since the catalogue has {num_items:,} items, "
        f"{'more than' if is_large else 'at most'} {LARGEST_CATALOGUE:,}"
    )
    if weight:
        text += f", beside labels of weight {weight:g}"
    changes = {"losses": (method,), "student_loss_weight": weight}
    if options.temperature is None:
        changes["temperature"] = _TEMPERATURE
    if is_large and options.num_random is None:
        changes["num_random"] = _NUM_RANDOM
    return dataclasses.replace(options, **changes), text
