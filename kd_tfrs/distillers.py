"""The one `Distiller`, which chooses by the kind of its student.

This module knows both tasks, so that the first program of a user need not.
"""

from kd_tfrs.distillation.base_distiller import BaseDistiller as Distiller
from kd_tfrs.distillation.ranking.distiller import RankingDistiller
from kd_tfrs.distillation.retrieval.distiller import (
    Distiller as RetrievalDistiller,
)
from kd_tfrs.distillation.tfrs_models import KerasDistiller, ModelDistiller

__all__ = [
    "Distiller",
    "KerasDistiller",
    "ModelDistiller",
    "RankingDistiller",
    "RetrievalDistiller",
]
