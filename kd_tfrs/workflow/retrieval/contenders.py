"""The contenders of a comparison of retrieval models."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kd_tfrs.workflow.comparison.contenders import (
    TEACHER,
    Choices,
    Family,
    first_of,
    scaled,
    sizes,
)
from kd_tfrs.workflow.retrieval.methods import (
    METHODS,
    parse_retrieval_method,
)

_TEMPERATURES = (0.1, 0.15, 0.2)
_NEGATIVES = (256, 512)
_DROPOUTS = (0.0, 0.1, 0.3)


def _training(stage: str, flat: Mapping[str, Any]) -> Choices:
    choices = {
        "learning_rate": scaled(flat[f"{stage}_learning_rate"]),
        "softmax_temperature": first_of(
            flat[f"{stage}_softmax_temperature"], _TEMPERATURES
        ),
        "uniform_negatives": sizes(
            flat[f"{stage}_uniform_negatives"], _NEGATIVES
        ),
        "batch_size": sizes(flat[f"{stage}_batch_size"]),
    }
    if stage == TEACHER:
        choices["dropout"] = first_of(flat["teacher_dropout"], _DROPOUTS)
    return {f"{stage}_{name}": values for name, values in choices.items()}


_DISTILLATION = {
    "distillation_student_loss_weight": (0.0, 0.2, 0.5, 1.0),
    "distillation_temperature": (0.3, 0.4, 0.7, 1.0),
    "distillation_top_k": (100, 200, 500),
    "distillation_num_random": (512, 1024),
    "distillation_exclude_seen": (True, False),
}
FAMILY = Family(METHODS, parse_retrieval_method, _training, _DISTILLATION)
