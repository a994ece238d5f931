"""The contenders of a comparison of retrieval models."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kd_tfrs.workflow.comparison.contenders import (
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


def _alone_space(flat: Mapping[str, Any]) -> Choices:
    return {
        "student_learning_rate": scaled(flat["student_learning_rate"]),
        "student_softmax_temperature": first_of(
            flat["student_softmax_temperature"], _TEMPERATURES
        ),
        "student_uniform_negatives": sizes(
            flat["student_uniform_negatives"], _NEGATIVES
        ),
        "student_batch_size": sizes(flat["student_batch_size"]),
    }


def _training(stage: str, learning_rates: tuple[float, ...]) -> Choices:
    choices = {
        "learning_rate": learning_rates,
        "batch_size": (512, 1024),
        "uniform_negatives": (512, 1024, 2048),
        "softmax_temperature": (0.1, 0.12, 0.15, 0.2),
    }
    return {f"{stage}_{name}": values for name, values in choices.items()}


_RATES = (0.01, 0.02, 0.04)
_TUNED = {
    "teacher": {
        **_training("teacher", (0.002, 0.005, 0.01)),
        "teacher_dropout": (0.0, 0.1, 0.3),
    },
    "student": _training("student", _RATES),
    "distilled": {
        **_training("distilled", _RATES),
        "distillation_student_loss_weight": (0.0, 0.2, 0.5, 1.0),
        "distillation_temperature": (0.3, 0.4, 0.7, 1.0),
        "distillation_top_k": (100, 200, 500),
        "distillation_num_random": (512, 1024),
        "distillation_exclude_seen": (True, False),
    },
}
FAMILY = Family(METHODS, parse_retrieval_method, _alone_space, _TUNED)
