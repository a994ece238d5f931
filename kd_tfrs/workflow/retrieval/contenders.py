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


FAMILY = Family(METHODS, parse_retrieval_method, _alone_space)
